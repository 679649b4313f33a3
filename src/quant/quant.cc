#include "quant/quant.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace baleen {
namespace {

constexpr uint32_t kF32MantissaBits = 23;
constexpr uint32_t kF32MantissaMask = (1u << kF32MantissaBits) - 1;
constexpr uint32_t kF32MagnitudeMask = 0x7FFFFFFFu;
constexpr uint32_t kF32InfinityBits = 0x7F800000u;

constexpr uint32_t kE4m3MantissaBits = 3;
constexpr uint32_t kE4m3DroppedBits = kF32MantissaBits - kE4m3MantissaBits;
// Difference of the exponent biases, 127 - 7: f32 exponent field of an e4m3 exponent field.
constexpr uint32_t kE4m3Rebias = 120;

constexpr float e4m3_value(uint8_t code) {
    const uint32_t sign = (code & 0x80u) << 24;
    const uint32_t magnitude = code & 0x7Fu;
    if (magnitude == 0x7Fu) return std::bit_cast<float>(sign | 0x7FC00000u);
    if (magnitude < 8) {  // subnormal: magnitude * 2^-9
        const float value = static_cast<float>(magnitude) * 0x1p-9f;
        return sign == 0 ? value : -value;
    }
    return std::bit_cast<float>(
        sign | ((magnitude << kE4m3DroppedBits) + (kE4m3Rebias << kF32MantissaBits)));
}

constexpr std::array<float, 256> kE4m3Values = [] {
    std::array<float, 256> values{};
    for (size_t code = 0; code < values.size(); ++code)
        values[code] = e4m3_value(static_cast<uint8_t>(code));
    return values;
}();

// ceil(log2(max(amax, floor) * inverse_max)) from the bits of the f32 product. fmax drops a NaN
// amax; fmin keeps an infinite one from making the scale itself infinite. The floors keep the
// product normal, so that its exponent field can be read as it stands.
int scale_exponent(float amax, float floor, float inverse_max) {
    const float bounded = std::fmin(std::fmax(amax, floor), std::numeric_limits<float>::max());
    const uint32_t bits = std::bit_cast<uint32_t>(bounded * inverse_max);
    const int exponent = static_cast<int>(bits >> kF32MantissaBits) - kUe8m0Bias;
    return exponent + ((bits & kF32MantissaMask) != 0 ? 1 : 0);
}

// Largest magnitude, NaN not counted.
float max_magnitude(std::span<const float> block) {
    float amax = 0;
    for (const float value : block) amax = std::fabs(value) > amax ? std::fabs(value) : amax;
    return amax;
}

uint8_t ue8m0_from_exponent(int exponent) {
    return static_cast<uint8_t>(exponent + kUe8m0Bias);
}

// 1 / scale, exact: encoders produce codes 1 to 253, whose mirror 2^(127 - code) is a normal f32.
// The NaN code is its own mirror.
float inverse_scale(uint8_t code) {
    return f32_from_ue8m0(static_cast<uint8_t>(2 * kUe8m0Bias - code));
}

uint8_t fp8_block_scale(std::span<const float> block) {
    return ue8m0_from_exponent(fp8_scale_exponent(max_magnitude(block)));
}

// e2m1 has no NaN, so a NaN anywhere makes the scale NaN, and with it the whole block.
uint8_t fp4_block_scale(std::span<const float> block) {
    if (std::ranges::any_of(block, [](float value) { return std::isnan(value); })) return kUe8m0NaN;
    return ue8m0_from_exponent(fp4_scale_exponent(max_magnitude(block)));
}

size_t num_blocks(size_t size, size_t block) {
    return (size + block - 1) / block;
}

// Block `index` of x; the last one may be short.
template <typename T>
std::span<T> nth_block(std::span<T> x, size_t block, size_t index) {
    return x.subspan(index * block, std::min(block, x.size() - index * block));
}

}  // namespace

float f32_from_ue8m0(uint8_t code) {
    if (code == kUe8m0NaN) return std::numeric_limits<float>::quiet_NaN();
    if (code == 0) return 0x1p-127f;
    return std::bit_cast<float>(static_cast<uint32_t>(code) << kF32MantissaBits);
}

float f32_from_e4m3(uint8_t code) {
    return kE4m3Values[code];
}

uint8_t e4m3_from_f32(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint32_t sign = (bits >> 24) & 0x80u;
    const uint32_t magnitude = bits & kF32MagnitudeMask;
    if (magnitude > kF32InfinityBits) return static_cast<uint8_t>(sign | 0x7Fu);
    if (magnitude >= std::bit_cast<uint32_t>(kE4m3Max)) return static_cast<uint8_t>(sign | 0x7Eu);
    if (magnitude < std::bit_cast<uint32_t>(0x1p-6f)) {
        // Subnormal result. In [2^14, 2^15) one f32 step is 2^-9, the e4m3 subnormal step, so the
        // addition rounds to it (ties to even) and leaves the code in the low mantissa bits.
        const float shifted = std::bit_cast<float>(magnitude) + 0x1p14f;
        return static_cast<uint8_t>(sign | (std::bit_cast<uint32_t>(shifted) & 0xFu));
    }
    // Add just under half a step, and the missing unit if the kept part is odd. A carry out of the
    // mantissa moves on to the exponent, which is the next code as well.
    const uint32_t odd = (magnitude >> kE4m3DroppedBits) & 1u;
    const uint32_t half = (1u << (kE4m3DroppedBits - 1)) - 1u;
    const uint32_t rounded = (magnitude + half + odd) >> kE4m3DroppedBits;
    return static_cast<uint8_t>(sign | (rounded - (kE4m3Rebias << kE4m3MantissaBits)));
}

