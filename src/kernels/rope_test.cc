#include "kernels/rope.h"

#include <numbers>

#include "kernels/elementwise_fixture.h"
#include "quant/quant.h"

namespace baleen {
namespace {

using namespace elementwise_test;

constexpr YarnArgs kYarn = {
    .factor = 16, .original_context = 65536, .beta_fast = 32, .beta_slow = 1};

struct Golden {
    size_t i;
    double plain_10k, plain_160k, yarn_160k;
};

// Spec 4.3.
constexpr Golden kGolden[] = {
    {0, 1.0, 1.0, 1.0},
    {1, 7.49894202e-01, 6.87656045e-01, 6.87656045e-01},
    {15, 1.33352149e-02, 3.63553851e-03, 3.63553851e-03},
    {16, 1.0e-02, 2.5e-03, 2.26562493e-03},
    {20, 3.16227786e-03, 5.59017004e-04, 2.96977785e-04},
    {24, 1.0e-03, 1.25e-04, 1.95312532e-05},
    {25, 7.49894185e-04, 8.59569991e-05, 5.37231244e-06},
    {31, 1.33352150e-04, 9.08884704e-06, 5.68052940e-07},
};

TEST(Rope, GoldenFrequencies) {
    const std::vector<float> plain_10k = rope_frequencies(64, 10000, nullptr);
    const std::vector<float> plain_160k = rope_frequencies(64, 160000, nullptr);
    const std::vector<float> yarn_160k = rope_frequencies(64, 160000, &kYarn);
    ASSERT_EQ(plain_10k.size(), 32u);
    for (const Golden& g : kGolden) {  // to 1 ulp
        EXPECT_NEAR(plain_10k[g.i], g.plain_10k, g.plain_10k * 2 * kUnit) << g.i;
        EXPECT_NEAR(plain_160k[g.i], g.plain_160k, g.plain_160k * 2 * kUnit) << g.i;
        EXPECT_NEAR(yarn_160k[g.i], g.yarn_160k, g.yarn_160k * 2 * kUnit) << g.i;
    }
}

// Both ramp ends at dimension 0: the divisor is 0.001, not 0.
TEST(Rope, YarnRampOfNoWidth) {
    const YarnArgs yarn = {.factor = 4,
                           .original_context = 32 * 2 * std::numbers::pi,
                           .beta_fast = 32,
                           .beta_slow = 32};
    const std::vector<float> plain = rope_frequencies(64, 10000, nullptr);
    const std::vector<float> scaled = rope_frequencies(64, 10000, &yarn);
    EXPECT_EQ(scaled[0], plain[0]);
    for (size_t i = 1; i < plain.size(); ++i) EXPECT_EQ(scaled[i], plain[i] / 4) << i;
}

// Spec 4.3: cos and sin of the rounded f32 product. At a million an f64 product is a different
// angle.
TEST(Rope, AnglesAreF32ProductsAtOneMillion) {
    for (const YarnArgs* yarn : {static_cast<const YarnArgs*>(nullptr), &kYarn}) {
        const std::vector<float> frequencies = rope_frequencies(64, 160000, yarn);
        std::vector<float> cos_sin(64);
        double largest_difference = 0;
        for (int64_t position : {int64_t{1}, int64_t{127}, int64_t{65'535}, int64_t{1'000'000}}) {
            rope_angles(frequencies, position, cos_sin);
            for (size_t i = 0; i < 32; ++i) {
                const volatile float angle = static_cast<float>(position) * frequencies[i];
                ASSERT_EQ(cos_sin[2 * i], static_cast<float>(std::cos(double{angle}))) << i;
                ASSERT_EQ(cos_sin[2 * i + 1], static_cast<float>(std::sin(double{angle}))) << i;
                const double wide = static_cast<double>(position) * double{frequencies[i]};
                largest_difference =
                    std::max(largest_difference, std::abs(std::cos(wide) - cos_sin[2 * i]));
            }
        }
        EXPECT_GT(largest_difference, 0.005);
    }
}

TEST(Rope, PositionZeroIsTheIdentity) {
    std::vector<float> cos_sin(64);
    rope_angles(rope_frequencies(64, 10000, nullptr), 0, cos_sin);
    Rng rng(1);
    const std::vector<float> x = filled(Fill::kWide, 64, rng);
    std::vector<float> turned = x;
    rope_rotate(cos_sin, RopeDirection::kForward, Rounding::kNone, turned);
    for (size_t i = 0; i < 64; ++i) EXPECT_EQ(turned[i], x[i]) << i;
}

// A quarter turn of one pair; its neighbours are (2i, 2i + 1), never i and i + 32.
TEST(Rope, PairsAreInterleaved) {
    for (size_t pair = 0; pair < 32; ++pair) {
        std::vector<float> cos_sin(64, 0.0f), x(64);
        for (size_t i = 0; i < 32; ++i) cos_sin[2 * i] = 1;
        cos_sin[2 * pair] = 0;
        cos_sin[2 * pair + 1] = 1;
        for (size_t i = 0; i < 64; ++i) x[i] = static_cast<float>(i + 1);
        std::vector<float> expected = x;
        expected[2 * pair] = -x[2 * pair + 1];
        expected[2 * pair + 1] = x[2 * pair];
        std::vector<float> forward = x, inverse = expected;
        rope_rotate(cos_sin, RopeDirection::kForward, Rounding::kNone, forward);
        rope_rotate(cos_sin, RopeDirection::kInverse, Rounding::kNone, inverse);
        EXPECT_EQ(forward, expected) << pair;
        EXPECT_EQ(inverse, x) << pair;
    }
}

// Each rotation is within 2 roundings of the pair's length per product and sum, and cos, sin are
// themselves rounded.
TEST(Rope, InverseUndoesForward) {
    Rng rng(2);
    const std::vector<float> frequencies = rope_frequencies(64, 160000, &kYarn);
    std::vector<float> cos_sin(64);
    for (int64_t position : {1, 127, 4096, 1'000'000})
        for (Fill fill : kFills) {
            rope_angles(frequencies, position, cos_sin);
            const std::vector<float> x = filled(fill, 64, rng);
            std::vector<float> turned = x;
            rope_rotate(cos_sin, RopeDirection::kForward, Rounding::kNone, turned);
            EXPECT_EQ(turned == x, fill == Fill::kZeros);
            rope_rotate(cos_sin, RopeDirection::kInverse, Rounding::kNone, turned);
            for (size_t i = 0; i < 64; ++i) {
                const double length = std::hypot(double{x[i & ~1u]}, double{x[i | 1u]});
                ASSERT_NEAR(turned[i], x[i], 8 * (kUnit * length + kTiny)) << position << " " << i;
            }
        }
}

TEST(Rope, RotationIsWithinRoundingOfF64AndRoundsToBf16) {
    Rng rng(3);
    std::vector<float> cos_sin(64);
    rope_angles(rope_frequencies(64, 10000, nullptr), 12345, cos_sin);
    const std::vector<float> x = filled(Fill::kUniform, 64, rng);
    std::vector<float> f32 = x, bf16 = x;
    rope_rotate(cos_sin, RopeDirection::kForward, Rounding::kNone, f32);
    rope_rotate(cos_sin, RopeDirection::kForward, Rounding::kBf16, bf16);
    for (size_t i = 0; i < 64; i += 2) {
        const double c = cos_sin[i], s = cos_sin[i + 1];
        const double re = x[i] * c - x[i + 1] * s, im = x[i] * s + x[i + 1] * c;
        const double length = std::hypot(double{x[i]}, double{x[i + 1]});
        EXPECT_NEAR(f32[i], re, 3 * kUnit * length) << i;
        EXPECT_NEAR(f32[i + 1], im, 3 * kUnit * length) << i;
    }
    for (size_t i = 0; i < 64; ++i) EXPECT_TRUE(same(bf16[i], round_bf16(f32[i]))) << i;
}

// A NaN spoils its pair only.
TEST(Rope, NaNStaysInItsPair) {
    std::vector<float> cos_sin(64), x(64, 1.0f);
    rope_angles(rope_frequencies(64, 10000, nullptr), 7, cos_sin);
    x[5] = kNaN;
    rope_rotate(cos_sin, RopeDirection::kForward, Rounding::kBf16, x);
    for (size_t i = 0; i < 64; ++i) EXPECT_EQ(std::isnan(x[i]), i == 4 || i == 5) << i;
}

}  // namespace
}  // namespace baleen
