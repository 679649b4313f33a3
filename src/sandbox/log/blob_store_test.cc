#include "sandbox/log/blob_store.h"

#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "sandbox/log/log_fixture.h"

namespace baleen::sandbox {
namespace {

constexpr uint64_t kReadMax = uint64_t{1} << 30;

size_t count_files(const std::string& folder) {
    size_t count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
        count += entry.is_regular_file() ? 1 : 0;
    return count;
}

TEST(BlobStore, KeepsEverySizeAroundTheLimit) {
    const TempFolder folder;
    const auto store = BlobStore::open(folder / "blobs").value();
    for (const size_t size : {0, 1, 4095, 4096, 4097, 5000, 300000}) {
        std::string bytes(size, '\0');
        for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 31 + size);
        const StoredBytes stored = store->keep(bytes).value();
        EXPECT_EQ(stored.is_blob(), size > kInlineBytesMax);
        EXPECT_EQ(stored.size(), size);
        EXPECT_EQ(stored.digest(), sha256(bytes));
        EXPECT_EQ(store->fetch(stored, kReadMax).value(), bytes);
        ASSERT_HOLDS(store->verify(stored));
    }
    EXPECT_EQ(count_files(folder / "blobs"), 3u);
}

TEST(BlobStore, TheSameBytesAreStoredOnce) {
    const TempFolder folder;
    const auto store = BlobStore::open(folder / "blobs").value();
    const std::string bytes(10000, 'x');
    const StoredBytes first = store->keep(bytes).value();
    const auto written = std::filesystem::last_write_time(store->path_of(first.digest()));
    EXPECT_EQ(store->keep(bytes).value(), first);
    EXPECT_EQ(count_files(folder / "blobs"), 1u);
    EXPECT_EQ(std::filesystem::last_write_time(store->path_of(first.digest())), written);
}

TEST(BlobStore, ABlobThatRottedIsReplacedByTheSameBytes) {
    const TempFolder folder;
    const auto store = BlobStore::open(folder / "blobs").value();
    const std::string bytes(10000, 'x');
    const StoredBytes stored = store->keep(bytes).value();
    for (const std::string& rotten : {std::string(10000, 'y'), std::string(3, 'x')}) {
        write_all(store->path_of(stored.digest()), rotten);
        EXPECT_FALSE(store->verify(stored));
        EXPECT_EQ(store->keep(bytes).value(), stored);
        EXPECT_EQ(store->fetch(stored, kReadMax).value(), bytes);
    }
}

TEST(BlobStore, EveryFlippedBitCutAndMissingFileIsFound) {
    const TempFolder folder;
    const auto store = BlobStore::open(folder / "blobs").value();
    const std::string bytes(kInlineBytesMax + 50, 'q');
    const StoredBytes stored = store->keep(bytes).value();
    const std::string path = store->path_of(stored.digest());
    for (size_t at = 0; at < bytes.size(); at += at < 64 ? 1 : 97) {
        std::string flipped = bytes;
        flipped[at] = static_cast<char>(flipped[at] ^ 4);
        write_all(path, flipped);
        EXPECT_EQ(store->verify(stored).error().code, ErrorCode::kCorrupt);
        EXPECT_EQ(store->fetch(stored, kReadMax).error().code, ErrorCode::kCorrupt);
    }
    for (const size_t size : {size_t{0}, bytes.size() - 1, bytes.size() + 1}) {
        write_all(path, std::string(size, 'q'));
        EXPECT_EQ(store->verify(stored).error().code, ErrorCode::kCorrupt);
    }
    std::filesystem::remove(path);
    EXPECT_EQ(store->verify(stored).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(store->fetch(stored, kReadMax).error().code, ErrorCode::kNotFound);
}

TEST(BlobStore, ReadsAreBounded) {
    const TempFolder folder;
    const auto store = BlobStore::open(folder / "blobs").value();
    const StoredBytes stored = store->keep(std::string(10000, 'x')).value();
    EXPECT_EQ(store->fetch(stored, 9999).error().code, ErrorCode::kExhausted);
    EXPECT_TRUE(store->fetch(stored, 10000));
}

TEST(BlobStore, PiecesMakeTheSameBlobAndAnAbandonedWriterLeavesNothing) {
    const TempFolder folder;
    const auto store = BlobStore::open(folder / "blobs").value();
    std::string bytes;
    auto writer = store->writer();
    for (int i = 0; i < 300; ++i) {
        const std::string piece(static_cast<size_t>(i), static_cast<char>('a' + i % 26));
        ASSERT_HOLDS(writer.append(piece));
        bytes += piece;
    }
    const StoredBytes stored = writer.finish().value();
    EXPECT_EQ(stored.digest(), sha256(bytes));
    EXPECT_EQ(store->fetch(stored, kReadMax).value(), bytes);
    {
        auto abandoned = store->writer();
        ASSERT_HOLDS(abandoned.append(std::string(100000, 'z')));
        EXPECT_EQ(count_files(folder / "blobs"), 2u);
    }
    EXPECT_EQ(count_files(folder / "blobs"), 1u);
}

TEST(BlobStore, WhatADeadWriterLeftIsRemovedAtOpen) {
    const TempFolder folder;
    BlobStore::open(folder / "blobs").value();
    write_all(folder / "blobs/tmp/123-4", "half");
    BlobStore::open(folder / "blobs").value();
    EXPECT_EQ(count_files(folder / "blobs"), 0u);
}

TEST(BlobStore, ALinkInPlaceOfABlobIsNotFollowed) {
    const TempFolder folder;
    const auto store = BlobStore::open(folder / "blobs").value();
    const std::string bytes(10000, 'x');
    const StoredBytes stored = store->keep(bytes).value();
    write_all(folder / "elsewhere", bytes);
    std::filesystem::remove(store->path_of(stored.digest()));
    std::filesystem::create_symlink(folder / "elsewhere", store->path_of(stored.digest()));
    EXPECT_FALSE(store->fetch(stored, kReadMax));
}

TEST(BlobStore, ThreadsMayKeepTheSameBytesAtOnce) {
    const TempFolder folder;
    const auto store = BlobStore::open(folder / "blobs").value();
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&] {
            for (int i = 0; i < 20; ++i) {
                const std::string bytes(5000 + static_cast<size_t>(i), 'x');
                const StoredBytes stored = store->keep(bytes).value();
                CHECK(store->fetch(stored, kReadMax).value() == bytes);
            }
        });
    threads.clear();
    EXPECT_EQ(count_files(folder / "blobs"), 20u);
}

// RLIMIT_FSIZE cuts a write short as a full disk does, for whoever runs the test.
TEST(BlobStore, AFullDiskIsAnErrorAndLeavesNothing) {
    const TempFolder folder;
    const auto store = BlobStore::open(folder / "blobs").value();
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
    rlimit small = before;
    small.rlim_cur = 20000;
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    const auto refused = store->keep(std::string(30000, 'x'));
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    std::signal(SIGXFSZ, old_handler);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kExhausted);
    EXPECT_EQ(count_files(folder / "blobs"), 0u);
    EXPECT_TRUE(store->keep(std::string(30000, 'x')));
}

}  // namespace
}  // namespace baleen::sandbox
