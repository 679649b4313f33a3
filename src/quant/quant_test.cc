#include "quant/quant.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/rng.h"

namespace baleen {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kF32Max = std::numeric_limits<float>::max();

uint32_t bits_of(float value) {
    return std::bit_cast<uint32_t>(value);
}

std::vector<uint32_t> bits_of(const std::vector<float>& values) {
    std::vector<uint32_t> bits;
    for (const float value : values) bits.push_back(bits_of(value));
    return bits;
}

float next_up(float value) {
    return std::nextafter(value, kInf);
}
float next_down(float value) {
    return std::nextafter(value, -kInf);
}

// Any f32 bit pattern, NaN and infinities included.
float random_bits(Rng& rng) {
    return std::bit_cast<float>(static_cast<uint32_t>(rng.next_u64()));
}

// Sign and mantissa uniform, exponent uniform in [exponent_min, exponent_max).
float random_scaled(Rng& rng, int exponent_min, int exponent_max) {
    const auto range = static_cast<uint64_t>(exponent_max - exponent_min);
    const int exponent = exponent_min + static_cast<int>(rng.next_below(range));
    const double sign = rng.next_below(2) == 0 ? 1.0 : -1.0;
    return static_cast<float>(sign * std::ldexp(1.0 + rng.next_double(), exponent));
}

std::vector<float> random_row(Rng& rng, size_t size, int exponent_min, int exponent_max) {
    std::vector<float> row(size);
    for (float& value : row) value = random_scaled(rng, exponent_min, exponent_max);
    return row;
}

// The definition of the format, independent of the code under test.
double e4m3_definition(int code) {
    const int exponent = (code >> 3) & 15;
    const int mantissa = code & 7;
    const double magnitude =
        exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8.0 + mantissa, exponent - 10);
    return (code & 0x80) != 0 ? -magnitude : magnitude;
}

// Spec 2.4: what an e2m1 nibble means. One implied mantissa bit from exponent field 1 upwards.
double e2m1_definition(int code) {
    const int exponent = (code >> 1) & 3;
    const int mantissa = code & 1;
    const double magnitude =
        exponent == 0 ? 0.5 * mantissa : std::ldexp(1.0 + 0.5 * mantissa, exponent - 1);
    return (code & 8) != 0 ? -magnitude : magnitude;
}

// Round to nearest, ties to the even code, by trying every magnitude code up to code_max.
int nearest_code(double magnitude, int code_max, double (*definition)(int)) {
    int best = 0;
    for (int code = 1; code <= code_max; ++code) {
        const double distance = std::fabs(definition(code) - magnitude);
        const double best_distance = std::fabs(definition(best) - magnitude);
        if (distance < best_distance || (distance == best_distance && code % 2 == 0)) best = code;
    }
    return best;
}

// ---- bf16 -----------------------------------------------------------------------------------

TEST(Bf16, EveryCodeRoundTrips) {
    for (uint32_t code = 0; code < 65536; ++code) {
        const float value = f32_from_bf16(static_cast<Bf16>(code));
        EXPECT_EQ(bits_of(value), code << 16);
        const Bf16 back = bf16_from_f32(value);
        if (std::isnan(value)) {
            EXPECT_EQ(back, code | 0x40u) << "NaN is quieted and keeps sign and payload";
        } else {
            EXPECT_EQ(back, code);
        }
    }
}

TEST(Bf16, RoundsToNearestTiesToEvenBetweenAllNeighbours) {
    // Up to and past the largest finite code, where the next "code" is the infinity.
    for (uint32_t sign : {0u, 0x8000u}) {
        for (uint32_t code = 0; code < 0x7F80u; ++code) {
            const uint32_t low = code | sign;
            const uint32_t even = low + (low & 1u);
            const auto rounded = [&](uint32_t tail) {
                return uint32_t{bf16_from_f32(std::bit_cast<float>((low << 16) | tail))};
            };
            EXPECT_EQ(rounded(0x0001), low);
            EXPECT_EQ(rounded(0x7FFF), low);
            EXPECT_EQ(rounded(0x8000), even);
            EXPECT_EQ(rounded(0x8001), low + 1);
            EXPECT_EQ(rounded(0xFFFF), low + 1);
        }
    }
}

