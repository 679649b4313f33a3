#include "base/crc32c.h"

#include <array>
#include <cstddef>

namespace baleen {
namespace {

constexpr uint32_t kReflectedPolynomial = 0x82F63B78;
constexpr size_t kStride = 8;  // bytes per step

// tables[0][b]: the remainder of byte b. tables[k][b]: the same with k zero bytes after it.
using Tables = std::array<std::array<uint32_t, 256>, kStride>;

constexpr Tables make_tables() {
    Tables tables{};
    for (uint32_t byte = 0; byte < 256; ++byte) {
        uint32_t rest = byte;
        for (int bit = 0; bit < 8; ++bit) rest = rest >> 1 ^ (rest & 1 ? kReflectedPolynomial : 0);
        tables[0][byte] = rest;
    }
    for (size_t k = 1; k < kStride; ++k)
        for (size_t byte = 0; byte < 256; ++byte) {
            const uint32_t shorter = tables[k - 1][byte];
            tables[k][byte] = shorter >> 8 ^ tables[0][shorter & 255];
        }
    return tables;
}

constexpr Tables kTables = make_tables();

}  // namespace

uint32_t crc32c(std::span<const uint8_t> bytes, uint32_t before) {
    uint32_t rest = ~before;
    for (; bytes.size() >= kStride; bytes = bytes.subspan(kStride)) {
        uint32_t next = 0;
        for (size_t i = 0; i < kStride; ++i) {
            const uint32_t carried = i < 4 ? rest >> (8 * i) & 255 : 0;
            next ^= kTables[kStride - 1 - i][bytes[i] ^ carried];
        }
        rest = next;
    }
    for (const uint8_t byte : bytes) rest = rest >> 8 ^ kTables[0][(rest ^ byte) & 255];
    return ~rest;
}

}  // namespace baleen
