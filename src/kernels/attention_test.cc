#include "kernels/attention.h"

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/cpu_features.h"
#include "quant/quant.h"

namespace baleen {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// One implementation, and for Highway one of its targets.
struct Variant {
    std::string name;
    Impl impl;
    int64_t target = 0;
};

std::vector<Variant> all_variants() {
    std::vector<Variant> variants = {{"ref", Impl::kRef}};
    for (int64_t target : hwy::SupportedAndGeneratedTargets())
        variants.push_back({std::string("simd ") + hwy::TargetName(target), Impl::kSimd, target});
    if (cpu_has_avx512_bf16_vnni_vbmi()) variants.push_back({"avx512", Impl::kAvx512});
    return variants;
}

void run(const Variant& variant, const AttentionArgs& args, AttentionScratch& scratch) {
    if (variant.target != 0) hwy::SetSupportedTargetsForTest(variant.target);
    attend(variant.impl, args, scratch);
    if (variant.target != 0) hwy::SetSupportedTargetsForTest(0);
}

float uniform(Rng& rng) {
    return static_cast<float>(rng.next_double() * 2 - 1);
}

// Encoded rows (8-byte aligned, not more), queries exact in bf16, sinks.
struct Problem {
    KvRowFormat format;
    size_t num_heads = 0;
    std::vector<uint64_t> storage;
    std::vector<const uint8_t*> rows;
    std::vector<float> q;     // [num_heads, dim]
    std::vector<float> sink;  // [num_heads]

    size_t dim() const { return format.dim(); }
    float scale() const { return 1.0f / std::sqrt(static_cast<float>(dim())); }