TEST(Bf16, NaNWithOnlyLowPayloadBitsStaysNaN) {
    for (uint32_t payload : {0x00000001u, 0x0000FFFFu, 0x00008000u, 0x007FFFFFu}) {
        for (uint32_t sign : {0u, 0x80000000u}) {
            const float value = std::bit_cast<float>(sign | 0x7F800000u | payload);
            EXPECT_TRUE(std::isnan(round_bf16(value))) << std::hex << payload;
            EXPECT_EQ(std::signbit(round_bf16(value)), sign != 0);
        }
    }
    EXPECT_EQ(round_bf16(kInf), kInf);
    EXPECT_EQ(round_bf16(-kInf), -kInf);
    EXPECT_EQ(round_bf16(kF32Max), kInf);
}

// ---- ue8m0 ----------------------------------------------------------------------------------

TEST(Ue8m0, EveryCodeIsItsPowerOfTwo) {
    for (int code = 0; code < 255; ++code)
        EXPECT_EQ(static_cast<double>(f32_from_ue8m0(static_cast<uint8_t>(code))),
                  std::ldexp(1.0, code - 127))
            << code;
    EXPECT_TRUE(std::isnan(f32_from_ue8m0(255)));
}

// ---- e4m3 -----------------------------------------------------------------------------------

TEST(E4m3, EveryCodeDecodesToItsDefinition) {
    for (int code = 0; code < 256; ++code) {
        const float value = f32_from_e4m3(static_cast<uint8_t>(code));
        EXPECT_EQ(std::signbit(value), code >= 128) << code;
        if ((code & 0x7F) == 0x7F) {
            EXPECT_TRUE(std::isnan(value)) << code;
        } else {
            EXPECT_EQ(static_cast<double>(value), e4m3_definition(code)) << code;
        }
    }
    EXPECT_EQ(f32_from_e4m3(0x01), 0x1p-9f);
    EXPECT_EQ(f32_from_e4m3(0x08), 0x1p-6f);
    EXPECT_EQ(f32_from_e4m3(0x38), 1.0f);
    EXPECT_EQ(f32_from_e4m3(0xFE), -448.0f);
}

TEST(E4m3, EveryCodeRoundTrips) {
    for (int code = 0; code < 256; ++code)
        EXPECT_EQ(e4m3_from_f32(f32_from_e4m3(static_cast<uint8_t>(code))), code);
}

TEST(E4m3, TiesGoToEvenAndTheirNeighboursToTheNearest) {
    for (int low = 0; low < 0x7E; ++low) {
        const auto tie = static_cast<float>((e4m3_definition(low) + e4m3_definition(low + 1)) / 2);
        const int even = low + (low & 1);
        EXPECT_EQ(e4m3_from_f32(tie), even) << tie;
        EXPECT_EQ(e4m3_from_f32(next_down(tie)), low) << tie;
        EXPECT_EQ(e4m3_from_f32(next_up(tie)), low + 1) << tie;
        EXPECT_EQ(e4m3_from_f32(-tie), even | 0x80) << -tie;
        EXPECT_EQ(e4m3_from_f32(-next_down(tie)), low | 0x80) << -tie;
        EXPECT_EQ(e4m3_from_f32(-next_up(tie)), (low + 1) | 0x80) << -tie;
    }
}

TEST(E4m3, SaturatesAndKeepsNaN) {
    for (const float value :
         {448.0f, next_up(448.0f), 464.0f, 465.0f, 480.0f, 1e30f, kF32Max, kInf}) {
        EXPECT_EQ(e4m3_from_f32(value), 0x7E) << value;
        EXPECT_EQ(e4m3_from_f32(-value), 0xFE) << value;
    }
    for (const uint32_t bits : {0x7FC00000u, 0x7F800001u, 0x7FFFFFFFu}) {
        EXPECT_EQ(e4m3_from_f32(std::bit_cast<float>(bits)), 0x7F);
        EXPECT_EQ(e4m3_from_f32(std::bit_cast<float>(bits | 0x80000000u)), 0xFF);
    }
    EXPECT_EQ(e4m3_from_f32(0.0f), 0x00);
    EXPECT_EQ(e4m3_from_f32(-0.0f), 0x80);
    EXPECT_EQ(e4m3_from_f32(std::numeric_limits<float>::denorm_min()), 0x00);
    EXPECT_EQ(e4m3_from_f32(-0x1p-126f), 0x80);
}

