// Mounting one layer: the few calls that need CAP_SYS_ADMIN. Called by the jail, which passes paths
// that it made itself; nothing here parses a layer.
#pragma once

#include <string>

#include "base/result.h"

namespace baleen::sandbox::image {

// Mounts a layer's two files on the directory `target`: read-only, without devices and setuid, by
// mount(2) with the files' paths, no loop device. Device nodes and setuid programs in a layer are
// thus harmless where it is mounted; an overlay on top decides for itself. kUnsupported where the
// kernel has no EROFS or takes no files as its source (before Linux 6.12).
Result<void> mount_layer(const std::string& meta_path, const std::string& data_path,
                         const std::string& target);

// The same for a squashfs file, by a loop device that goes with the mount.
Result<void> mount_squashfs(const std::string& path, const std::string& target);

// The same for a directory: a bind mount.
Result<void> mount_directory(const std::string& path, const std::string& target);

// Ends any of these; a mount in use goes when it is no longer used. No mount there is no error.
Result<void> unmount_layer(const std::string& target);

}  // namespace baleen::sandbox::image
