#include "kernels/norm.h"

#include "kernels/elementwise_fixture.h"
#include "quant/quant.h"

namespace baleen {
namespace {

using namespace elementwise_test;

constexpr float kEps = 1e-6f;

double mean_square_f64(std::span<const float> x) {
    double sum = 0;
    for (float v : x) sum += static_cast<double>(v) * v;
    return sum / static_cast<double>(x.size());
}

std::vector<float> run_rms_norm(const Variant& variant, const std::vector<float>& x,
                                const std::vector<float>& weight, Rounding rounding,
                                size_t offset) {
    const TargetScope scope(variant);
    Guarded in(x, offset), w(weight, (offset + 2) % 16);
    Guarded out(std::vector<float>(x.size(), 7.0f), (offset + 4) % 16);
    rms_norm(variant.impl, in.span(), w.span(), kEps, rounding, out.span());
    return out.values();
}

std::vector<float> run_head_norm(const Variant& variant, const std::vector<float>& x, float eps,
                                 Rounding rounding, size_t offset) {
    const TargetScope scope(variant);
    Guarded in_out(x, offset);
    head_norm(variant.impl, in_out.span(), eps, rounding);
    return in_out.values();
}

std::vector<float> rounded_to_bf16(std::vector<float> x) {
    for (float& v : x) v = round_bf16(v);
    return x;
}

// The mean is summed in f64 and rounded once.
TEST(Norm, MeanSquareIsTheNearestF32ToF64) {
    Rng rng(1);
    for (const Variant& variant : all_variants())
        for (size_t n : kLengths)
            for (Fill fill : kFills) {
                const std::vector<float> x = filled(fill, n, rng);
                const double expected = mean_square_f64(x);
                for (size_t offset : kOffsets) {
                    const TargetScope scope(variant);
                    Guarded in(x, offset);
                    ASSERT_NEAR(mean_square(variant.impl, in.span()), expected,
                                expected * (kUnit + 1e-12) + kTiny)
                        << variant.name << " n " << n << " offset " << offset;
                }
            }
}

// Mean, + eps, root, reciprocal (the first two halved by the root) and two products: five roundings
// at most, taken as six; subnormal products add their own.
TEST(Norm, RmsNormIsWithinSixRoundingsOfF64) {
    Rng rng(2);
    for (const Variant& variant : all_variants())
        for (size_t n : kLengths)
            for (Fill fill : kFills) {
                const std::vector<float> x = filled(fill, n, rng);
                const std::vector<float> weight = filled(Fill::kUniform, n, rng);
                const std::vector<float> out = run_rms_norm(variant, x, weight, Rounding::kNone, 0);
                const double rstd = 1.0 / std::sqrt(mean_square_f64(x) + static_cast<double>(kEps));
                for (size_t i = 0; i < n; ++i) {
                    const double expected = weight[i] * (x[i] * rstd);
                    ASSERT_NEAR(out[i], expected, std::abs(expected) * 6 * kUnit + 2 * kTiny)
                        << variant.name << " n " << n << " [" << i << "]";
                }
            }
}

TEST(Norm, AlignmentPlaceAndRoundingDoNotChangeBits) {
    Rng rng(3);
    for (const Variant& variant : all_variants())
        for (size_t n : kLengths)
            for (Fill fill : kFills) {
                const std::vector<float> x = filled(fill, n, rng);
                const std::vector<float> weight = filled(Fill::kUniform, n, rng);
                const std::vector<float> plain =
                    run_rms_norm(variant, x, weight, Rounding::kNone, 0);
                const std::vector<float> head = run_head_norm(variant, x, kEps, Rounding::kBf16, 0);
                for (size_t offset : kOffsets) {
                    ASSERT_TRUE(
                        same(run_rms_norm(variant, x, weight, Rounding::kNone, offset), plain))
                        << variant.name << " n " << n << " offset " << offset;
                    ASSERT_TRUE(same(run_rms_norm(variant, x, weight, Rounding::kBf16, offset),
                                     rounded_to_bf16(plain)))
                        << variant.name << " n " << n << " offset " << offset;
                    ASSERT_TRUE(
                        same(run_head_norm(variant, x, kEps, Rounding::kBf16, offset), head))
                        << variant.name << " n " << n << " offset " << offset;
                }
                const TargetScope scope(variant);
                Guarded in_out(x, 1);
                rms_norm(variant.impl, in_out.span(), weight, kEps, Rounding::kNone, in_out.span());
                ASSERT_TRUE(same(in_out.span(), plain)) << variant.name << " n " << n;
            }
}

// The four roundings of spec 4.1, written out; the sum of bf16 squares is exact in f64.
std::vector<float> head_norm_by_steps(const std::vector<float>& x) {
    double sum = 0;
    for (float v : x) sum += round_bf16(v * v);
    const float mean = round_bf16(static_cast<float>(sum / static_cast<double>(x.size())));
    const float rstd = round_bf16(1.0f / std::sqrt(round_bf16(mean + kEps)));
    std::vector<float> out = x;
    for (float& v : out) v = round_bf16(v * rstd);
    return out;
}

// Also where eps is as large as the mean, so that the rounding of their sum shows.
TEST(Norm, HeadNormFollowsBf16TensorArithmetic) {
    Rng rng(4);
    size_t differ_from_f32 = 0;
    for (const Variant& variant : all_variants())
        for (size_t n : kLengths)
            for (float size : {1.0f, 0x1p-8f, 0x1p-9f, 0x1p-10f}) {
                std::vector<float> x = filled(Fill::kUniform, n, rng);
                for (float& v : x) v = round_bf16(v * size);
                const std::vector<float> out = run_head_norm(variant, x, kEps, Rounding::kBf16, 0);
                ASSERT_TRUE(same(out, head_norm_by_steps(x))) << variant.name << " n " << n;
                const std::vector<float> f32 = run_head_norm(variant, x, kEps, Rounding::kNone, 0);
                differ_from_f32 += same(rounded_to_bf16(f32), out) ? 0u : 1u;
            }
    EXPECT_GT(differ_from_f32, 0u);
}

TEST(Norm, HeadNormInF32IsWithinSixRoundingsOfF64) {
    Rng rng(5);
    for (const Variant& variant : all_variants())
        for (size_t n : kLengths) {
            const std::vector<float> x = filled(Fill::kWide, n, rng);
            const std::vector<float> out = run_head_norm(variant, x, kEps, Rounding::kNone, 1);
            const double rstd = 1.0 / std::sqrt(mean_square_f64(x) + static_cast<double>(kEps));
            for (size_t i = 0; i < n; ++i)
                ASSERT_NEAR(out[i], x[i] * rstd, std::abs(x[i] * rstd) * 6 * kUnit + kTiny)
                    << variant.name << " n " << n;
        }
}

// By hand. Mean 12.5; 1/sqrt(12.5) = 0.282843, in bf16 145/512; 3 * 145/512 = 217.5/256 is a tie.
TEST(Norm, GoldenValues) {
    for (const Variant& variant : all_variants()) {
        const std::vector<float> head = run_head_norm(variant, {3, 4}, 0, Rounding::kBf16, 0);
        EXPECT_EQ(head[0], 218.0f / 256) << variant.name;
        EXPECT_EQ(head[1], 290.0f / 256) << variant.name;
        const std::vector<float> rms = run_rms_norm(variant, {3, -4}, {1, 2}, Rounding::kNone, 0);
        EXPECT_NEAR(rms[0], 0.84852810, 2e-7) << variant.name;
        EXPECT_NEAR(rms[1], -2.2627416, 4e-7) << variant.name;
    }
}

// A NaN reaches every element; a mean beyond f32 is infinite and scales what is finite to 0.
TEST(Norm, SpecialValues) {
    for (const Variant& variant : all_variants())
        for (size_t n : kLengths) {
            const std::vector<float> ones(n, 1.0f);
            std::vector<float> x = ones;
            x[n / 2] = kNaN;
            for (float v : run_rms_norm(variant, x, ones, Rounding::kBf16, 0))
                ASSERT_TRUE(std::isnan(v)) << variant.name << " n " << n;
            for (float v : run_head_norm(variant, x, kEps, Rounding::kBf16, 0))
                ASSERT_TRUE(std::isnan(v)) << variant.name << " n " << n;
            x[n / 2] = kInf;
            std::vector<float> out = run_rms_norm(variant, x, ones, Rounding::kNone, 0);
            for (size_t i = 0; i < n; ++i)
                ASSERT_TRUE(i == n / 2 ? std::isnan(out[i]) : out[i] == 0.0f) << variant.name;
            x.assign(n, kFloatMax);
            for (float v : run_rms_norm(variant, x, ones, Rounding::kNone, 0))
                ASSERT_EQ(v, 0.0f) << variant.name;
        }
}

}  // namespace
}  // namespace baleen
