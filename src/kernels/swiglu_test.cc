#include "kernels/swiglu.h"

#include <algorithm>

#include "kernels/elementwise_fixture.h"
#include "quant/quant.h"

namespace baleen {
namespace {

using namespace elementwise_test;

constexpr float kLimit = 10.0f;
constexpr float kWeight = 0.7f;

std::vector<float> run(const Variant& variant, const std::vector<float>& gate,
                       const std::vector<float>& up, Rounding rounding, size_t offset) {
    const TargetScope scope(variant);
    Guarded g(gate, offset), u(up, (offset + 2) % 16);
    Guarded out(std::vector<float>(gate.size(), 7.0f), (offset + 4) % 16);
    swiglu(variant.impl, g.span(), u.span(), kLimit, kWeight, rounding, out.span());
    return out.values();
}

double swiglu_f64(float gate, float up) {
    const double g = std::min(gate, kLimit), u = std::clamp(up, -kLimit, kLimit);
    return kWeight * (g / (1 + std::exp(-g)) * u);
}

// Relative: exp (2 ulp = 4 roundings), 1 +, division, two products: eight roundings. Absolute:
// where exp(-gate) overflows f32 the result is 0 although the truth is up to 89 * 2^-128 * |up *
// weight|; a subnormal silu is 2^-150 off before its products.
double error_bound(double expected, float up) {
    const double factor = std::abs(std::clamp(up, -kLimit, kLimit) * kWeight);
    return std::abs(expected) * 8 * kUnit + factor * 89 * 0x1p-128 + 2 * kTiny;
}

TEST(SwiGlu, IsWithinEightRoundingsOfF64) {
    Rng rng(1);
    for (const Variant& variant : all_variants())
        for (size_t n : kLengths)
            for (Fill fill : kFills) {
                const std::vector<float> gate = filled(fill, n, rng), up = filled(fill, n, rng);
                const std::vector<float> out = run(variant, gate, up, Rounding::kNone, 1);
                for (size_t i = 0; i < n; ++i) {
                    const double expected = swiglu_f64(gate[i], up[i]);
                    ASSERT_NEAR(out[i], expected, error_bound(expected, up[i]))
                        << variant.name << " gate " << gate[i] << " up " << up[i];
                }
            }
}

// Everything between "rounds to 0" and the limit.
TEST(SwiGlu, SweepOfGates) {
    std::vector<float> gate;
    for (float g = -110.0f; g < 12.0f; g += 0.00317f) gate.push_back(g);
    const std::vector<float> up(gate.size(), 1.25f);
    for (const Variant& variant : all_variants()) {
        const std::vector<float> out = run(variant, gate, up, Rounding::kNone, 0);
        for (size_t i = 0; i < gate.size(); ++i) {
            const double expected = swiglu_f64(gate[i], up[i]);
            ASSERT_NEAR(out[i], expected, error_bound(expected, up[i]))
                << variant.name << " gate " << gate[i];
        }
    }
}

TEST(SwiGlu, AlignmentLengthPlaceAndRoundingDoNotChangeBits) {
    Rng rng(2);
    const std::vector<float> gate = filled(Fill::kWide, 515, rng);
    const std::vector<float> up = filled(Fill::kWide, 515, rng);
    for (const Variant& variant : all_variants()) {
        const std::vector<float> whole = run(variant, gate, up, Rounding::kNone, 0);
        for (size_t n : kLengths)
            for (size_t offset : kOffsets) {
                const std::vector<float> g(gate.begin(), gate.begin() + static_cast<long>(n));
                const std::vector<float> u(up.begin(), up.begin() + static_cast<long>(n));
                std::vector<float> expected(whole.begin(), whole.begin() + static_cast<long>(n));
                ASSERT_TRUE(same(run(variant, g, u, Rounding::kNone, offset), expected))
                    << variant.name << " n " << n;
                for (float& v : expected) v = round_bf16(v);
                ASSERT_TRUE(same(run(variant, g, u, Rounding::kBf16, offset), expected))
                    << variant.name << " n " << n;
            }
        const TargetScope scope(variant);
        std::vector<float> over_gate = gate, over_up = up;
        swiglu(variant.impl, over_gate, up, kLimit, kWeight, Rounding::kNone, over_gate);
        swiglu(variant.impl, gate, over_up, kLimit, kWeight, Rounding::kNone, over_up);
        EXPECT_TRUE(same(over_gate, whole)) << variant.name;
        EXPECT_TRUE(same(over_up, whole)) << variant.name;
    }
}

// silu(1) = 0.73105858; the gate is clamped from above only, up on both sides.
TEST(SwiGlu, GoldenValuesAndClamps) {
    for (const Variant& variant : all_variants()) {
        const std::vector<float> out = run(variant, {1, 50, kInf, 1, 1, 1, -20},
                                           {2, 1, 1, 50, -kInf, -50, 1}, Rounding::kNone, 0);
        const double at_limit = 10.0 / (1 + std::exp(-10.0));
        EXPECT_NEAR(out[0], 0.7 * 0.73105858 * 2, 3e-7) << variant.name;
        EXPECT_NEAR(out[1], 0.7 * at_limit, 3e-6) << variant.name;
        EXPECT_EQ(out[2], out[1]) << variant.name;
        EXPECT_NEAR(out[3], 0.7 * 0.73105858 * 10, 3e-6) << variant.name;
        EXPECT_EQ(out[4], -out[3]) << variant.name;
        EXPECT_EQ(out[5], -out[3]) << variant.name;
        EXPECT_NEAR(out[6], 0.7 * -20 * std::exp(-20.0), 1e-13) << variant.name;
    }
}

// NaN stays at its place and nowhere else; a finite gate however low gives -0 (times up's sign).
TEST(SwiGlu, SpecialValues) {
    for (const Variant& variant : all_variants())
        for (size_t n : kLengths)
            for (Rounding rounding : kRoundings) {
                std::vector<float> gate(n, 1.0f), up(n, 1.0f);
                gate[n / 2] = kNaN;
                std::vector<float> out = run(variant, gate, up, rounding, 0);
                for (size_t i = 0; i < n; ++i) ASSERT_EQ(std::isnan(out[i]), i == n / 2);
                gate[n / 2] = 1.0f;
                up[n / 2] = kNaN;
                out = run(variant, gate, up, rounding, 0);
                for (size_t i = 0; i < n; ++i) ASSERT_EQ(std::isnan(out[i]), i == n / 2);
                up[n / 2] = 1.0f;
                for (float low : {-1000.0f, -kFloatMax}) {
                    gate[n / 2] = low;
                    out = run(variant, gate, up, rounding, 0);
                    ASSERT_TRUE(same(out[n / 2], -0.0f)) << variant.name << " " << out[n / 2];
                }
                gate[n / 2] = -kInf;  // infinity over infinity, as in the official code
                ASSERT_TRUE(std::isnan(run(variant, gate, up, rounding, 0)[n / 2]));
            }
}

}  // namespace
}  // namespace baleen
