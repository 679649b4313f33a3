// Converts a layer for hosts whose kernel does not mount EROFS from files.
#pragma once

#include <string>

#include "base/result.h"
#include "sandbox/image/store.h"

namespace baleen::sandbox::image {

// Feeds the layer as a tar archive to `mksquashfs`, uncompressed. Times are whole seconds from 1970
// on and sockets are left out: squashfs and tar have no more. kUnsupported without the program.
// REQUIRES: `path` does not exist; SIGPIPE is ignored.
Result<void> write_squashfs(const LoadedLayer& layer, const std::string& path,
                            const std::string& mksquashfs);

}  // namespace baleen::sandbox::image