TEST(E4m3, GivesTheNearestCode) {
    Rng rng(1);
    for (int i = 0; i < 50000; ++i) {
        // Half over the whole range of the format and just beyond, half over all of f32.
        const float value = i % 2 == 0 ? random_scaled(rng, -13, 10) : random_bits(rng);
        if (std::isnan(value)) continue;
        const int sign = std::signbit(value) ? 0x80 : 0;
        const double magnitude = std::min(std::fabs(static_cast<double>(value)), 448.0);
        EXPECT_EQ(e4m3_from_f32(value), sign | nearest_code(magnitude, 0x7E, e4m3_definition))
            << value;
    }
}

// ---- e2m1 -----------------------------------------------------------------------------------

TEST(E2m1, EveryCodeDecodesToItsDefinitionAndRoundTrips) {
    for (int code = 0; code < 16; ++code) {
        const float value = kE2m1Values[static_cast<size_t>(code)];
        EXPECT_EQ(static_cast<double>(value), e2m1_definition(code)) << code;
        // Code 8 is another spelling of zero: decoded as +0 (spec 2.4), never produced.
        EXPECT_EQ(e2m1_from_f32(value), code == 8 ? 0 : code);
    }
    EXPECT_FALSE(std::signbit(kE2m1Values[8]));
}

TEST(E2m1, TiesGoToEvenAndTheirNeighboursToTheNearest) {
    for (int low = 0; low < 7; ++low) {
        const auto tie = static_cast<float>((e2m1_definition(low) + e2m1_definition(low + 1)) / 2);
        const int even = low + (low & 1);
        const auto negative = [](int code) { return code == 0 ? 0 : code | 8; };
        EXPECT_EQ(e2m1_from_f32(tie), even) << tie;
        EXPECT_EQ(e2m1_from_f32(next_down(tie)), low) << tie;
        EXPECT_EQ(e2m1_from_f32(next_up(tie)), low + 1) << tie;
        EXPECT_EQ(e2m1_from_f32(-tie), negative(even)) << -tie;
        EXPECT_EQ(e2m1_from_f32(-next_down(tie)), negative(low)) << -tie;
        EXPECT_EQ(e2m1_from_f32(-next_up(tie)), negative(low + 1)) << -tie;
    }
}

TEST(E2m1, SpecTiesByValue) {
    const std::vector<std::pair<float, float>> ties = {
        {0.25f, 0}, {0.75f, 1}, {1.25f, 1}, {1.75f, 2}, {2.5f, 2}, {3.5f, 4}, {5, 4}};
    for (const auto& [value, expected] : ties)
        EXPECT_EQ(kE2m1Values[e2m1_from_f32(value)], expected) << value;
}

TEST(E2m1, SaturatesAndNamesItsSpecialCases) {
    for (const float value : {6.0f, next_up(6.0f), 7.0f, 100.0f, kF32Max, kInf}) {
        EXPECT_EQ(e2m1_from_f32(value), 7) << value;
        EXPECT_EQ(e2m1_from_f32(-value), 15) << value;
    }
    EXPECT_EQ(e2m1_from_f32(-0.0f), 0);
    EXPECT_EQ(e2m1_from_f32(-0.1f), 0);
    EXPECT_EQ(e2m1_from_f32(kNaN), 7);
    EXPECT_EQ(e2m1_from_f32(-kNaN), 7);
}

TEST(E2m1, GivesTheNearestCode) {
    Rng rng(2);
    for (int i = 0; i < 50000; ++i) {
        const float value = i % 2 == 0 ? random_scaled(rng, -4, 4) : random_bits(rng);
        if (std::isnan(value)) continue;
        const double magnitude = std::min(std::fabs(static_cast<double>(value)), 6.0);
        const int code = nearest_code(magnitude, 7, e2m1_definition);
        const bool negative = value < 0 && code != 0;
        EXPECT_EQ(e2m1_from_f32(value), negative ? code | 8 : code) << value;
    }
}

