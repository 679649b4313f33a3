// A layer out of our EROFS files again: as a tar archive, or unpacked into a directory.
#pragma once

#include <string>

#include "base/result.h"
#include "sandbox/image/byte_source.h"
#include "sandbox/image/erofs_reader.h"

namespace baleen::sandbox::image {

// What a layer says of the layers below it: whiteouts, which are character devices 0/0, and
// overlayfs' attributes on directories.
enum class OverlayMarks { kKeep, kDrop };

// Every entry but sockets, which tar does not have.
Result<void> write_layer_tar(const ErofsReader& reader, const DataAccess& data, OverlayMarks marks,
                             ByteSink& sink);

// Unpacks into `folder`, which is empty and belongs to nobody else: owners, modes, times,
// attributes, device nodes. Needs root. What has been unpacked stays there on failure.
Result<void> unpack_layer(const ErofsReader& reader, const DataAccess& data,
                          const std::string& folder);

}  // namespace baleen::sandbox::image
