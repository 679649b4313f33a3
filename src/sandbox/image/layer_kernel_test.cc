// What the kernel makes of our layers: mounted, every file compared with what went in. Needs root
// (and Linux 6.12 for EROFS from files); without it these tests say so and are skipped.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "sandbox/image/kernel_fixture.h"

namespace baleen::sandbox::image {
namespace {

namespace fs = std::filesystem;

class LayerKernel : public KernelTest {};

std::string xattr_of(const std::string& path, const std::string& name) {
    std::string value(1 << 16, '\0');
    const ssize_t n = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
    EXPECT_GE(n, 0) << path << " " << name << ": " << std::strerror(errno);
    value.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
    return value;
}

std::vector<std::string> xattr_names(const std::string& path) {
    std::string list(1 << 16, '\0');
    const ssize_t n = ::llistxattr(path.c_str(), list.data(), list.size());
    EXPECT_GE(n, 0) << path;
    std::vector<std::string> names;
    for (size_t begin = 0; begin < static_cast<size_t>(n); begin += names.back().size() + 1)
        names.emplace_back(list.c_str() + begin);
    std::sort(names.begin(), names.end());
    return names;
}

mode_t type_bits(EntryKind kind) {
    switch (kind) {
        case EntryKind::kDirectory: return S_IFDIR;
        case EntryKind::kSymlink: return S_IFLNK;
        case EntryKind::kCharDevice: return S_IFCHR;
        case EntryKind::kBlockDevice: return S_IFBLK;
        case EntryKind::kFifo: return S_IFIFO;
        case EntryKind::kSocket: return S_IFSOCK;
        case EntryKind::kRegular:
        case EntryKind::kHardLink: break;
    }
    return S_IFREG;
}

void expect_attributes(const std::string& path, const Attributes& wanted) {
    struct stat status {};
    ASSERT_EQ(::lstat(path.c_str(), &status), 0) << path;
    EXPECT_EQ(status.st_mode & 07777U, wanted.mode) << path;
    EXPECT_EQ(status.st_uid, wanted.uid) << path;
    EXPECT_EQ(status.st_gid, wanted.gid) << path;
    EXPECT_EQ(status.st_mtim.tv_sec, wanted.mtime_s) << path;
    EXPECT_EQ(status.st_mtim.tv_nsec, wanted.mtime_ns) << path;
    std::vector<std::string> names;
    for (const Xattr& xattr : wanted.xattrs) {
        names.push_back(xattr.name);
        EXPECT_EQ(xattr_of(path, xattr.name), xattr.value) << path;
    }
    EXPECT_EQ(xattr_names(path), names) << path;
}

void expect_file(const std::string& root, const FoundFile& wanted) {
    const std::string path = root + "/" + wanted.entry.path;
    struct stat status {};
    ASSERT_EQ(::lstat(path.c_str(), &status), 0) << path;
    expect_attributes(path, wanted.entry.attributes);
    if (wanted.entry.kind == EntryKind::kHardLink) {
        struct stat first {};
        ASSERT_EQ(::lstat((root + "/" + wanted.entry.target).c_str(), &first), 0);
        EXPECT_EQ(status.st_ino, first.st_ino) << path;
        return;
    }
    EXPECT_EQ(status.st_mode & S_IFMT, type_bits(wanted.entry.kind)) << path;
    if (wanted.entry.kind == EntryKind::kRegular) {
        EXPECT_TRUE(read_file(path, size_t{1} << 30).value() == wanted.content) << path;
    }
    if (wanted.entry.kind == EntryKind::kSymlink) {
        EXPECT_EQ(fs::read_symlink(path).string(), wanted.entry.target);
    }
    EXPECT_EQ(gnu_dev_major(status.st_rdev), wanted.entry.device_major) << path;
    EXPECT_EQ(gnu_dev_minor(status.st_rdev), wanted.entry.device_minor) << path;
}

TEST_F(LayerKernel, ShowsEveryFileAsItWentIn) {
    const std::string root = mounted(build_layer(sample_entries()), "layer");
    const auto wanted = expected_after_build(sample_entries());
    for (const FoundFile& file : wanted) expect_file(root, file);
    size_t listed = 1;
    for ([[maybe_unused]] const auto& file : fs::recursive_directory_iterator(root)) ++listed;
    EXPECT_EQ(listed, wanted.size());
    struct stat status {};
    ASSERT_EQ(::lstat((root + "/bin/ping").c_str(), &status), 0);
    EXPECT_EQ(status.st_nlink, 3U);
    ASSERT_EQ(::lstat(root.c_str(), &status), 0);
    EXPECT_EQ(status.st_nlink, 2U + 8);  // bin, deep, dev, etc, many, names, opaque, sizes
}

TEST_F(LayerKernel, FindsEachNameOfALargeDirectory) {
    std::vector<TestFile> files;
    for (int i = 0; i < 100'000; ++i)
        files.push_back({{.path = fmt::format("many/entry-{}", i)}, ""});
    const std::string root = mounted(build_layer(files), "layer");
    for (int i = 0; i < 100'000; ++i)
        ASSERT_EQ(::access((root + fmt::format("/many/entry-{}", i)).c_str(), F_OK), 0) << i;
    EXPECT_NE(::access((root + "/many/entry-").c_str(), F_OK), 0);
    size_t listed = 0;
    for ([[maybe_unused]] const auto& file : fs::directory_iterator(root + "/many")) ++listed;
    EXPECT_EQ(listed, 100'000U);
}

TEST_F(LayerKernel, ReadsBehindFourGiB) {
    MemorySink data;
    LayerBuilder builder(data);
    const uint64_t size = (uint64_t{5} << 30) + 7;
    ASSERT_TRUE(builder.add({.path = "big", .size = size}));
    ASSERT_TRUE(builder.append(bytes_of("begin")));
    ASSERT_TRUE(builder.append_hole(size - 8));
    ASSERT_TRUE(builder.append(bytes_of("end")));
    TestLayer layer{builder.finish().value(), data.bytes};
    const std::string file = mounted(layer, "layer") + "/big";
    EXPECT_EQ(fs::file_size(file), size);
    std::ifstream in(file);
    std::string text(5, ' ');
    in.read(text.data(), 5);
    EXPECT_EQ(text, "begin");
    in.seekg(static_cast<std::streamoff>(size - 4));
    in.read(text.data(), 4);
    EXPECT_EQ(text.substr(0, 4), std::string("\0end", 4));
}

TEST_F(LayerKernel, EmptyLayerMounts) {
    const std::string root = mounted(build_layer({}), "layer");
    EXPECT_TRUE(fs::is_empty(root));
}

TEST_F(LayerKernel, WhiteoutsAndOpaqueDirectoriesWorkInAnOverlay) {
    const std::string base = mounted(build_layer({{{.path = "etc/keep"}, "base"},
                                                  {{.path = "etc/gone"}, "base"},
                                                  {{.path = "var/old"}, "base"},
                                                  {{.path = "opt/x"}, "base"}}),
                                     "base");
    MemorySink data;
    LayerBuilder builder(data);
    ASSERT_TRUE(builder.hide_lower("etc/gone"));
    ASSERT_TRUE(builder.make_opaque("var"));
    ASSERT_TRUE(builder.add({.path = "var/new"}));
    ASSERT_TRUE(builder.hide_lower("opt"));
    ASSERT_TRUE(builder.add({.path = "opt/y"}));
    const std::string top = mounted({builder.finish().value(), data.bytes}, "top");
    const std::string merged = overlay({top, base}, "merged");
    EXPECT_TRUE(fs::exists(merged + "/etc/keep"));
    EXPECT_FALSE(fs::exists(merged + "/etc/gone"));
    EXPECT_FALSE(fs::exists(merged + "/var/old"));
    EXPECT_TRUE(fs::exists(merged + "/var/new"));
    EXPECT_FALSE(fs::exists(merged + "/opt/x"));
    EXPECT_TRUE(fs::exists(merged + "/opt/y"));
}

TEST_F(LayerKernel, SetuidAndDevicesAreOffInTheLayersOwnMount) {
    const std::string root = mounted(build_layer(sample_entries()), "layer");
    EXPECT_EQ(::open((root + "/dev/null").c_str(), O_RDONLY), -1);
    EXPECT_EQ(errno, EACCES);
    std::ifstream mounts("/proc/self/mounts");
    bool found = false;
    for (std::string line; std::getline(mounts, line);)
        if (line.find(root) != std::string::npos) {
            found = true;
            EXPECT_NE(line.find("nosuid"), std::string::npos) << line;
            EXPECT_EQ(line.find("/dev/loop"), std::string::npos) << line;
        }
    EXPECT_TRUE(found);
}

}  // namespace
}  // namespace baleen::sandbox::image