// Spec 2.4: byte j holds column 2j in bits 0-3 and column 2j+1 in bits 4-7. Bytes are written here
// by hand, so that packing and unpacking cannot both be wrong the same way.
TEST(E2m1, NibbleOrder) {
    const std::vector<uint8_t> packed = {0x21, 0x43, 0xF8};
    const std::vector<uint8_t> columns = {1, 2, 3, 4, 8, 15};
    for (size_t column = 0; column < columns.size(); ++column)
        EXPECT_EQ(e2m1_unpack(packed, column), columns[column]) << column;
    for (size_t j = 0; j < packed.size(); ++j)
        EXPECT_EQ(e2m1_pack(columns[2 * j], columns[2 * j + 1]), packed[j]) << j;
}

// ---- scale exponents ------------------------------------------------------------------------

TEST(ScaleExponent, GoldenOfSpec) {
    const std::vector<std::pair<float, int>> fp8 = {{448, 0}, {449, 1}, {224, -1}, {100, -2},
                                                    {7, -6},  {1, -8},  {0, -22}};
    for (const auto& [amax, exponent] : fp8) EXPECT_EQ(fp8_scale_exponent(amax), exponent) << amax;
    const std::vector<std::pair<float, int>> fp4 = {{6, 0},     {6.01f, 1}, {3, -1},
                                                    {1.5f, -2}, {1, -2},    {0.75f, -3}};
    for (const auto& [amax, exponent] : fp4) EXPECT_EQ(fp4_scale_exponent(amax), exponent) << amax;
}

TEST(ScaleExponent, FloorsAndCeilings) {
    EXPECT_EQ(fp8_scale_exponent(1e-4f), -22);
    EXPECT_EQ(fp8_scale_exponent(std::numeric_limits<float>::denorm_min()), -22);
    EXPECT_EQ(fp8_scale_exponent(kF32Max), 120);
    EXPECT_EQ(fp8_scale_exponent(kInf), 120);
    EXPECT_EQ(fp8_scale_exponent(kNaN), -22);
    EXPECT_EQ(fp4_scale_exponent(0), -126);
    EXPECT_EQ(fp4_scale_exponent(6 * 0x1p-126f), -126);
    EXPECT_EQ(fp4_scale_exponent(6.01f * 0x1p-126f), -125);
    EXPECT_EQ(fp4_scale_exponent(kF32Max), 126);
    EXPECT_EQ(fp4_scale_exponent(kInf), 126);
    EXPECT_EQ(fp4_scale_exponent(kNaN), -126);
}

// Against ceil(log2()) in double. The f32 product may differ from the exact one by two roundings,
// 2^-23 relative, so inputs that close to a power of two are left to the test below.
TEST(ScaleExponent, IsTheRoundedUpLogarithm) {
    Rng rng(3);
    int num_checked = 0;
    for (int i = 0; i < 20000; ++i) {
        const float amax = std::fabs(random_scaled(rng, -12, 100));
        for (const double format_max : {448.0, 6.0}) {
            const double exact = std::log2(static_cast<double>(amax) / format_max);
            if (std::fabs(exact - std::round(exact)) < 0x1p-22) continue;
            const int exponent =
                format_max == 6.0 ? fp4_scale_exponent(amax) : fp8_scale_exponent(amax);
            EXPECT_EQ(exponent, static_cast<int>(std::ceil(exact))) << amax;
            ++num_checked;
        }
    }
    EXPECT_GT(num_checked, 39000);
}

// At every power of two times the format's maximum the scale is exact, not one too large.
TEST(ScaleExponent, PowersOfTwoTimesTheMaximumAreExact) {
    for (int k = -22; k <= 119; ++k) EXPECT_EQ(fp8_scale_exponent(std::ldexp(448.0f, k)), k) << k;
    for (int k = -126; k <= 125; ++k) EXPECT_EQ(fp4_scale_exponent(std::ldexp(6.0f, k)), k) << k;
}

// ---- FP8 blocks -----------------------------------------------------------------------------

