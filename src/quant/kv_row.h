// The two kinds of KV rows, encoded (spec 10.4, docs/formats.md): attention rows (one vector that
// is key and value of every head) and indexer keys. kPacked is what the model was trained for;
// kF32 keeps every value and serves --numerics exact.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace baleen {

enum class KvEncoding : uint8_t { kPacked, kF32 };

constexpr size_t round_up(size_t n, size_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

// kPacked: nope_dim e4m3 codes | rope_dim bf16 | one ue8m0 scale per 64 codes, zero-padded to a
// multiple of 8 bytes: 448 + 128 + 7 -> 584. kF32: nope_dim + rope_dim f32.
struct KvRowFormat {
    KvEncoding encoding = KvEncoding::kPacked;
    size_t nope_dim = 0;
    size_t rope_dim = 0;

    size_t dim() const { return nope_dim + rope_dim; }
    size_t scales_offset() const { return nope_dim + 2 * rope_dim; }
    size_t num_scales() const { return (nope_dim + 63) / 64; }
    size_t row_bytes() const {
        return encoding == KvEncoding::kF32 ? dim() * 4
                                            : round_up(scales_offset() + num_scales(), 8);
    }
    void encode(std::span<const float> row, uint8_t* out) const;  // row [dim()]
    void decode(const uint8_t* in, std::span<float> row) const;
};

// Indexer keys. kPacked: planar within a block of keys: all packed e2m1 values (dim/2 bytes a
// key), then all ue8m0 scales (dim/32 a key), so that a scan streams two arrays. kF32: dim f32 a
// key and no scales.
struct IndexKeyFormat {
    KvEncoding encoding = KvEncoding::kPacked;
    size_t dim = 0;

    size_t value_bytes() const { return encoding == KvEncoding::kF32 ? dim * 4 : dim / 2; }
    size_t scale_bytes() const { return encoding == KvEncoding::kF32 ? 0 : dim / 32; }
    size_t key_bytes() const { return value_bytes() + scale_bytes(); }
    // key [dim]; values and scales point at this key's own bytes.
    void encode(std::span<const float> key, uint8_t* values, uint8_t* scales) const;
};

}  // namespace baleen
