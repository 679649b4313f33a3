// LayerTree to the bytes of a .meta file. A pure function: the same tree gives the same bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/sha256.h"
#include "sandbox/image/layer_tree.h"

namespace baleen::sandbox::image {

struct DataDevice {
    Sha256Digest digest{};  // of the whole .data file
    uint32_t blocks = 0;
};

// The bytes of .meta, whole blocks. REQUIRES: tree.resolve_whiteouts() has been called, and every
// chunk lies inside the data device.
// kExhausted where the format ends: attributes of more than 262,148 bytes on one inode, 2^32
// blocks.
Result<std::vector<uint8_t>> write_erofs_meta(const LayerTree& tree, const DataDevice& data);

}  // namespace baleen::sandbox::image