struct Fp8Row {
    std::vector<uint8_t> codes;
    std::vector<uint8_t> scales;
};

Fp8Row encode_fp8(const std::vector<float>& x, size_t block) {
    Fp8Row row{std::vector<uint8_t>(x.size()),
               std::vector<uint8_t>((x.size() + block - 1) / block)};
    fp8_encode(x, block, row.codes, row.scales);
    return row;
}

std::vector<float> decode_fp8(const Fp8Row& row, size_t block) {
    std::vector<float> x(row.codes.size());
    fp8_decode(row.codes, block, row.scales, x);
    return x;
}

TEST(Fp8, KnownBlocks) {
    // Block 4, last block short. Scales: 448 -> 2^0, 100 -> 2^-2, all zero -> 2^-22.
    const std::vector<float> x = {448, -1, 0.5f, -0.0f, 100, 3, -25, 0, 0, 0};
    const Fp8Row row = encode_fp8(x, 4);
    EXPECT_EQ(row.scales, (std::vector<uint8_t>{127, 125, 105}));
    // 100 * 4 = 400 lies between 384 and 416 and ties to the even code, 384; 3 * 4 = 12; 25 * 4 =
    // 100 lies between 96 and 104 and ties to 96.
    EXPECT_EQ(row.codes,
              (std::vector<uint8_t>{0x7E, 0xB8, 0x30, 0x80, 0x7C, 0x54, 0xEC, 0x00, 0x00, 0x00}));
    EXPECT_EQ(bits_of(decode_fp8(row, 4)),
              bits_of(std::vector<float>{448, -1, 0.5f, -0.0f, 96, 3, -24, 0, 0, 0}));
}

// Every element separately against the definition: scale by the block's own amax, nearest code.
TEST(Fp8, RandomRowsFollowTheDefinition) {
    Rng rng(4);
    for (const size_t block : {kFp8KvBlock, kFp8ActivationBlock}) {
        for (const size_t size :
             {size_t{1}, block - 1, block, block + 1, 3 * block, 4 * block + 17}) {
            const std::vector<float> x = random_row(rng, size, -16, 6);
            const Fp8Row row = encode_fp8(x, block);
            for (size_t i = 0; i < size; ++i) {
                const size_t first = i / block * block;
                float amax = 0;
                for (size_t j = first; j < std::min(first + block, size); ++j)
                    amax = std::max(amax, std::fabs(x[j]));
                const int k = fp8_scale_exponent(amax);
                ASSERT_EQ(row.scales[i / block], k + 127);
                const double scaled = std::fabs(std::ldexp(static_cast<double>(x[i]), -k));
                const int sign = std::signbit(x[i]) ? 0x80 : 0;
                ASSERT_EQ(row.codes[i],
                          sign | nearest_code(std::min(scaled, 448.0), 0x7E, e4m3_definition))
                    << x[i];
            }
        }
    }
}

TEST(Fp8, RoundTripIsDecodeOfEncodeAndIdempotent) {
    Rng rng(5);
    for (int i = 0; i < 300; ++i) {
        const size_t block = i % 2 == 0 ? kFp8KvBlock : kFp8ActivationBlock;
        const size_t size = rng.next_below(3 * block);
        const std::vector<float> x = random_row(rng, size, -20, i % 100);
        std::vector<float> once = x;
        fp8_roundtrip(once, block);
        EXPECT_EQ(bits_of(once), bits_of(decode_fp8(encode_fp8(x, block), block)));
        std::vector<float> twice = once;
        fp8_roundtrip(twice, block);
        EXPECT_EQ(bits_of(twice), bits_of(once));
    }
}

