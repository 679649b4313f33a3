// Number formats of the checkpoints and of the KV cache (spec sections 2.4 and 10): encode and
// decode one value, row or block. Scalar and obvious; the fast versions live in kernels/.
// All encoders round to nearest, ties to even. All functions are pure and thread-safe.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

namespace baleen {

// ---- bf16: the upper half of an f32 ---------------------------------------------------------

using Bf16 = uint16_t;

// NaN stays NaN (quieted); overflow goes to infinity.
constexpr Bf16 bf16_from_f32(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<Bf16>((bits >> 16) | 0x40u);
    return static_cast<Bf16>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

constexpr float f32_from_bf16(Bf16 value) {
    return std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
}

// The nearest bf16 value, as f32.
constexpr float round_bf16(float value) {
    return f32_from_bf16(bf16_from_f32(value));
}

// ---- ue8m0: power-of-two scales -------------------------------------------------------------

inline constexpr uint8_t kUe8m0NaN = 255;
inline constexpr int kUe8m0Bias = 127;

// 2^(code - 127); code 0 is the f32 subnormal 2^-127; 255 is NaN.
float f32_from_ue8m0(uint8_t code);

// ---- e4m3 (e4m3fn): sign, 4 exponent bits (bias 7), 3 mantissa bits --------------------------

inline constexpr float kE4m3Max = 448.0f;

// Decodes all 256 codes; 0x7F and 0xFF are NaN.
float f32_from_e4m3(uint8_t code);

// Saturates at +-448 (infinities too); NaN gives 0x7F with the sign kept.
uint8_t e4m3_from_f32(float value);

// ---- e2m1: sign and 3-bit magnitude code 0, 0.5, 1, 1.5, 2, 3, 4, 6 --------------------------

inline constexpr float kE2m1Max = 6.0f;
inline constexpr std::array<float, 16> kE2m1Values = {0, 0.5f,  1,  1.5f,  2,  3,  4,  6,
                                                      0, -0.5f, -1, -1.5f, -2, -3, -4, -6};

// Saturates at +-6; ties go to the even code (as values: 0.25 -> 0, 0.75 -> 1, 2.5 -> 2, 5 -> 4).
// Zero and everything that rounds to it give code 0, never 8. NaN gives code 7.
uint8_t e2m1_from_f32(float value);

// Packed pairs (spec 2.4): byte j holds column 2j in its LOW nibble and 2j+1 in its HIGH nibble.
constexpr uint8_t e2m1_pack(uint8_t even_column, uint8_t odd_column) {
    return static_cast<uint8_t>(even_column | (odd_column << 4));
}
constexpr uint8_t e2m1_unpack(std::span<const uint8_t> packed, size_t column) {
    return (column % 2 == 0) ? (packed[column / 2] & 15u) : (packed[column / 2] >> 4);
}

// ---- activation quantisation points (spec 10.1) ----------------------------------------------

inline constexpr size_t kFp8ActivationBlock = 128;  // inputs of FP8 and FP4 linears
inline constexpr size_t kFp8KvBlock = 64;           // KV rows, dims before RoPE
inline constexpr size_t kFp4Block = 32;             // indexer queries and keys; expert weights
inline constexpr size_t kFp8WeightBlock = 128;      // FP8 weights: 128 x 128 tiles

// Exponent k of the power-of-two scale 2^k for a block whose largest magnitude is amax:
// ceil(log2(max(amax, 1e-4) * fp32(1/448))), read off the f32 bits of the product: -22 to 120.
// An infinite amax counts as the largest finite f32, a NaN amax as the floor.
int fp8_scale_exponent(float amax);
// The same for FP4: floor 6 * 2^-126, factor fp32(1/6); -126 to 126.
int fp4_scale_exponent(float amax);

// Quantises x in blocks (the last may be short) to e4m3 codes and ue8m0 scales.
// codes has x.size() bytes, scales ceil(x.size() / block).
// NaN keeps its place (a NaN code) and does not count for its block's scale. An infinity saturates
// to +-448 at the largest scale, 2^120, and decodes to the infinity again, as that product
// overflows f32; so do finite values within half a step of the end of the f32 range.
void fp8_encode(std::span<const float> x, size_t block, std::span<uint8_t> codes,
                std::span<uint8_t> scales);
void fp8_decode(std::span<const uint8_t> codes, size_t block, std::span<const uint8_t> scales,
                std::span<float> x);
// x := decode(encode(x)).
void fp8_roundtrip(std::span<float> x, size_t block);

// FP4: packed has x.size() / 2 bytes, scales x.size() / kFp4Block. x.size() % kFp4Block == 0.
// e2m1 has no NaN: one NaN gives its whole block the scale kUe8m0NaN. Infinities as for FP8, with
// +-6 and 2^126.
void fp4_encode(std::span<const float> x, std::span<uint8_t> packed, std::span<uint8_t> scales);
void fp4_decode(std::span<const uint8_t> packed, std::span<const uint8_t> scales,
                std::span<float> x);
void fp4_roundtrip(std::span<float> x);

// ---- Hadamard (spec 6) -----------------------------------------------------------------------

// x := H x * n^-0.5 with the Sylvester matrix H[i][j] = (-1)^popcount(i & j), n = x.size() a power
// of two. f32 butterflies, smallest stride first; rounding to bf16 is the caller's.
void hadamard(std::span<float> x);

}  // namespace baleen
