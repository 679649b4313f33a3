#include "kernels/hyper_connection.h"

#include "kernels/elementwise_fixture.h"
#include "quant/quant.h"

namespace baleen {
namespace {

using namespace elementwise_test;

constexpr size_t kStreamCounts[] = {1, 2, 3, 4, 5, kHcStreamsMax};

struct Split {
    std::vector<float> pre, post, comb;
};

Split split(size_t n, const std::vector<float>& mixes, const std::vector<float>& base,
            const std::vector<float>& scale) {
    Split s = {std::vector<float>(n), std::vector<float>(n), std::vector<float>(n * n)};
    hc_split({.mixes = mixes, .base = base, .scale = scale, .eps = 1e-6f, .sinkhorn_iters = 20},
             s.pre, s.post, s.comb);
    return s;
}

// Spec 3.6.
Split golden_split() {
    std::vector<float> mixes(24), base(24);
    for (size_t i = 0; i < 24; ++i) {
        mixes[i] = static_cast<float>(std::sin(static_cast<double>(i)));
        base[i] = static_cast<float>(0.1 * std::cos(static_cast<double>(i)));
    }
    return split(4, mixes, base, {0.5f, 1.0f, 2.0f});
}

constexpr float kGoldenPre[] = {0.5249802f, 0.6165121f, 0.6018162f, 0.4928917f};
constexpr float kGoldenPost[] = {0.6106078f, 0.5656230f, 0.9085569f, 1.3506532f};
constexpr float kGoldenComb[] = {
    0.5681823f, 0.3223456f, 0.0810291f, 0.0284406f, 0.0096896f, 0.1283918f, 0.6283671f, 0.2335515f,
    0.0929922f, 0.0503003f, 0.1421103f, 0.7145978f, 0.3291348f, 0.4989614f, 0.1484926f, 0.0234091f};
constexpr float kGoldenUpdate[] = {8.289156f, 8.382106f, 11.443633f, 16.239504f};

TEST(HyperConnection, SplitGolden) {
    const Split s = golden_split();
    for (size_t j = 0; j < 4; ++j) {
        EXPECT_NEAR(s.pre[j], kGoldenPre[j], 3e-7) << j;
        EXPECT_NEAR(s.post[j], kGoldenPost[j], 3e-7) << j;
    }
    for (size_t i = 0; i < 16; ++i) EXPECT_NEAR(s.comb[i], kGoldenComb[i], 3e-7) << i;
}

// Every lane of a wide row must give the golden scalar; swapped axes of comb would not.
TEST(HyperConnection, UpdateGolden) {
    const Split s = golden_split();
    constexpr size_t kWidth = 37;
    for (const Variant& variant : all_variants()) {
        const TargetScope scope(variant);
        const std::vector<float> y(kWidth, 10.0f);
        std::vector<float> streams;
        for (size_t j = 0; j < 4; ++j) streams.insert(streams.end(), kWidth, 1.0f + float(j));
        hc_update(variant.impl, y, s.post, s.comb, Rounding::kNone, streams);
        for (size_t i = 0; i < 4 * kWidth; ++i)
            ASSERT_NEAR(streams[i], kGoldenUpdate[i / kWidth], 4e-6) << variant.name << " " << i;
    }
}

// The last step normalises columns; twenty rounds leave the rows within a thousandth, whatever the
// logits' size (the softmax must not overflow).
TEST(HyperConnection, SinkhornIsDoublyStochastic) {
    Rng rng(1);
    for (size_t n : kStreamCounts)
        for (float size : {0.0f, 1.0f, 3.0f}) {
            std::vector<float> mixes = filled(Fill::kUniform, n * (n + 2), rng);
            const std::vector<float> base(mixes.size(), 0.0f);
            const Split s = split(n, mixes, base, {1, 1, size});
            for (size_t k = 0; k < n; ++k) {
                float column = 0, row = 0;
                for (size_t j = 0; j < n; ++j) {
                    column += s.comb[j * n + k];
                    row += s.comb[k * n + j];
                }
                EXPECT_NEAR(column, 1, 1e-5) << n;
                EXPECT_NEAR(row, 1, 1e-3) << n;
            }
        }
    const Split extreme = split(4, std::vector<float>(24, 1.0f), filled(Fill::kUniform, 24, rng),
                                {1e4f, -1e4f, 1e30f});
    for (float v : extreme.comb) EXPECT_TRUE(v >= 0 && v <= 1.001f) << v;
}

TEST(HyperConnection, HeadWeightsAreSigmoidPlusEps) {
    const std::vector<float> mixes = {-200, -1, 0, 3}, base = {0, 0.5f, 0, -1};
    std::vector<float> w(4);
    hc_head_weights(mixes, base, 2.0f, 1e-6f, w);
    for (size_t j = 0; j < 4; ++j) {
        const double z = 2.0 * mixes[j] + base[j];
        EXPECT_NEAR(w[j], 1 / (1 + std::exp(-z)) + 1e-6, 2e-7) << j;
    }
}

struct Problem {
    size_t n, width;
    std::vector<float> streams, y, pre, post, comb;
};

Problem random_problem(size_t n, size_t width, Fill fill, Rng& rng) {
    return {n,
            width,
            filled(fill, n * width, rng),
            filled(fill, width, rng),
            filled(Fill::kUniform, n, rng),
            filled(Fill::kUniform, n, rng),
            filled(Fill::kUniform, n * n, rng)};
}

std::vector<float> run_collapse(const Variant& variant, const Problem& p, Rounding rounding,
                                size_t offset) {
    const TargetScope scope(variant);
    Guarded streams(p.streams, offset), u(std::vector<float>(p.width, 7.0f), (offset + 2) % 16);
    hc_collapse(variant.impl, streams.span(), p.pre, rounding, u.span());
    return u.values();
}

std::vector<float> run_update(const Variant& variant, const Problem& p, Rounding rounding,
                              size_t offset) {
    const TargetScope scope(variant);
    Guarded streams(p.streams, offset), y(p.y, (offset + 2) % 16);
    hc_update(variant.impl, y.span(), p.post, p.comb, rounding, streams.span());
    return streams.values();
}

// A sum of m products, each rounded, in any order: m roundings of the sum of magnitudes.
void expect_near_f64(const Variant& variant, const Problem& p) {
    const std::vector<float> u = run_collapse(variant, p, Rounding::kNone, 0);
    const std::vector<float> out = run_update(variant, p, Rounding::kNone, 0);
    for (size_t d = 0; d < p.width; ++d) {
        const auto stream = [&](size_t j) { return double{p.streams[j * p.width + d]}; };
        double sum = 0, magnitude = 0;
        for (size_t j = 0; j < p.n; ++j) {
            sum += p.pre[j] * stream(j);
            magnitude += std::abs(p.pre[j] * stream(j));
        }
        const double m = static_cast<double>(p.n) + 1;
        ASSERT_NEAR(u[d], sum, m * (kUnit * magnitude + kTiny)) << variant.name;
        for (size_t k = 0; k < p.n; ++k) {
            double mixed = double{p.post[k]} * p.y[d];
            magnitude = std::abs(mixed);
            for (size_t j = 0; j < p.n; ++j) {
                mixed += p.comb[j * p.n + k] * stream(j);
                magnitude += std::abs(p.comb[j * p.n + k] * stream(j));
            }
            ASSERT_NEAR(out[k * p.width + d], mixed, (m + 1) * (kUnit * magnitude + kTiny))
                << variant.name << " n " << p.n << " width " << p.width << " k " << k;
        }
    }
}

TEST(HyperConnection, CollapseAndUpdateAreWithinSummationErrorOfF64) {
    Rng rng(2);
    for (const Variant& variant : all_variants())
        for (size_t n : kStreamCounts)
            for (size_t width : kLengths)
                for (Fill fill : kFills)
                    expect_near_f64(variant, random_problem(n, width, fill, rng));
}

// Same order and no fused products: the reference's bits on every target, at every alignment, with
// infinities and NaN at their places.
TEST(HyperConnection, EveryVariantGivesTheReferencesBits) {
    Rng rng(3);
    const Variant ref = {"ref", Impl::kRef};
    for (size_t n : kStreamCounts)
        for (size_t width : kLengths)
            for (Fill fill : kFills) {
                Problem p = random_problem(n, width, fill, rng);
                if (fill == Fill::kWide) {
                    p.streams[rng.next_below(n * width)] = kNaN;
                    p.streams[rng.next_below(n * width)] = kInf;
                    p.y[rng.next_below(width)] = kFloatMax;
                }
                for (Rounding rounding : kRoundings) {
                    const std::vector<float> u = run_collapse(ref, p, rounding, 0);
                    const std::vector<float> out = run_update(ref, p, rounding, 0);
                    for (const Variant& variant : all_variants())
                        for (size_t offset : kOffsets) {
                            ASSERT_TRUE(same(run_collapse(variant, p, rounding, offset), u))
                                << variant.name << " n " << n << " width " << width;
                            ASSERT_TRUE(same(run_update(variant, p, rounding, offset), out))
                                << variant.name << " n " << n << " width " << width;
                        }
                }
            }
}

TEST(HyperConnection, RoundingIsToNearestBf16) {
    Rng rng(4);
    for (const Variant& variant : all_variants()) {
        const Problem p = random_problem(4, 129, Fill::kUniform, rng);
        std::vector<float> u = run_collapse(variant, p, Rounding::kNone, 0);
        std::vector<float> out = run_update(variant, p, Rounding::kNone, 0);
        for (float& v : u) v = round_bf16(v);
        for (float& v : out) v = round_bf16(v);
        EXPECT_TRUE(same(run_collapse(variant, p, Rounding::kBf16, 0), u)) << variant.name;
        EXPECT_TRUE(same(run_update(variant, p, Rounding::kBf16, 0), out)) << variant.name;
    }
}

}  // namespace
}  // namespace baleen