TEST(Fp8, NaNKeepsItsPlaceAndLeavesTheRestAlone) {
    const size_t block = kFp8KvBlock;
    Rng rng(6);
    for (const size_t place : {size_t{0}, size_t{31}, size_t{63}, size_t{64}, size_t{99}}) {
        for (const float nan : {kNaN, -kNaN}) {
            std::vector<float> zeroed = random_row(rng, 100, -8, 4);
            zeroed[place] = 0;
            std::vector<float> x = zeroed;
            x[place] = nan;
            const Fp8Row row = encode_fp8(x, block);
            EXPECT_EQ(row.codes[place], std::signbit(nan) ? 0xFF : 0x7F);
            EXPECT_EQ(row.scales, encode_fp8(zeroed, block).scales);
            std::vector<float> decoded = decode_fp8(row, block);
            EXPECT_TRUE(std::isnan(decoded[place])) << place;
            fp8_roundtrip(x, block);
            EXPECT_TRUE(std::isnan(x[place])) << place;
            decoded[place] = x[place] = 0;
            EXPECT_EQ(bits_of(x), bits_of(decoded));
            fp8_roundtrip(zeroed, block);
            EXPECT_EQ(bits_of(x), bits_of(zeroed));
        }
    }
    const Fp8Row only_nan = encode_fp8(std::vector<float>(block, kNaN), block);
    EXPECT_EQ(only_nan.scales, std::vector<uint8_t>{105});
    EXPECT_EQ(only_nan.codes, std::vector<uint8_t>(block, 0x7F));
}

TEST(Fp8, InfinitySaturatesTheCodeAndDecodesToInfinity) {
    std::vector<float> x(kFp8KvBlock, 1.0f);
    x[3] = kInf;
    x[4] = -kInf;
    x[5] = 0x1p120f;
    const Fp8Row row = encode_fp8(x, kFp8KvBlock);
    EXPECT_EQ(row.scales[0], 247);
    EXPECT_EQ(row.codes[3], 0x7E);
    EXPECT_EQ(row.codes[4], 0xFE);
    const std::vector<float> decoded = decode_fp8(row, kFp8KvBlock);
    EXPECT_EQ(decoded[3], kInf);
    EXPECT_EQ(decoded[4], -kInf);
    EXPECT_EQ(decoded[5], 0x1p120f);
    EXPECT_EQ(decoded[0], 0.0f);
}

TEST(Fp8, EndOfTheF32Range) {
    // Scale 2^120, step 2^124 below 2^128: 15.5 steps of 2^124 tie to 2^128, which is infinity.
    const float tie = 15.5f * 0x1p124f;
    std::vector<float> x = {next_down(tie), tie, kF32Max, -kF32Max};
    fp8_roundtrip(x, kFp8KvBlock);
    EXPECT_EQ(x, (std::vector<float>{15 * 0x1p124f, kInf, kInf, -kInf}));
}

TEST(Fp8, NaNScaleDecodesToNaN) {
    const std::vector<float> decoded = decode_fp8({{0x00, 0x38, 0xFE}, {kUe8m0NaN}}, 4);
    for (const float value : decoded) EXPECT_TRUE(std::isnan(value));
}

// ---- FP4 blocks -----------------------------------------------------------------------------

struct Fp4Row {
    std::vector<uint8_t> packed;
    std::vector<uint8_t> scales;
};

Fp4Row encode_fp4(const std::vector<float>& x) {
    Fp4Row row{std::vector<uint8_t>(x.size() / 2), std::vector<uint8_t>(x.size() / kFp4Block)};
    fp4_encode(x, row.packed, row.scales);
    return row;
}

std::vector<float> decode_fp4(const Fp4Row& row) {
    std::vector<float> x(row.packed.size() * 2);
    fp4_decode(row.packed, row.scales, x);
    return x;
}

// A written-out block: a decoder or an encoder with the nibbles swapped, or with a scale taken from
// the wrong block, gives other numbers.
TEST(Fp4, KnownBlocks) {
    std::vector<float> x(2 * kFp4Block, 0.0f);
    x[0] = 6;
    x[1] = -0.5f;
    x[2] = 1.5f;
    x[3] = 4;
    x[kFp4Block - 1] = -6;
    x[kFp4Block] = 0.25f;  // amax 3 in the second block: scale 2^-1
    x[kFp4Block + 1] = -3;
    Fp4Row expected{std::vector<uint8_t>(kFp4Block, 0x00), {127, 126}};
    expected.packed[0] = 0x97;
    expected.packed[1] = 0x63;
    expected.packed[15] = 0xF0;
    expected.packed[16] = 0xF1;
    const Fp4Row row = encode_fp4(x);
    EXPECT_EQ(row.packed, expected.packed);
    EXPECT_EQ(row.scales, expected.scales);
    EXPECT_EQ(decode_fp4(expected), x);
}

