// Little-endian integers in byte buffers.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/check.h"

namespace baleen::sandbox::image {

static_assert(std::endian::native == std::endian::little, "fields are copied as they lie");

// REQUIRES: the integer lies inside bytes; callers have checked lengths that come from outside.
template <typename T>
T load_le(std::span<const uint8_t> bytes, size_t offset) {
    CHECK_LE(offset, bytes.size());
    CHECK_LE(sizeof(T), bytes.size() - offset);
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof(T));
    return value;
}

template <typename T>
void store_le(std::span<uint8_t> bytes, size_t offset, T value) {
    CHECK_LE(offset, bytes.size());
    CHECK_LE(sizeof(T), bytes.size() - offset);
    std::memcpy(bytes.data() + offset, &value, sizeof(T));
}

}  // namespace baleen::sandbox::image
