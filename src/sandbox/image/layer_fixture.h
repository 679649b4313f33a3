// What the tests of layers share: sample trees, building them, reading them back.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "sandbox/image/erofs_reader.h"
#include "sandbox/image/layer_builder.h"

namespace baleen::sandbox::image {

struct TestFile {
    Entry entry;  // size is set from content
    std::string content;
};
using FoundFile = TestFile;

struct TestLayer {
    BuiltLayer built;
    std::vector<uint8_t> data;
};

inline std::span<const uint8_t> bytes_of(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

inline std::string random_text(size_t size, uint32_t seed) {
    std::mt19937 random(seed);
    std::string text(size, '\0');
    for (char& c : text) c = static_cast<char>(random());
    return text;
}

inline Result<BuiltLayer> try_build(const std::vector<TestFile>& files, ByteSink& data) {
    LayerBuilder builder(data);
    for (const TestFile& file : files) {
        Entry entry = file.entry;
        if (entry.kind == EntryKind::kRegular) entry.size = file.content.size();
        TRY(builder.add(entry));
        if (entry.kind == EntryKind::kRegular) TRY(builder.append(bytes_of(file.content)));
    }
    return builder.finish();
}

inline TestLayer build_layer(const std::vector<TestFile>& files) {
    MemorySink data;
    TestLayer layer;
    layer.built = try_build(files, data).value();
    layer.data = std::move(data.bytes);
    EXPECT_EQ(layer.data.size(), layer.built.data_bytes);
    return layer;
}

inline Error build_error(const std::vector<TestFile>& files) {
    MemorySink data;
    const auto built = try_build(files, data);
    EXPECT_FALSE(built);
    return built ? Error{} : built.error();
}

inline DataAccess memory_data(const std::vector<uint8_t>& data) {
    return [&data](uint64_t offset, std::span<uint8_t> bytes) -> Result<void> {
        if (offset > data.size() || bytes.size() > data.size() - offset)
            return make_error(ErrorCode::kCorrupt, "outside the data");
        std::memcpy(bytes.data(), data.data() + offset, bytes.size());
        return {};
    };
}

// All entries of a layer in the order of its walk, files with their content.
inline std::vector<FoundFile> entries_of(const TestLayer& layer) {
    std::vector<FoundFile> found;
    const auto reader = ErofsReader::open(layer.built.meta);
    EXPECT_TRUE(reader) << (reader ? "" : reader.error().message);
    if (!reader) return found;
    const auto walked =
        walk_layer(*reader, [&](const Entry& entry, const ErofsInode& inode) -> Result<void> {
            found.push_back({entry, ""});
            if (entry.kind != EntryKind::kRegular) return {};
            std::string& content = found.back().content;
            return read_content(*reader, inode, memory_data(layer.data),
                                [&](std::span<const uint8_t> bytes, uint64_t hole) -> Result<void> {
                                    content.append(bytes.begin(), bytes.end());
                                    content.append(hole, '\0');
                                    return {};
                                });
        });
    EXPECT_TRUE(walked) << (walked ? "" : walked.error().message);
    return found;
}

// One of everything: kinds, times, owners, attributes, links, sizes around block and chunk.
inline std::vector<TestFile> sample_entries() {
    std::vector<TestFile> files;
    const auto add = [&](Entry entry, std::string content = "") {
        files.push_back({std::move(entry), std::move(content)});
    };
    add({.path = "", .kind = EntryKind::kDirectory, .attributes = {.mode = 0755, .mtime_s = 1}});
    add({.path = "etc", .kind = EntryKind::kDirectory, .attributes = {.mtime_s = 1'700'000'000}});
    add({.path = "etc/hello",
         .attributes = {.mode = 0640, .uid = 7, .gid = 8, .mtime_s = 1'600'000'000, .mtime_ns = 5}},
        "hello");
    add({.path = "etc/empty", .attributes = {.mode = 0}});
    add({.path = "etc/old", .attributes = {.mode = 0600, .mtime_s = -5, .mtime_ns = 999'999'999}},
        "before 1970");
    add({.path = "bin/su", .attributes = {.mode = 04755, .uid = 0xfffffffe, .gid = 70'000}}, "#!");
    Entry with_xattrs{.path = "bin/ping"};
    set_xattr(with_xattrs.attributes.xattrs, "user.b", std::string("\0binary\xff", 8));
    set_xattr(with_xattrs.attributes.xattrs, "user.a", "");
    // cap_net_raw=ep, revision 2
    set_xattr(with_xattrs.attributes.xattrs, "security.capability",
              std::string("\1\0\0\2\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20));
    add(with_xattrs, "ping");
    add({.path = "bin/ping6", .kind = EntryKind::kHardLink, .target = "bin/ping"});
    add({.path = "a-third-name", .kind = EntryKind::kHardLink, .target = "bin/ping"});
    add({.path = "link",
         .kind = EntryKind::kSymlink,
         .attributes = {.mode = 0777},
         .target = "../../etc/hello"});
    add({.path = "dev/null",
         .kind = EntryKind::kCharDevice,
         .attributes = {.mode = 0666},
         .device_major = 1,
         .device_minor = 3});
    add({.path = "dev/disk",
         .kind = EntryKind::kBlockDevice,
         .attributes = {.mode = 0660},
         .device_major = 0xfff,
         .device_minor = 0xfffff});
    add({.path = "dev/fifo", .kind = EntryKind::kFifo, .attributes = {.mode = 0600}});
    add({.path = "dev/socket", .kind = EntryKind::kSocket, .attributes = {.mode = 0755}});
    add({.path = "gone", .kind = EntryKind::kCharDevice, .attributes = {.mode = 0}});
    Entry opaque{.path = "opaque", .kind = EntryKind::kDirectory, .attributes = {.mode = 01777}};
    set_opaque(opaque.attributes);
    add(opaque);
    uint32_t seed = 1;
    for (const size_t size : {1U, 4095U, 4096U, 4097U, 1048575U, 1048576U, 1048577U, 3500000U})
        add({.path = fmt::format("sizes/{}", size)}, random_text(size, seed++));
    add({.path = "sizes/zeros"}, std::string(2'500'000, '\0'));
    add({.path = "sizes/hole"}, random_text(10, 3) + std::string(3 << 20, '\0') + "end");
    std::string deep = "deep";
    for (int i = 0; i < 200; ++i) deep += "/d";
    add({.path = deep + "/bottom"}, "low");
    for (size_t i = 0; i < 700; ++i)
        add({.path = fmt::format("many/{}{}", i * 37 % 700, std::string(i % 90, 'n'))});
    // Names around "." in the order of bytes, and bytes beyond ASCII.
    for (const char* name : {"!", "-", "...", ".a", "/", "~", "\xc3\xa9", "\xff", "A b\n"})
        if (name[0] != '/') add({.path = std::string("names/") + name});
    return files;
}

// What the walk of a layer of these gives: implicit directories added, sorted, hard links naming
// the first path of their file in that order.
inline std::vector<FoundFile> expected_after_build(const std::vector<TestFile>& files) {
    std::map<std::vector<std::string>, FoundFile> sorted;  // by path parts: the order of the walk
    const auto parts_of = [](const std::string& path) {
        std::vector<std::string> parts;
        for (size_t begin = 0; begin < path.size();) {
            const size_t end = std::min(path.find('/', begin), path.size());
            parts.push_back(path.substr(begin, end - begin));
            begin = end + 1;
        }
        return parts;
    };
    std::map<std::string, std::string> source_of;  // hard link to the file that it names
    for (const TestFile& file : files) {
        for (size_t slash = file.entry.path.find('/'); slash != std::string::npos;
             slash = file.entry.path.find('/', slash + 1)) {
            const std::string parent = file.entry.path.substr(0, slash);
            sorted.try_emplace(parts_of(parent),
                               FoundFile{{.path = parent, .kind = EntryKind::kDirectory}, ""});
        }
        FoundFile found = file;
        if (found.entry.kind == EntryKind::kHardLink) {
            source_of[found.entry.path] = found.entry.target;
            found = sorted.at(parts_of(found.entry.target));
            found.entry.path = file.entry.path;
        }
        sorted[parts_of(found.entry.path)] = found;
    }
    for (const auto& [parts, found] : sorted)
        if (is_whiteout(found.entry))
            set_xattr(sorted.at({parts.begin(), parts.end() - 1}).entry.attributes.xattrs,
                      kOriginXattr, "");
    std::map<std::string, std::string> first_path;  // by the file's own path
    std::vector<FoundFile> expected;
    for (auto& [parts, found] : sorted) {
        const auto source = source_of.find(found.entry.path);
        const std::string file = source == source_of.end() ? found.entry.path : source->second;
        const auto [first, is_first] = first_path.try_emplace(file, found.entry.path);
        if (!is_first) {
            found.entry.kind = EntryKind::kHardLink;
            found.entry.target = first->second;
            found.content.clear();
        }
        expected.push_back(found);
    }
    return expected;
}

}  // namespace baleen::sandbox::image
