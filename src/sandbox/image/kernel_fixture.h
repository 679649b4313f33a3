// Tests that mount: layers and overlays in a temporary folder, unmounted at the end. Needs root;
// without it these tests say so and are skipped.
#pragma once

#include <fcntl.h>
#include <sys/mount.h>

#include <csignal>
#include <cstring>

#include "base/file.h"
#include "sandbox/image/layer_cache.h"
#include "sandbox/image/mount_layer.h"
#include "sandbox/image/store_fixture.h"

namespace baleen::sandbox::image {

class KernelTest : public TemporaryTest {
  protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount";
        std::signal(SIGPIPE, SIG_IGN);
    }
    ~KernelTest() override {
        for (auto mount = mounts_.rbegin(); mount != mounts_.rend(); ++mount)
            EXPECT_TRUE(unmount_layer(*mount));
    }

    std::string new_folder(const std::string& name) const {
        std::filesystem::create_directories(path(name));
        return path(name);
    }

    std::string mounted(const TestLayer& layer, const std::string& name) {
        const auto text = [](const std::vector<uint8_t>& bytes) {
            return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        };
        const std::string meta = write(name + ".meta", text(layer.built.meta));
        const std::string data = write(name + ".data", text(layer.data));
        const auto done = mount_layer(meta, data, new_folder(name));
        EXPECT_TRUE(done) << (done ? "" : done.error().message);
        mounts_.push_back(path(name));
        return path(name);
    }

    std::string attached(const LocalLayer& layer, const std::string& name) {
        const auto done = attach_layer(layer, new_folder(name));
        EXPECT_TRUE(done) << (done ? "" : done.error().message);
        mounts_.push_back(path(name));
        return path(name);
    }

    // With an upper directory NAME.upper.
    std::string overlay(const std::vector<std::string>& lowers_from_top, const std::string& name) {
        std::string option;
        for (const std::string& lower : lowers_from_top)
            option += (option.empty() ? "lowerdir=" : ":") + lower;
        option +=
            ",upperdir=" + new_folder(name + ".upper") + ",workdir=" + new_folder(name + ".work");
        EXPECT_EQ(::mount("overlay", new_folder(name).c_str(), "overlay", 0, option.c_str()), 0)
            << std::strerror(errno);
        mounts_.push_back(path(name));
        return path(name);
    }

    void unmount(const std::string& mount) {
        EXPECT_TRUE(unmount_layer(mount));
        std::erase(mounts_, mount);
    }

  private:
    std::vector<std::string> mounts_;
};

}  // namespace baleen::sandbox::image
