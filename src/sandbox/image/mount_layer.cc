#include "sandbox/image/mount_layer.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstring>

#include "sandbox/image/descriptor.h"

namespace baleen::sandbox::image {
namespace {

constexpr unsigned long kFlags = MS_RDONLY | MS_NODEV | MS_NOSUID;

Error mount_error(const std::string& source, const std::string& target, const char* type) {
    const int code = errno;
    // ENOTBLK: the kernel knows EROFS but wants a block device.
    const bool is_missing = code == ENODEV || code == ENOTBLK;
    return make_error(is_missing ? ErrorCode::kUnsupported : ErrorCode::kIo,
                      "{}: cannot mount as {} on {}: {}", source, type, target,
                      std::strerror(code));
}

// A loop device for the file, which goes when its last user does. Another process may take the free
// device that we were told of: then we ask again.
Result<Descriptor> loop_device(const std::string& path, std::string& device) {
    constexpr int kTries = 64;
    const Descriptor file = TRY(open_at(AT_FDCWD, path, O_RDONLY, path));
    const Descriptor control =
        TRY(open_at(AT_FDCWD, "/dev/loop-control", O_RDWR, "/dev/loop-control"));
    for (int i = 0; i < kTries; ++i) {
        const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
        if (number < 0) return io_error("/dev/loop-control", "get a free loop device");
        device = fmt::format("/dev/loop{}", number);
        Descriptor loop = TRY(open_at(AT_FDCWD, device, O_RDONLY, device));
        loop_config config{};
        config.fd = static_cast<uint32_t>(file.get());
        config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
        if (::ioctl(loop.get(), LOOP_CONFIGURE, &config) == 0) return loop;
        if (errno != EBUSY) return io_error(device, "attach a file to");
    }
    return make_error(ErrorCode::kExhausted, "{}: no free loop device after {} tries", path,
                      kTries);
}

}  // namespace

Result<void> mount_layer(const std::string& meta_path, const std::string& data_path,
                         const std::string& target) {
    if (data_path.find(',') != std::string::npos)
        return make_error(ErrorCode::kInvalidArgument,
                          "{}: a mount option cannot hold a path with a comma", data_path);
    const std::string option = "device=" + data_path;
    if (::mount(meta_path.c_str(), target.c_str(), "erofs", kFlags, option.c_str()) != 0)
        return mount_error(meta_path, target, "erofs");
    return {};
}

Result<void> mount_squashfs(const std::string& path, const std::string& target) {
    std::string device;
    const Descriptor loop = TRY(loop_device(path, device));
    if (::mount(device.c_str(), target.c_str(), "squashfs", kFlags, nullptr) != 0)
        return mount_error(path, target, "squashfs");
    return {};
}

Result<void> mount_directory(const std::string& path, const std::string& target) {
    if (::mount(path.c_str(), target.c_str(), nullptr, MS_BIND, nullptr) != 0)
        return mount_error(path, target, "directory");
    // A bind mount takes its flags in a second step.
    if (::mount(nullptr, target.c_str(), nullptr, MS_BIND | MS_REMOUNT | kFlags, nullptr) == 0)
        return {};
    Error error = mount_error(path, target, "read-only directory");
    (void)unmount_layer(target);
    return error;
}

Result<void> unmount_layer(const std::string& target) {
    if (::umount2(target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) return {};
    // EINVAL: not a mount point.
    if (errno == EINVAL || errno == ENOENT) return {};
    return io_error(target, "unmount");
}

}  // namespace baleen::sandbox::image