uint8_t e2m1_from_f32(float value) {
    if (std::isnan(value)) return 7;
    const float magnitude = std::fabs(value);
    // Midpoints between neighbours; `>=` where the upper neighbour has the even code.
    const int code = (magnitude > 0.25f) + (magnitude >= 0.75f) + (magnitude > 1.25f) +
                     (magnitude >= 1.75f) + (magnitude > 2.5f) + (magnitude >= 3.5f) +
                     (magnitude > 5.0f);
    const bool negative = value < 0 && code != 0;
    return static_cast<uint8_t>(negative ? code | 8 : code);
}

int fp8_scale_exponent(float amax) {
    return scale_exponent(amax, 1e-4f, 1.0f / kE4m3Max);
}

int fp4_scale_exponent(float amax) {
    return scale_exponent(amax, kE2m1Max * 0x1p-126f, 1.0f / kE2m1Max);
}

void fp8_encode(std::span<const float> x, size_t block, std::span<uint8_t> codes,
                std::span<uint8_t> scales) {
    CHECK_GT(block, 0u);
    CHECK_EQ(codes.size(), x.size());
    CHECK_EQ(scales.size(), num_blocks(x.size(), block));
    for (size_t b = 0; b < scales.size(); ++b) {
        const std::span<const float> values = nth_block(x, block, b);
        const std::span<uint8_t> out = nth_block(codes, block, b);
        scales[b] = fp8_block_scale(values);
        const float inverse = inverse_scale(scales[b]);
        for (size_t i = 0; i < values.size(); ++i) out[i] = e4m3_from_f32(values[i] * inverse);
    }
}

void fp8_decode(std::span<const uint8_t> codes, size_t block, std::span<const uint8_t> scales,
                std::span<float> x) {
    CHECK_GT(block, 0u);
    CHECK_EQ(codes.size(), x.size());
    CHECK_EQ(scales.size(), num_blocks(x.size(), block));
    for (size_t b = 0; b < scales.size(); ++b) {
        const std::span<const uint8_t> in = nth_block(codes, block, b);
        const std::span<float> values = nth_block(x, block, b);
        const float scale = f32_from_ue8m0(scales[b]);
        for (size_t i = 0; i < in.size(); ++i) values[i] = f32_from_e4m3(in[i]) * scale;
    }
}

void fp8_roundtrip(std::span<float> x, size_t block) {
    CHECK_GT(block, 0u);
    for (size_t b = 0; b < num_blocks(x.size(), block); ++b) {
        const std::span<float> values = nth_block(x, block, b);
        const uint8_t code = fp8_block_scale(values);
        const float scale = f32_from_ue8m0(code);
        const float inverse = inverse_scale(code);
        for (float& value : values) value = f32_from_e4m3(e4m3_from_f32(value * inverse)) * scale;
    }
}

void fp4_encode(std::span<const float> x, std::span<uint8_t> packed, std::span<uint8_t> scales) {
    CHECK_EQ(x.size() % kFp4Block, 0u);
    CHECK_EQ(packed.size(), x.size() / 2);
    CHECK_EQ(scales.size(), x.size() / kFp4Block);
    for (size_t b = 0; b < scales.size(); ++b) {
        const std::span<const float> values = nth_block(x, kFp4Block, b);
        const std::span<uint8_t> out = nth_block(packed, kFp4Block / 2, b);
        scales[b] = fp4_block_scale(values);
        const float inverse = inverse_scale(scales[b]);
        for (size_t j = 0; j < out.size(); ++j)
            out[j] = e2m1_pack(e2m1_from_f32(values[2 * j] * inverse),
                               e2m1_from_f32(values[2 * j + 1] * inverse));
    }
}

void fp4_decode(std::span<const uint8_t> packed, std::span<const uint8_t> scales,
                std::span<float> x) {
    CHECK_EQ(x.size() % kFp4Block, 0u);
    CHECK_EQ(packed.size(), x.size() / 2);
    CHECK_EQ(scales.size(), x.size() / kFp4Block);
    for (size_t b = 0; b < scales.size(); ++b) {
        const std::span<const uint8_t> in = nth_block(packed, kFp4Block / 2, b);
        const std::span<float> values = nth_block(x, kFp4Block, b);
        const float scale = f32_from_ue8m0(scales[b]);
        for (size_t column = 0; column < values.size(); ++column)
            values[column] = kE2m1Values[e2m1_unpack(in, column)] * scale;
    }
}

void fp4_roundtrip(std::span<float> x) {
    CHECK_EQ(x.size() % kFp4Block, 0u);
    for (size_t b = 0; b < x.size() / kFp4Block; ++b) {
        const std::span<float> values = nth_block(x, kFp4Block, b);
        const uint8_t code = fp4_block_scale(values);
        const float scale = f32_from_ue8m0(code);
        const float inverse = inverse_scale(code);
        for (float& value : values) value = kE2m1Values[e2m1_from_f32(value * inverse)] * scale;
    }
}

void hadamard(std::span<float> x) {
    CHECK(std::has_single_bit(x.size()));
    for (size_t stride = 1; stride < x.size(); stride *= 2) {
        for (size_t start = 0; start < x.size(); start += 2 * stride) {
            for (size_t i = start; i < start + stride; ++i) {
                const float low = x[i];
                const float high = x[i + stride];
                x[i] = low + high;
                x[i + stride] = low - high;
            }
        }
    }
    const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(x.size())));
    for (float& value : x) value *= scale;
}

}  // namespace baleen
