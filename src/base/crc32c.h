// CRC-32C (Castagnoli: polynomial 0x1EDC6F41, reflected, as in iSCSI): finds torn and flipped
// bytes. It is no protection against anybody; that is what sha256.h is for.
#pragma once

#include <cstdint>
#include <span>

namespace baleen {

// The checksum of what `before` is the checksum of (0: of nothing), followed by these bytes.
uint32_t crc32c(std::span<const uint8_t> bytes, uint32_t before = 0);

}  // namespace baleen
