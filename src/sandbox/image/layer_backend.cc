#include "sandbox/image/layer_backend.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "sandbox/image/layer_builder.h"
#include "sandbox/image/store_files.h"

namespace baleen::sandbox::image {
namespace {

// What the kernel writes about a failed mount, if it does: "e erofs: cannot ...".
std::string mount_log(int context) {
    char text[512];
    const ssize_t n = ::read(context, text, sizeof(text) - 1);
    return n > 2 ? std::string(text + 2, static_cast<size_t>(n - 2)) : std::string();
}

// "" when the test layer could be mounted, else why not.
Result<std::string> try_erofs(const std::string& scratch_folder) {
    TemporaryFile data = TRY(TemporaryFile::create(scratch_folder, {}));
    LayerBuilder builder(data);
    TRY(builder.add({.path = "file", .size = 1}));
    TRY(builder.append(std::span(reinterpret_cast<const uint8_t*>("x"), 1)));
    const BuiltLayer layer = TRY(builder.finish());
    TemporaryFile meta = TRY(TemporaryFile::create(scratch_folder, {}));
    TRY(meta.write(layer.meta));

    const auto why = [](const char* what) {
        return fmt::format("{}: {}", what, std::strerror(errno));
    };
    const Descriptor context(::fsopen("erofs", FSOPEN_CLOEXEC));
    if (!context.is_open()) return why("the kernel has no EROFS");
    const int fd = context.get();
    const bool is_set =
        ::fsconfig(fd, FSCONFIG_SET_STRING, "source", meta.path().c_str(), 0) == 0 &&
        ::fsconfig(fd, FSCONFIG_SET_STRING, "device", data.path().c_str(), 0) == 0 &&
        ::fsconfig(fd, FSCONFIG_SET_FLAG, "ro", nullptr, 0) == 0;
    if (!is_set) return why("EROFS takes no second device");
    if (::fsconfig(fd, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
        const std::string said = errno == ENOTBLK ? "it wants block devices (files: Linux 6.12)"
                                                  : why("the test layer was refused");
        const std::string log = mount_log(fd);
        return "EROFS: " + said + (log.empty() ? "" : " (" + log + ")");
    }
    return std::string();
}

std::string try_squashfs(const DetectOptions& options) {
    const std::string program = options.mksquashfs.empty() ? find_mksquashfs() : options.mksquashfs;
    if (program.empty() || ::access(program.c_str(), X_OK) != 0)
        return "squashfs: mksquashfs is not installed (Debian package: squashfs-tools)";
    const Descriptor context(::fsopen("squashfs", FSOPEN_CLOEXEC));
    if (!context.is_open())
        return fmt::format("the kernel has no squashfs: {}", std::strerror(errno));
    const Descriptor loop(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    if (!loop.is_open()) return fmt::format("squashfs: no loop devices: {}", std::strerror(errno));
    return "";
}

}  // namespace

std::string_view backend_name(LayerBackend backend) {
    switch (backend) {
        case LayerBackend::kErofs: return "erofs";
        case LayerBackend::kSquashfs: return "squashfs";
        case LayerBackend::kDirectory: return "directory";
    }
    return "";
}

std::string find_mksquashfs() {
    for (const char* place :
         {"/usr/bin/mksquashfs", "/usr/sbin/mksquashfs", "/usr/local/bin/mksquashfs"})
        if (::access(place, X_OK) == 0) return place;
    return "";
}

Result<LayerSupport> detect_layer_support(const std::string& scratch_folder,
                                          const DetectOptions& options) {
    // Told by the kernel before it looks at the type's name.
    const Descriptor probe(::fsopen("tmpfs", FSOPEN_CLOEXEC));
    if (!probe.is_open() && errno == EPERM)
        return make_error(ErrorCode::kUnsupported,
                          "layers cannot be mounted: this needs root (CAP_SYS_ADMIN)");
    std::string reasons;
    const auto add_reason = [&](const std::string& reason) {
        reasons += (reasons.empty() ? "" : "; ") + reason;
    };
    if (options.best == LayerBackend::kErofs) {
        const std::string why_not = TRY(try_erofs(scratch_folder));
        if (why_not.empty())
            return LayerSupport{LayerBackend::kErofs, "EROFS mounts layers from their files"};
        add_reason(why_not);
    }
    if (options.best != LayerBackend::kDirectory) {
        const std::string why_not = try_squashfs(options);
        if (why_not.empty()) {
            add_reason("layers are converted to squashfs on loop devices");
            return LayerSupport{LayerBackend::kSquashfs, reasons};
        }
        add_reason(why_not);
    }
    add_reason("layers are unpacked into directories");
    return LayerSupport{LayerBackend::kDirectory, reasons};
}

}  // namespace baleen::sandbox::image