TEST(Fp4, RandomRowsFollowTheDefinition) {
    Rng rng(7);
    for (const size_t num_blocks : {1u, 2u, 4u, 9u}) {
        const std::vector<float> x = random_row(rng, num_blocks * kFp4Block, -6, 3);
        const Fp4Row row = encode_fp4(x);
        for (size_t i = 0; i < x.size(); ++i) {
            const size_t first = i / kFp4Block * kFp4Block;
            float amax = 0;
            for (size_t j = first; j < first + kFp4Block; ++j)
                amax = std::max(amax, std::fabs(x[j]));
            const int k = fp4_scale_exponent(amax);
            ASSERT_EQ(row.scales[i / kFp4Block], k + 127);
            const double scaled = std::fabs(std::ldexp(static_cast<double>(x[i]), -k));
            const int code = nearest_code(std::min(scaled, 6.0), 7, e2m1_definition);
            const int nibble = (row.packed[i / 2] >> (i % 2 == 0 ? 0 : 4)) & 15;
            ASSERT_EQ(nibble, x[i] < 0 && code != 0 ? code | 8 : code) << x[i];
        }
    }
}

TEST(Fp4, RoundTripIsDecodeOfEncodeAndIdempotent) {
    Rng rng(8);
    for (int i = 0; i < 300; ++i) {
        const std::vector<float> x =
            random_row(rng, kFp4Block * rng.next_below(6), i - 160, i - 150);
        if (std::ranges::any_of(x, [](float value) { return std::isinf(value); })) continue;
        std::vector<float> once = x;
        fp4_roundtrip(once);
        EXPECT_EQ(bits_of(once), bits_of(decode_fp4(encode_fp4(x))));
        std::vector<float> twice = once;
        fp4_roundtrip(twice);
        EXPECT_EQ(bits_of(twice), bits_of(once));
    }
}

TEST(Fp4, ZeroBlockTakesTheSmallestScale) {
    const Fp4Row row = encode_fp4(std::vector<float>(kFp4Block, -0.0f));
    EXPECT_EQ(row.scales[0], 1);
    EXPECT_EQ(row.packed, std::vector<uint8_t>(kFp4Block / 2, 0));
}

TEST(Fp4, OneNaNMakesItsBlockNaNAndNoOther) {
    Rng rng(9);
    for (const size_t place : {size_t{32}, size_t{47}, size_t{63}}) {
        const std::vector<float> clean = random_row(rng, 3 * kFp4Block, -4, 4);
        std::vector<float> x = clean;
        x[place] = kNaN;
        const Fp4Row row = encode_fp4(x);
        EXPECT_EQ(row.scales[1], kUe8m0NaN);
        std::vector<float> expected = clean;
        fp4_roundtrip(expected);
        const std::vector<float> decoded = decode_fp4(row);
        fp4_roundtrip(x);
        for (size_t i = 0; i < x.size(); ++i) {
            if (i / kFp4Block == 1) {
                EXPECT_TRUE(std::isnan(decoded[i]) && std::isnan(x[i])) << i;
            } else {
                EXPECT_EQ(bits_of(decoded[i]), bits_of(expected[i])) << i;
                EXPECT_EQ(bits_of(x[i]), bits_of(expected[i])) << i;
            }
        }
    }
}

TEST(Fp4, InfinitySaturatesTheCodeAndDecodesToInfinity) {
    std::vector<float> x(kFp4Block, 1.0f);
    x[6] = kInf;
    x[7] = -kInf;
    x[8] = 0x1p126f;
    const Fp4Row row = encode_fp4(x);
    EXPECT_EQ(row.scales[0], 253);
    EXPECT_EQ(row.packed[3], 0xF7);
    const std::vector<float> decoded = decode_fp4(row);
    EXPECT_EQ(decoded[6], kInf);
    EXPECT_EQ(decoded[7], -kInf);
    EXPECT_EQ(decoded[8], 0x1p126f);
    EXPECT_EQ(decoded[0], 0.0f);
}