    // Heads [begin, end) as one call.
    std::vector<float> attend_heads(const Variant& variant, Rounding rounding, size_t begin,
                                    size_t end, AttentionScratch& scratch) const {
        // The kernels must write every element and none beyond.
        std::vector<float> out((end - begin) * dim() + 1, -12345.0f);
        run(variant,
            {.format = format,
             .rows = rows,
             .num_heads = end - begin,
             .q = q.data() + begin * dim(),
             .sink = sink.data() + begin,
             .scale = scale(),
             .rounding = rounding,
             .out = out.data()},
            scratch);
        EXPECT_EQ(out.back(), -12345.0f) << variant.name;
        out.pop_back();
        return out;
    }
    std::vector<float> attend_all(const Variant& variant, Rounding rounding) const {
        AttentionScratch scratch;
        return attend_heads(variant, rounding, 0, num_heads, scratch);
    }
    std::vector<float> decoded(size_t j) const {
        std::vector<float> row(dim());
        format.decode(rows[j], row);
        return row;
    }
    void set_rows(const std::vector<std::vector<float>>& values) {
        // One spare word before each row, two before every third: no alignment beyond 8 bytes.
        const size_t words = format.row_bytes() / 8 + 2;
        storage.assign(values.size() * words + 2, 0);
        rows.clear();
        for (size_t j = 0; j < values.size(); ++j) {
            auto* row = reinterpret_cast<uint8_t*>(&storage[j * words + 1 + (j % 3 == 0)]);
            format.encode(values[j], row);
            rows.push_back(row);
        }
    }
};

// Every 64 dimensions of a row have their own magnitude, 2^-6 to 2; every 37th row is zero.
Problem random_problem(KvRowFormat format, size_t num_heads, size_t num_rows, Rng& rng) {
    Problem p{
        .format = format, .num_heads = num_heads, .storage = {}, .rows = {}, .q = {}, .sink = {}};
    std::vector<std::vector<float>> values(num_rows, std::vector<float>(p.dim(), 0.0f));
    for (size_t j = 0; j < num_rows; ++j) {
        if (j % 37 == 36) continue;
        float magnitude = 1;
        for (size_t i = 0; i < p.dim(); ++i) {
            if (i % 64 == 0) magnitude = std::ldexp(1.0f, static_cast<int>(rng.next_below(8)) - 6);
            values[j][i] = uniform(rng) * magnitude;
        }
    }
    p.set_rows(values);
    for (size_t i = 0; i < num_heads * p.dim(); ++i) p.q.push_back(round_bf16(4 * uniform(rng)));
    for (size_t h = 0; h < num_heads; ++h) p.sink.push_back(3 * uniform(rng));
    return p;
}

struct Exact {
    std::vector<double> out;  // [num_heads, dim]
    double max_k = 0;         // largest |k|
    double max_terms = 0;     // largest scale * sum |q_i k_i| over heads and rows
};

Exact attend_f64(const Problem& p) {
    const size_t dim = p.dim();
    const double scale = p.scale();
    std::vector<double> k;
    for (size_t j = 0; j < p.rows.size(); ++j)
        for (float value : p.decoded(j)) k.push_back(value);
    Exact exact{.out = std::vector<double>(p.num_heads * dim), .max_k = 0, .max_terms = 0};
    for (double value : k) exact.max_k = std::max(exact.max_k, std::abs(value));
    std::vector<double> scores(p.rows.size());
    for (size_t h = 0; h < p.num_heads; ++h) {
        const float* q = p.q.data() + h * dim;
        for (size_t j = 0; j < scores.size(); ++j) {
            double dot = 0;
            double terms = 0;
            for (size_t i = 0; i < dim; ++i) {
                const double term = q[i] * k[j * dim + i];
                dot += term;
                terms += std::abs(term);
            }
            scores[j] = dot * scale;
            exact.max_terms = std::max(exact.max_terms, terms * scale);
        }
        const double max = *std::max_element(scores.begin(), scores.end());
        double sum = std::exp(static_cast<double>(p.sink[h]) - max);
        double* out = exact.out.data() + h * dim;
        for (size_t j = 0; j < scores.size(); ++j) {
            const double weight = std::exp(scores[j] - max);
            sum += weight;
            for (size_t i = 0; i < dim; ++i) out[i] += weight * k[j * dim + i];
        }
        for (size_t i = 0; i < dim; ++i) out[i] /= sum;
    }
    return exact;
}

// Largest |error|: o is a weighted mean of rows, so weights off by a factor 1 + e move it by
// e * max|k|, and scores off by d are weights off by about 2d. Signs vary, so the partial sums of a
// dot product are about a sqrt(dim)th of its absolute terms, and so is the number of half ulps that
// add up: d is 2^-24 of the terms, and 4 times that for the tail of so many. Under kBf16 the
// probabilities and o are rounded, half a bf16 ulp (2^-9) each; half as much again for f32.
double error_bound(const Exact& exact, Rounding rounding) {
    const double score_error = 4 * 0x1p-24 * exact.max_terms;
    const double rounded = rounding == Rounding::kBf16 ? 3 * 0x1p-9 : 2e-6;
    return exact.max_k * (rounded + 2 * score_error);
}

double largest_error(const std::vector<float>& got, const std::vector<double>& expected) {
    double worst = 0;
    for (size_t i = 0; i < got.size(); ++i) {
        const double error = std::abs(got[i] - expected[i]);
        if (!(error <= worst)) worst = error;  // a NaN error sticks
        if (std::isnan(worst)) return worst;
    }
    return worst;
}

// Outputs whose bits differ from ref's, as a share.
double share_unlike(const std::vector<float>& got, const std::vector<float>& ref) {
    size_t unlike = 0;
    for (size_t i = 0; i < got.size(); ++i) unlike += got[i] != ref[i];
    return static_cast<double>(unlike) / static_cast<double>(got.size());
}

void check_problem(const Problem& p, const std::string& what) {
    const Exact exact = attend_f64(p);
    for (Rounding rounding : {Rounding::kNone, Rounding::kBf16}) {
        const double bound = error_bound(exact, rounding);
        std::vector<float> ref;
        for (const Variant& variant : all_variants()) {
            const std::vector<float> got = p.attend_all(variant, rounding);
            EXPECT_LE(largest_error(got, exact.out), bound)
                << variant.name << " " << what << " bf16=" << (rounding == Rounding::kBf16);
            if (variant.impl == Impl::kRef) ref = got;
            // The same roundings in the same places: only values near a tie may fall otherwise.
            if (rounding == Rounding::kBf16) {
                EXPECT_LE(share_unlike(got, ref), 0.05) << variant.name << " " << what;
                for (float value : got) ASSERT_EQ(value, round_bf16(value)) << variant.name;
            }
        }
    }
}

const std::vector<KvRowFormat>& formats() {
    static const std::vector<KvRowFormat> all = {
        {.encoding = KvEncoding::kPacked, .nope_dim = 448, .rope_dim = 64},
        {.encoding = KvEncoding::kF32, .nope_dim = 448, .rope_dim = 64},
        {.encoding = KvEncoding::kPacked, .nope_dim = 64, .rope_dim = 64},
        {.encoding = KvEncoding::kF32, .nope_dim = 128, .rope_dim = 32},
        {.encoding = KvEncoding::kPacked, .nope_dim = 128, .rope_dim = 32},
        {.encoding = KvEncoding::kPacked, .nope_dim = 64, .rope_dim = 32},
        {.encoding = KvEncoding::kPacked, .nope_dim = 64, .rope_dim = 6},
        {.encoding = KvEncoding::kF32, .nope_dim = 64, .rope_dim = 6},
        {.encoding = KvEncoding::kPacked, .nope_dim = 128, .rope_dim = 0},
    };
    return all;
}

std::string describe(const KvRowFormat& format, size_t heads, size_t rows) {
    return std::string(format.encoding == KvEncoding::kF32 ? "f32 " : "packed ") +
           std::to_string(format.nope_dim) + "+" + std::to_string(format.rope_dim) +
           " heads=" + std::to_string(heads) + " rows=" + std::to_string(rows);
}

TEST(Attention, EveryVariantMatchesF64AndRefOnEveryShape) {
    Rng rng(1);
    for (const KvRowFormat& format : formats())
        for (const size_t heads : std::vector<size_t>{1, 4, 8, 16, 17, 64})
            for (const size_t rows : std::vector<size_t>{1, 2, 63, 64, 65, 127, 128, 129, 640})
                check_problem(random_problem(format, heads, rows, rng),
                              describe(format, heads, rows));
}

TEST(Attention, EveryVariantMatchesF64AndRefOnManyRows) {
    Rng rng(2);
    for (const KvRowFormat& format : {formats()[0], formats()[1]})
        check_problem(random_problem(format, 4, 8320, rng), describe(format, 4, 8320));
}

TEST(Attention, HeadBitsDoNotDependOnNeighboursOrScratch) {
    Rng rng(3);
    const Problem p = random_problem(formats()[0], 64, 193, rng);
    for (const Variant& variant : all_variants()) {
        const std::vector<float> whole = p.attend_all(variant, Rounding::kBf16);
        for (const std::vector<size_t>& cuts : std::vector<std::vector<size_t>>{
                 {0, 16, 32, 48, 64}, {0, 8, 16, 24, 32, 40, 48, 56, 64}, {0, 1, 5, 18, 41, 64}}) {
            AttentionScratch scratch;  // keeps what the calls before left in it
            std::vector<float> parts;
            for (size_t c = 0; c + 1 < cuts.size(); ++c) {
                const std::vector<float> part =
                    p.attend_heads(variant, Rounding::kBf16, cuts[c], cuts[c + 1], scratch);
                parts.insert(parts.end(), part.begin(), part.end());
            }
            EXPECT_EQ(0, std::memcmp(parts.data(), whole.data(), whole.size() * sizeof(float)))
                << variant.name << " cuts=" << cuts.size();
        }
    }
}

TEST(Attention, ScratchFullOfNaNChangesNothing) {
    Rng rng(4);
    for (const KvRowFormat& format : {formats()[0], formats()[6], formats()[7]}) {
        const Problem p = random_problem(format, 17, 131, rng);
        for (const Variant& variant : all_variants()) {
            const std::vector<float> fresh = p.attend_all(variant, Rounding::kBf16);
            AttentionScratch scratch;
            constexpr size_t kBytes = 2'000'000;
            uint8_t* memory = scratch.reserve(kBytes);
            std::fill_n(memory, kBytes, uint8_t{0xFF});  // NaN as f32 and as bf16
            const std::vector<float> got =
                p.attend_heads(variant, Rounding::kBf16, 0, p.num_heads, scratch);
            EXPECT_EQ(0, std::memcmp(got.data(), fresh.data(), got.size() * sizeof(float)))
                << variant.name;
            EXPECT_EQ(scratch.reserve(1), memory) << "the scratch was allocated again";
        }
    }
}

// One row without a sink comes out as it is: p = 1, l = 1. Walks all codes under many scales.
TEST(Attention, DecodesEveryCodeExactly) {
    const KvRowFormat format = formats()[0];
    Problem p{.format = format,
              .num_heads = 2,
              .storage = {},
              .rows = {},
              .q = std::vector<float>(2 * format.dim(), 0.0f),
              .sink = {-kInf, -kInf}};
    p.set_rows({std::vector<float>(format.dim(), 0.0f)});
    auto* row = const_cast<uint8_t*>(p.rows[0]);  // p.storage is not const
    for (size_t i = 0; i < format.rope_dim; ++i) {
        const Bf16 value = static_cast<Bf16>(0x0080 + i * 509);  // smallest normal and up
        std::memcpy(row + format.nope_dim + 2 * i, &value, sizeof(value));
    }
    for (int scale = 127 - 100; scale <= 127 + 110; ++scale) {
        for (size_t i = 0; i < format.nope_dim; ++i) {
            const auto code = static_cast<uint8_t>(i + static_cast<size_t>(scale));
            row[i] = (code & 0x7F) == 0x7F ? uint8_t{0x01} : code;  // NaN has its own test
        }
        for (size_t s = 0; s < format.num_scales(); ++s)
            row[format.scales_offset() + s] = static_cast<uint8_t>(scale + static_cast<int>(s));
        const std::vector<float> expected = p.decoded(0);
        for (const Variant& variant : all_variants())
            for (Rounding rounding : {Rounding::kNone, Rounding::kBf16}) {
                const std::vector<float> got = p.attend_all(variant, rounding);
                for (size_t i = 0; i < got.size(); ++i)
                    ASSERT_EQ(got[i], expected[i % expected.size()])
                        << variant.name << " scale " << scale << " dim " << i;
            }
    }
}

TEST(Attention, SinkThatDominatesGivesZeros) {
    Rng rng(5);
    for (const KvRowFormat& format : {formats()[0], formats()[3]}) {
        Problem p = random_problem(format, 17, 130, rng);
        for (float sink : {200.0f, 1e30f, kInf}) {
            std::fill(p.sink.begin(), p.sink.end(), sink);
            for (const Variant& variant : all_variants())
                for (Rounding rounding : {Rounding::kNone, Rounding::kBf16})
                    for (float value : p.attend_all(variant, rounding))
                        ASSERT_LE(std::abs(value), 1e-30f) << variant.name << " sink=" << sink;
        }
    }
}

TEST(Attention, SinkCountsOnlyInTheDenominator) {
    Rng rng(6);
    Problem p = random_problem(formats()[0], 16, 70, rng);
    for (float sink : {-kInf, -1e30f, 0.0f, 10.0f, 60.0f}) {
        std::fill(p.sink.begin(), p.sink.end(), sink);
        check_problem(p, "sink=" + std::to_string(sink));
    }
}

TEST(Attention, EqualScoresGiveTheMean) {
    Rng rng(7);
    for (const size_t rows : std::vector<size_t>{1, 63, 129}) {
        Problem p = random_problem(formats()[0], 17, rows, rng);
        std::fill(p.q.begin(), p.q.end(), 0.0f);
        check_problem(p, "q=0 rows=" + std::to_string(rows));
    }
}

// Scores of +-1e20: the row that is q's own direction takes all, wherever it stands.
TEST(Attention, HugeScoresPickOneRow) {
    Rng rng(8);
    for (const size_t winner : std::vector<size_t>{0, 1, 63, 64, 127, 128, 192}) {
        Problem p = random_problem(formats()[0], 17, 193, rng);
        std::vector<std::vector<float>> values;
        for (size_t j = 0; j < p.rows.size(); ++j) {
            values.push_back(p.decoded(j));
            for (float& value : values.back())
                value = (rng.next_below(2) == 0 ? -1.0f : 1.0f) * (j == winner ? 2.0f : 1.0f);
        }
        p.set_rows(values);
        for (size_t i = 0; i < p.q.size(); ++i)
            p.q[i] = round_bf16(1e20f * values[winner][i % p.dim()]);
        for (const Variant& variant : all_variants())
            for (Rounding rounding : {Rounding::kNone, Rounding::kBf16}) {
                const std::vector<float> got = p.attend_all(variant, rounding);
                for (size_t i = 0; i < got.size(); ++i)
                    ASSERT_EQ(got[i], values[winner][i % p.dim()]) << variant.name;
            }
    }
}

// Scores that rise by thousands from block to block: every block rescales what came before.
TEST(Attention, RisingAndFallingScores) {
    Rng rng(9);
    for (float step : {-40.0f, -0.5f, 0.5f, 40.0f}) {
        Problem p = random_problem(formats()[0], 8, 257, rng);
        std::vector<std::vector<float>> values;
        for (size_t j = 0; j < p.rows.size(); ++j) {
            values.push_back(p.decoded(j));
            values.back().back() = round_bf16(step * static_cast<float>(j));
        }
        p.set_rows(values);
        for (size_t h = 0; h < p.num_heads; ++h) p.q[(h + 1) * p.dim() - 1] = 2.0f;
        check_problem(p, "step=" + std::to_string(step));
    }
}

TEST(Attention, NaNInOneRowIsSeenByEveryHead) {
    Rng rng(10);
    for (const bool in_rope : {false, true}) {
        Problem p = random_problem(formats()[0], 17, 140, rng);
        auto* row = const_cast<uint8_t*>(p.rows[77]);  // p.storage is not const
        if (in_rope) {
            const Bf16 nan = 0x7FC0;
            std::memcpy(row + p.format.nope_dim + 10, &nan, sizeof(nan));
        } else {
            row[100] = 0xFF;
        }
        for (const Variant& variant : all_variants())
            for (Rounding rounding : {Rounding::kNone, Rounding::kBf16})
                for (float value : p.attend_all(variant, rounding))
                    ASSERT_TRUE(std::isnan(value)) << variant.name;
    }
}

}  // namespace
}  // namespace baleen
