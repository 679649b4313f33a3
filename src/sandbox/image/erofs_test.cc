// Writer and reader of our EROFS layers against each other; layer_kernel_test.cc has the kernel.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

#include "base/crc32c.h"
#include "sandbox/image/erofs_reader.h"
#include "sandbox/image/layer_fixture.h"
#include "sandbox/image/little_endian.h"

namespace baleen::sandbox::image {
namespace {

TEST(Erofs, ReaderGivesBackWhatTheBuilderTook) {
    const TestLayer layer = build_layer(sample_entries());
    const auto found = entries_of(layer);
    const auto wanted = expected_after_build(sample_entries());
    ASSERT_EQ(found.size(), wanted.size());
    for (size_t i = 0; i < found.size(); ++i) {
        EXPECT_EQ(found[i].entry.path, wanted[i].entry.path);
        EXPECT_EQ(found[i].entry.kind, wanted[i].entry.kind) << found[i].entry.path;
        EXPECT_EQ(found[i].entry.attributes, wanted[i].entry.attributes) << found[i].entry.path;
        EXPECT_EQ(found[i].entry.target, wanted[i].entry.target) << found[i].entry.path;
        EXPECT_EQ(found[i].entry.device_major, wanted[i].entry.device_major);
        EXPECT_EQ(found[i].entry.device_minor, wanted[i].entry.device_minor);
        EXPECT_TRUE(found[i].content == wanted[i].content) << found[i].entry.path;
    }
}

TEST(Erofs, SameInputSameBytes) {
    const TestLayer a = build_layer(sample_entries());
    const TestLayer b = build_layer(sample_entries());
    EXPECT_EQ(a.built.digest, b.built.digest);
    EXPECT_TRUE(a.built.meta == b.built.meta);
    EXPECT_TRUE(a.data == b.data);
}

TEST(Erofs, DigestCoversTheDataFile) {
    auto changed = sample_entries();
    for (TestFile& file : changed)
        if (file.content.size() == 5) file.content = "other";
    EXPECT_NE(build_layer(changed).built.digest, build_layer(sample_entries()).built.digest);
    const TestLayer layer = build_layer(sample_entries());
    const ErofsReader reader = ErofsReader::open(layer.built.meta).value();
    EXPECT_EQ(reader.data_digest(), hex(sha256(std::span<const uint8_t>(layer.data))));
    EXPECT_EQ(layer.built.digest, hex(sha256(std::span<const uint8_t>(layer.built.meta))));
}

TEST(Erofs, ZeroChunksTakeNoSpace) {
    MemorySink data;
    LayerBuilder builder(data);
    const uint64_t size = (uint64_t{5} << 30) + 7;  // more than 32 bits
    ASSERT_TRUE(builder.add({.path = "big", .size = size}));
    ASSERT_TRUE(builder.append_hole(size - 3));
    ASSERT_TRUE(builder.append(bytes_of("end")));
    const BuiltLayer built = builder.finish().value();
    EXPECT_EQ(data.bytes.size(), erofs::kBlockBytes);
    const ErofsReader reader = ErofsReader::open(built.meta).value();
    const ErofsInode inode = reader.find("big").value().value();
    EXPECT_EQ(inode.size, size);
    EXPECT_FALSE(reader.chunk_offset(inode, 0).value().has_value());
    EXPECT_EQ(reader.chunk_offset(inode, inode.num_chunks - 1).value(), uint64_t{0});
}

TEST(Erofs, DirectoriesOfManyNames) {
    std::vector<TestFile> files;
    for (int i = 0; i < 100'000; ++i)
        files.push_back({{.path = fmt::format("many/entry-{}", i * 7919 % 100'000)}, ""});
    const TestLayer layer = build_layer(files);
    const ErofsReader reader = ErofsReader::open(layer.built.meta).value();
    ASSERT_TRUE(check_layer(reader));
    const ErofsDirectory directory = reader.directory(reader.find("many").value().value()).value();
    EXPECT_EQ(directory.entries.size(), 100'000U);
    for (const ErofsDirent& dirent : directory.entries)
        ASSERT_EQ(reader.find("many/" + dirent.name).value().value().nid, dirent.nid);
    EXPECT_FALSE(reader.find("many/entry-99999/x").value().has_value());
    EXPECT_FALSE(reader.find("many/entry-100000").value().has_value());
}

// Sizes around the block: where the inline tail ends, and where it no longer fits beside the inode.
TEST(Erofs, DirectoryAndSymlinkSizesAroundTheBlock) {
    for (const size_t name_bytes : {3U, 100U, 249U, 255U})
        for (size_t count = 1; count < 300; count += count < 40 ? 1 : 37) {
            std::vector<TestFile> files;
            for (size_t i = 0; i < count; ++i) {
                std::string name = fmt::format("{}", i);
                if (name.size() < name_bytes) name.append(name_bytes - name.size(), 'x');
                files.push_back({{.path = "d/" + name}, ""});
            }
            const TestLayer layer = build_layer(files);
            ASSERT_EQ(entries_of(layer).size(), count + 2) << name_bytes << " x " << count;
        }
    for (size_t bytes = 4000; bytes <= kPathBytesMax; ++bytes) {
        const std::string target(bytes, 't');
        const TestLayer layer =
            build_layer({{{.path = "link", .kind = EntryKind::kSymlink, .target = target}, ""}});
        ASSERT_EQ(entries_of(layer).at(1).entry.target, target);
    }
}

TEST(Erofs, AttributesUpToTheFormatsLimit) {
    Entry entry{.path = "f"};
    for (int i = 0; i < 4; ++i)
        set_xattr(entry.attributes.xattrs, fmt::format("user.{}", i), std::string(65500, 'v'));
    const TestLayer layer = build_layer({{entry, ""}});
    EXPECT_EQ(entries_of(layer).at(1).entry.attributes, entry.attributes);
    set_xattr(entry.attributes.xattrs, "user.5", std::string(2000, 'v'));
    EXPECT_EQ(build_error({{entry, ""}}).code, ErrorCode::kExhausted);
    Entry long_value{.path = "f"};
    set_xattr(long_value.attributes.xattrs, "user.x", std::string(65536, 'v'));
    EXPECT_EQ(build_error({{long_value, ""}}).code, ErrorCode::kExhausted);
}

TEST(Erofs, LimitsOfALayer) {
    const auto error_with = [](const LayerLimits& limits, const Entry& entry) {
        MemorySink data;
        LayerBuilder builder(data, limits);
        for (int i = 0; i < 100; ++i) {
            Entry next = entry;
            next.path += std::to_string(i);
            if (const auto added = builder.add(next); !added) return added.error().code;
            if (entry.size > 0 && !builder.append_hole(entry.size)) return ErrorCode::kIo;
        }
        return ErrorCode::kInvalidArgument;
    };
    EXPECT_EQ(error_with({.entries_max = 50}, {.path = "f"}), ErrorCode::kExhausted);
    EXPECT_EQ(error_with({.metadata_bytes_max = 10'000}, {.path = "f"}), ErrorCode::kExhausted);
    EXPECT_EQ(error_with({.file_bytes_max = 1000}, {.path = "f", .size = 100}),
              ErrorCode::kExhausted);
    EXPECT_EQ(error_with({}, {.path = "f", .size = UINT64_MAX / 2}), ErrorCode::kExhausted);
}

// A byte that is damaged anywhere gives an error or a layer that is still safe to walk. Where the
// checksum covers it, it is an error.
TEST(Erofs, DamagedBytesAreSafe) {
    const TestLayer layer = build_layer(sample_entries());
    std::mt19937 random(7);
    for (size_t at = 0; at < layer.built.meta.size(); at += at < 2048 ? 3 : 29) {
        auto meta = layer.built.meta;
        meta[at] = static_cast<uint8_t>(meta[at] ^ (1 + random() % 255));
        const auto reader = ErofsReader::open(meta);
        if (at >= erofs::kSuperOffset && at < erofs::kBlockBytes) {
            ASSERT_FALSE(reader) << at;
        }
        if (reader)
            (void)walk_layer(*reader,
                             [](const Entry&, const ErofsInode&) { return Result<void>(); });
    }
}

TEST(Erofs, TruncatedMetaIsAnError) {
    const TestLayer layer = build_layer(sample_entries());
    for (size_t size = 0; size < layer.built.meta.size(); size += 512)
        EXPECT_FALSE(ErofsReader::open(std::span(layer.built.meta).first(size))) << size;
}

// The checksum set right again after a change, as an attacker would.
std::vector<uint8_t> resealed(std::vector<uint8_t> meta) {
    const auto super = std::span(meta).subspan(erofs::kSuperOffset);
    store_le(super, erofs::kSuperChecksum, uint32_t{0});
    store_le(super, erofs::kSuperChecksum,
             static_cast<uint32_t>(~crc32c(super.first(erofs::kBlockBytes - erofs::kSuperOffset))));
    return meta;
}

std::string walk_error(const std::vector<uint8_t>& meta) {
    const auto reader = ErofsReader::open(meta);
    if (!reader) return reader.error().message;
    const auto checked = check_layer(*reader);
    return checked ? "" : checked.error().message;
}

TEST(Erofs, HostileTreesAreFound) {
    const TestLayer layer =
        build_layer({{{.path = "a/b/f"}, "content"},
                     {{.path = "a/g"}, "more"},
                     {{.path = "z", .kind = EntryKind::kHardLink, .target = "a/g"}, ""}});
    const ErofsReader reader = ErofsReader::open(layer.built.meta).value();
    const auto offset_of = [&](const char* path) {
        return reader.find(path).value().value().nid * erofs::kSlotBytes;
    };
    // Dirents of "a": ".", "..", "b", "g", inline behind its inode.
    const size_t dirents_of_a = offset_of("a") + erofs::kInodeBytes;
    const auto with = [&](size_t at, auto value) {
        auto meta = layer.built.meta;
        store_le(std::span(meta), at, value);
        return walk_error(resealed(std::move(meta)));
    };
    const size_t entry = erofs::kDirentBytes;
    const uint64_t nid_of_a = offset_of("a") / erofs::kSlotBytes;
    EXPECT_EQ(walk_error(layer.built.meta), "");
    EXPECT_NE(with(dirents_of_a + 2 * entry, nid_of_a), "") << "a directory in itself";
    EXPECT_NE(with(dirents_of_a + 2 * entry, reader.root_nid()), "") << "the root below itself";
    EXPECT_NE(with(dirents_of_a + 1 * entry, nid_of_a), "") << "a wrong '..'";
    EXPECT_NE(with(dirents_of_a + 2 * entry, UINT64_MAX / 32), "") << "an inode out of range";
    EXPECT_NE(with(dirents_of_a + 3 * entry + erofs::kDirentType, uint8_t{7}), "");
    EXPECT_NE(with(dirents_of_a + 4 * entry + 3, '/'), "") << "a name with a slash";
    EXPECT_NE(with(offset_of("a/g") + erofs::kInodeLinks, uint32_t{3}), "") << "links too many";
    EXPECT_NE(with(offset_of("a/g") + erofs::kInodeLinks, uint32_t{1}), "") << "links too few";
    EXPECT_NE(with(offset_of("a/g") + erofs::kInodeSize, uint64_t{1} << 62), "") << "a huge file";
    EXPECT_NE(with(offset_of("a/g") + erofs::kInodeBytes + erofs::kChunkBlock, uint32_t{99}), "")
        << "a chunk outside the data";
    EXPECT_NE(with(offset_of("a") + erofs::kInodeSize, uint64_t{1} << 40), "")
        << "a huge directory";
    EXPECT_NE(with(erofs::kSuperOffset + erofs::kSuperInodes, uint64_t{1}), "");
}

TEST(LayerTree, LaterEntriesReplaceEarlierOnes) {
    const TestLayer layer =
        build_layer({{{.path = "a/x"}, "1"},
                     {{.path = "a"}, "file now"},
                     {{.path = "b"}, "file"},
                     {{.path = "b", .kind = EntryKind::kDirectory}, ""},
                     {{.path = "b/y"}, "2"},
                     {{.path = "c"}, "old"},
                     {{.path = "d", .kind = EntryKind::kHardLink, .target = "c"}, ""},
                     {{.path = "c"}, "new"}});
    std::vector<std::string> found;
    for (const FoundFile& file : entries_of(layer))
        found.push_back(file.entry.path + "=" + file.content);
    EXPECT_EQ(found,
              (std::vector<std::string>{"=", "a=file now", "b=", "b/y=2", "c=new", "d=old"}));
}

TEST(LayerTree, ImpossibleEntriesAreRefused) {
    const auto error_of = [](const Entry& entry) {
        return build_error({{{.path = "file"}, ""},
                            {{.path = "dir", .kind = EntryKind::kDirectory}, ""},
                            {{.path = "link", .kind = EntryKind::kSymlink, .target = "/etc"}, ""},
                            {entry, ""}})
            .message;
    };
    EXPECT_NE(error_of({.path = "file/x"}).find("its parent file is a file"), std::string::npos);
    EXPECT_NE(error_of({.path = "link/x"}).find("is a symlink"), std::string::npos);
    EXPECT_NE(error_of({.path = ""}).find("root"), std::string::npos);
    EXPECT_NE(error_of({.path = "h", .kind = EntryKind::kHardLink, .target = "none"}), "");
    EXPECT_NE(error_of({.path = "h", .kind = EntryKind::kHardLink, .target = "dir"}), "");
    EXPECT_NE(error_of({.path = "h", .kind = EntryKind::kSymlink, .target = ""}), "");
}

TEST(LayerTree, WhiteoutsOfOci) {
    MemorySink data;
    LayerBuilder builder(data);
    ASSERT_TRUE(builder.hide_lower("etc/gone"));
    ASSERT_TRUE(builder.add({.path = "etc/again"}));
    ASSERT_TRUE(builder.hide_lower("etc/again"));  // the order in the archive means nothing
    ASSERT_TRUE(builder.hide_lower("etc/dir"));
    ASSERT_TRUE(builder.add({.path = "etc/dir/f"}));
    ASSERT_TRUE(builder.make_opaque("var"));
    TestLayer layer;
    layer.built = builder.finish().value();
    std::string found;
    for (const FoundFile& file : entries_of(layer))
        found += file.entry.path + (is_whiteout(file.entry) ? "!" : "") +
                 (is_opaque(file.entry.attributes) ? "*" : "") + " ";
    EXPECT_EQ(found, " etc etc/again etc/dir* etc/dir/f etc/gone! var* ");
    EXPECT_FALSE(layer.built.is_root_opaque);
}

TEST(LayerTree, ImplicitDirectoriesTakeTheirAttributesFromBelow) {
    MemorySink data;
    LayerBuilder builder(data);
    ASSERT_TRUE(builder.add({.path = "tmp/x"}));
    ASSERT_TRUE(builder.add({.path = "srv/y"}));
    TestLayer layer;
    layer.built = builder
                      .finish([](const std::string& path) -> std::optional<Attributes> {
                          if (path != "tmp") return std::nullopt;
                          return Attributes{.mode = 01777, .uid = 3};
                      })
                      .value();
    const auto found = entries_of(layer);
    EXPECT_EQ(layer.built.num_implicit, 2U);
    EXPECT_EQ(found.at(1).entry.path, "srv");
    EXPECT_EQ(found.at(1).entry.attributes, Attributes{});
    EXPECT_EQ(found.at(3).entry.attributes.mode, 01777U);
    EXPECT_EQ(found.at(3).entry.attributes.uid, 3U);
}

TEST(Entry, PathsAreNormalOrRefused) {
    EXPECT_EQ(normal_entry_path("./a//b/./c/").value(), "a/b/c");
    EXPECT_EQ(normal_entry_path("/etc/passwd").value(), "etc/passwd");
    EXPECT_EQ(normal_entry_path("./").value(), "");
    EXPECT_EQ(normal_entry_path("..a/b..").value(), "..a/b..");
    for (const std::string& bad : {std::string("../x"), std::string("a/../../x"), std::string(".."),
                                   std::string("a\0b", 3), std::string(256, 'n')})
        EXPECT_FALSE(normal_entry_path(bad)) << bad;
    std::string deep;
    while (deep.size() <= kPathBytesMax) deep += "d/";
    EXPECT_FALSE(normal_entry_path(deep + "d"));
}

}  // namespace
}  // namespace baleen::sandbox::image
