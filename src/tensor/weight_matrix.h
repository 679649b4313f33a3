// A weight matrix as it lies in the checkpoint: bytes, scales and format. Borrowed from a mapping.
#pragma once

#include <cstddef>
#include <cstdint>

namespace baleen {

enum class WeightFormat : uint8_t {
    kF32,   // [rows, cols] f32
    kBF16,  // [rows, cols] bf16
    kFp8,   // [rows, cols] e4m3; scales [ceil(rows/128), ceil(cols/128)] ue8m0
    kFp4,   // [rows, cols/2] packed e2m1, low nibble = even column; scales [rows, cols/32] ue8m0
};

struct WeightMatrix {
    WeightFormat format = WeightFormat::kF32;
    size_t rows = 0;  // output features
    size_t cols = 0;  // input features (logical)
    const uint8_t* data = nullptr;
    const uint8_t* scales = nullptr;  // null for kF32 and kBF16

    size_t row_bytes() const {
        switch (format) {
            case WeightFormat::kF32: return cols * 4;
            case WeightFormat::kBF16: return cols * 2;
            case WeightFormat::kFp8: return cols;
            case WeightFormat::kFp4: return cols / 2;
        }
        return 0;
    }
    size_t scale_row_bytes() const {
        if (format == WeightFormat::kFp8) return (cols + 127) / 128;
        return format == WeightFormat::kFp4 ? cols / 32 : 0;
    }
    const uint8_t* row(size_t r) const { return data + r * row_bytes(); }
    // The scales that apply to row r.
    const uint8_t* scale_row(size_t r) const {
        return scales + (format == WeightFormat::kFp8 ? r / 128 : r) * scale_row_bytes();
    }
    // Stored bytes, scales included.
    size_t bytes() const {
        const size_t scale_rows = format == WeightFormat::kFp8 ? (rows + 127) / 128 : rows;
        return rows * row_bytes() + scale_rows * scale_row_bytes();
    }
};

}  // namespace baleen
