// Little-endian numbers in byte arrays. Private to sandbox/log.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace baleen::sandbox {

template <std::unsigned_integral Number>
Number load_number(std::span<const uint8_t> bytes, size_t offset) {
    Number value = 0;
    for (size_t i = sizeof(Number); i-- > 0;)
        value = static_cast<Number>(static_cast<uint64_t>(value) << 8 | bytes[offset + i]);
    return value;
}

template <std::unsigned_integral Number>
void store_number(std::span<uint8_t> bytes, size_t offset, Number value) {
    for (size_t i = 0; i < sizeof(Number); ++i)
        bytes[offset + i] = static_cast<uint8_t>(static_cast<uint64_t>(value) >> (8 * i));
}

inline std::string_view text_of(std::span<const uint8_t> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline std::span<const uint8_t> bytes_of(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace baleen::sandbox
