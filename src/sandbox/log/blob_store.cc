#include "sandbox/log/blob_store.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "sandbox/log/bytes.h"

namespace baleen::sandbox {
namespace {

constexpr size_t kReadBytes = size_t{1} << 18;

// The bytes of an open blob, given to `take` in pieces.
template <typename Take>
Result<void> read_through(const PosixFile& file, uint64_t size, const Take& take) {
    std::vector<uint8_t> buffer(std::min<uint64_t>(kReadBytes, size));
    for (uint64_t offset = 0; offset < size;) {
        const auto piece =
            std::span(buffer).first(std::min<uint64_t>(buffer.size(), size - offset));
        if (auto read = file.read_at(offset, piece); !read) return read;
        take(std::span<const uint8_t>(piece));
        offset += piece.size();
    }
    return {};
}

Result<PosixFile> open_blob(const std::string& path, uint64_t size) {
    PosixFile file = TRY(PosixFile::open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    const uint64_t found = TRY(file.size());
    if (found != size)
        return make_error(ErrorCode::kCorrupt, "{}: {} bytes, expected {}", path, found, size);
    return file;
}

// All 256 at once, so that no blob's folder is new and not yet durable when the blob is published.
Result<void> make_blob_folders(const std::string& parent) {
    TRY(make_folders(parent));
    for (uint8_t first = 0;; ++first) {
        const std::string path = parent + "/" + hex(std::span(&first, 1));
        if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return errno_error(path, "create");
        if (first == 255) return sync_folder(parent);
    }
}

}  // namespace

Result<std::unique_ptr<BlobStore>> BlobStore::open(const std::string& folder) {
    TRY(make_blob_folders(folder + "/sha256"));
    TRY(make_folders(folder + "/tmp"));
    for (const std::string& name : TRY(list_folder(folder + "/tmp")))
        ::unlink((folder + "/tmp/" + name).c_str());
    return std::unique_ptr<BlobStore>(new BlobStore(folder));
}

std::unique_ptr<BlobStore> BlobStore::open_read_only(const std::string& folder) {
    return std::unique_ptr<BlobStore>(new BlobStore(folder));
}

std::string BlobStore::path_of(const Sha256Digest& digest) const {
    const std::string name = hex(digest);
    return folder_ + "/sha256/" + name.substr(0, 2) + "/" + name;
}

std::string BlobStore::temporary_path() {
    return fmt::format("{}/tmp/{}-{}", folder_, ::getpid(), next_temporary_.fetch_add(1));
}

Result<StoredBytes> BlobStore::keep(std::string_view bytes) {
    Writer pieces = writer();
    if (auto appended = pieces.append(bytes); !appended) return std::move(appended).error();
    return pieces.finish();
}

Result<std::string> BlobStore::fetch(const StoredBytes& stored, uint64_t bytes_max) const {
    if (stored.size() > bytes_max)
        return make_error(ErrorCode::kExhausted, "{} bytes are stored, at most {} are read",
                          stored.size(), bytes_max);
    if (!stored.is_blob()) return stored.inline_bytes();
    const PosixFile file = TRY(open_blob(path_of(stored.digest()), stored.size()));
    std::string bytes;
    bytes.reserve(stored.size());
    TRY(read_through(file, stored.size(), [&](auto piece) { bytes += text_of(piece); }));
    if (sha256(bytes) != stored.digest())
        return make_error(ErrorCode::kCorrupt, "{}: the bytes are not those of its name",
                          file.path());
    return bytes;
}

Result<void> BlobStore::verify(const StoredBytes& stored) const {
    if (!stored.is_blob()) return {};
    const PosixFile file = TRY(open_blob(path_of(stored.digest()), stored.size()));
    Sha256 hash;
    TRY(read_through(file, stored.size(), [&](auto piece) { hash.update(piece); }));
    const Sha256Digest found = hash.finish();
    if (found == stored.digest()) return {};
    return make_error(ErrorCode::kCorrupt, "{}: the bytes are those of {}", file.path(),
                      hex(found));
}

// ---- writer ------------------------------------------------------------------------------------

BlobStore::Writer::~Writer() {
    if (file_ != nullptr) ::unlink(file_->path().c_str());
}

Result<void> BlobStore::Writer::begin_file() {
    file_ = std::make_unique<PosixFile>(
        TRY(PosixFile::open(store_->temporary_path(), O_WRONLY | O_CREAT | O_EXCL)));
    return file_->write_at(0, bytes_of(small_));
}

Result<void> BlobStore::Writer::append(std::string_view bytes) {
    hash_.update(bytes);
    const uint64_t begin = size_;
    size_ += bytes.size();
    if (size_ <= kInlineBytesMax) {
        small_ += bytes;
        return {};
    }
    if (file_ == nullptr) TRY(begin_file());
    return file_->write_at(begin, bytes_of(bytes));
}

Result<StoredBytes> BlobStore::Writer::finish() {
    if (size_ <= kInlineBytesMax) return StoredBytes::in_record(std::move(small_));
    const StoredBytes stored = StoredBytes::in_blob(hash_.finish(), size_);
    const std::string folder = folder_of(store_->path_of(stored.digest()));
    // The one that is there may come from a writer that has not yet made its name durable.
    if (store_->verify(stored)) {
        TRY(sync_folder(folder));
        return stored;
    }
    TRY(file_->sync());
    if (::rename(file_->path().c_str(), store_->path_of(stored.digest()).c_str()) != 0)
        return errno_error(store_->path_of(stored.digest()), "rename to");
    file_.reset();
    TRY(sync_folder(folder));
    return stored;
}

}  // namespace baleen::sandbox
