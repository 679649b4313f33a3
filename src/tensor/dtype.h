// The element types of checkpoint tensors (spec section 2.4) and their safetensors names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace baleen {

enum class DType : uint8_t {
    kF32,
    kBF16,
    kF8E4M3,  // e4m3fn: max 448, no infinities, 0x7F and 0xFF are NaN
    kF8E8M0,  // ue8m0 scale byte b = 2^(b-127), 255 is NaN
    kI8,      // container of two packed e2m1 values, low nibble first
    kI64,
};

// Bytes of one stored element.
constexpr size_t dtype_bytes(DType dtype) {
    switch (dtype) {
        case DType::kF32: return 4;
        case DType::kBF16: return 2;
        case DType::kI64: return 8;
        default: return 1;
    }
}

// The name in a safetensors header ("F8_E4M3").
constexpr std::string_view dtype_name(DType dtype) {
    switch (dtype) {
        case DType::kF32: return "F32";
        case DType::kBF16: return "BF16";
        case DType::kF8E4M3: return "F8_E4M3";
        case DType::kF8E8M0: return "F8_E8M0";
        case DType::kI8: return "I8";
        case DType::kI64: return "I64";
    }
    return "?";
}

constexpr std::optional<DType> dtype_from_name(std::string_view name) {
    for (DType d :
         {DType::kF32, DType::kBF16, DType::kF8E4M3, DType::kF8E8M0, DType::kI8, DType::kI64})
        if (dtype_name(d) == name) return d;
    return std::nullopt;
}

}  // namespace baleen