// Spec 2.4: with S = max(sub-block scale) / 2^6, every fp4 * (s / S) is an e4m3 number as long as
// the sub-block scales of the tile span at most 2^14; one step more and the smallest value is lost.
TEST(Fp4, WidensToE4m3WithoutLossUpToSpan14) {
    const auto is_exact = [](int span) {
        return std::ranges::all_of(kE2m1Values, [span](float value) {
            const float widened = std::ldexp(value, 6 - span);
            return f32_from_e4m3(e4m3_from_f32(widened)) == widened;
        });
    };
    for (int span = 0; span <= 14; ++span) EXPECT_TRUE(is_exact(span)) << span;
    EXPECT_FALSE(is_exact(15));
    EXPECT_FALSE(is_exact(-1)) << "6 * 2^7 = 768 is beyond 448";
}

// ---- Hadamard -------------------------------------------------------------------------------

TEST(Hadamard, IsTheSylvesterMatrix) {
    Rng rng(10);
    for (const size_t n : {1u, 2u, 32u, 64u, 128u}) {
        std::vector<float> x = random_row(rng, n, -3, 3);
        const std::vector<float> input = x;
        hadamard(x);
        for (size_t i = 0; i < n; ++i) {
            double sum = 0;
            double magnitude = 0;
            for (size_t j = 0; j < n; ++j) {
                const double sign = std::popcount(i & j) % 2 == 0 ? 1.0 : -1.0;
                sum += sign * static_cast<double>(input[j]);
                magnitude += std::fabs(static_cast<double>(input[j]));
            }
            const double norm = std::sqrt(static_cast<double>(n));
            // log2(n) additions and two more roundings of at most half an ulp, 2^-24, each.
            const double bound =
                (std::log2(static_cast<double>(n)) + 2) * 0x1p-24 * magnitude / norm;
            EXPECT_LE(std::fabs(static_cast<double>(x[i]) - sum / norm), bound) << n << " " << i;
        }
    }
}

// A unit vector gives one column of the matrix without rounding: signs and order, exactly.
TEST(Hadamard, UnitVectorsGiveColumns) {
    for (const size_t n : {1u, 2u, 32u, 64u, 128u}) {
        const auto magnitude = static_cast<float>(1.0 / std::sqrt(static_cast<double>(n)));
        for (size_t j = 0; j < n; ++j) {
            std::vector<float> x(n, 0.0f);
            x[j] = 1;
            hadamard(x);
            for (size_t i = 0; i < n; ++i)
                EXPECT_EQ(x[i], std::popcount(i & j) % 2 == 0 ? magnitude : -magnitude);
        }
    }
}

TEST(Hadamard, TwiceIsTheIdentity) {
    Rng rng(11);
    for (const size_t n : {1u, 2u, 32u, 64u, 128u}) {
        std::vector<float> x = random_row(rng, n, -3, 3);
        const std::vector<float> input = x;
        hadamard(x);
        if (n > 1) {
            EXPECT_NE(x, input);
        }
        hadamard(x);
        for (size_t i = 0; i < n; ++i) EXPECT_NEAR(x[i], input[i], 1e-4f) << n << " " << i;
    }
}

// ---- contract -------------------------------------------------------------------------------

TEST(QuantDeathTest, WrongSizesAbort) {
    std::vector<float> x(64);
    std::vector<uint8_t> codes(64), scales(1), packed(32);
    EXPECT_DEATH(fp8_encode(x, 0, codes, scales), "CHECK failed");
    EXPECT_DEATH(fp8_encode(x, 32, codes, scales), "scales.size");
    EXPECT_DEATH(fp8_decode(packed, 64, scales, x), "codes.size");
    EXPECT_DEATH(fp4_encode(x, packed, scales), "scales.size");
    EXPECT_DEATH(fp4_decode(codes, scales, x), "packed.size");
    EXPECT_DEATH(fp4_roundtrip(std::span(x).first(40)), "kFp4Block");
    EXPECT_DEATH(hadamard(std::span(x).first(48)), "has_single_bit");
    EXPECT_DEATH(hadamard(std::span(x).first(0)), "has_single_bit");
}

}  // namespace
}  // namespace baleen
