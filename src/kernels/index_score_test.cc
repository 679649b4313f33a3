#include "kernels/index_score.h"

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

constexpr float kUntouched = -12345.0f;

// One implementation, and for Highway one of its targets.
struct Variant {
    std::string name;
    Impl impl;
    int64_t target = 0;
};

std::vector<Variant> fast_variants() {
    std::vector<Variant> variants;
    for (int64_t target : hwy::SupportedAndGeneratedTargets())
        variants.push_back({std::string("simd ") + hwy::TargetName(target), Impl::kSimd, target});
    if (cpu_has_avx512_bf16_vnni_vbmi()) variants.push_back({"avx512", Impl::kAvx512});
    return variants;
}

std::vector<Variant> all_variants() {
    std::vector<Variant> variants = fast_variants();
    variants.insert(variants.begin(), {"ref", Impl::kRef});
    return variants;
}

float uniform(Rng& rng) {
    return static_cast<float>(rng.next_double() * 2 - 1);
}

// Keys in memory and queries as the indexer makes them.
struct Problem {
    IndexShape shape;
    size_t num_keys = 0;
    std::vector<uint8_t> values;        // two spare bytes (f32 keys: four) in front: misaligned
    std::vector<uint8_t> scales;        // one spare byte in front
    std::vector<std::vector<float>> q;  // per query [num_heads, dim]
    std::vector<std::vector<float>> w;  // per query [num_heads]

    size_t dim() const { return shape.format.dim; }
    size_t values_offset() const { return shape.format.encoding == KvEncoding::kF32 ? 4 : 1; }

    void set_keys(const std::vector<std::vector<float>>& keys) {
        const IndexKeyFormat& format = shape.format;
        num_keys = keys.size();
        values.assign(values_offset() + num_keys * format.value_bytes(), 0);
        scales.assign(1 + num_keys * format.scale_bytes(), 0);
        for (size_t j = 0; j < num_keys; ++j) format.encode(keys[j], value_ptr(j), scale_ptr(j));
    }
    uint8_t* value_ptr(size_t j) {
        return values.data() + values_offset() + j * shape.format.value_bytes();
    }
    uint8_t* scale_ptr(size_t j) { return scales.data() + 1 + j * shape.format.scale_bytes(); }

    IndexKeyBlock block(size_t begin, size_t count) const {
        auto* p = const_cast<Problem*>(this);  // value_ptr and scale_ptr only compute addresses
        return {.values = p->value_ptr(begin),
                .scales = shape.format.encoding == KvEncoding::kF32 ? nullptr : p->scale_ptr(begin),
                .count = count};
    }
    std::vector<IndexQuery> prepare(const Variant& variant) const {
        std::vector<IndexQuery> queries(q.size());
        for (size_t i = 0; i < q.size(); ++i)
            prepare_index_query(variant.impl, shape, q[i], w[i], queries[i]);
        return queries;
    }
};

// scores [query][key] of keys [begin, begin + count).
using Scores = std::vector<std::vector<float>>;

Scores score(const Variant& variant, const Problem& p, std::span<const IndexQuery> queries,
             size_t begin, size_t count) {
    // Every score must be written and nothing beyond; one float in front misaligns them.
    Scores out(queries.size(), std::vector<float>(count + 2, kUntouched));
    std::vector<float*> pointers;
    for (std::vector<float>& scores : out) pointers.push_back(scores.data() + 1);
    if (variant.target != 0) hwy::SetSupportedTargetsForTest(variant.target);
    score_index_keys(variant.impl, p.shape, queries, p.block(begin, count), pointers);
    if (variant.target != 0) hwy::SetSupportedTargetsForTest(0);
    for (std::vector<float>& scores : out) {
        EXPECT_EQ(scores.front(), kUntouched) << variant.name;
        EXPECT_EQ(scores.back(), kUntouched) << variant.name;
        scores = {scores.begin() + 1, scores.end() - 1};
    }
    return out;
}

Scores score_all(const Variant& variant, const Problem& p) {
    return score(variant, p, p.prepare(variant), 0, p.num_keys);
}

// Every 32 values have their own magnitude; weights of both signs, exact in bf16.
Problem random_problem(const IndexShape& shape, size_t num_keys, size_t num_queries, Rng& rng) {
    Problem p{.shape = shape, .num_keys = 0, .values = {}, .scales = {}, .q = {}, .w = {}};
    const auto vectors = [&](size_t n, size_t size) {
        std::vector<std::vector<float>> all(n, std::vector<float>(size));
        for (std::vector<float>& v : all) {
            float magnitude = 1;
            for (size_t i = 0; i < size; ++i) {
                if (i % 32 == 0)
                    magnitude = std::ldexp(1.0f, static_cast<int>(rng.next_below(7)) - 3);
                v[i] = round_bf16(uniform(rng) * magnitude);
            }
        }
        return all;
    };
    p.set_keys(vectors(num_keys, shape.format.dim));
    p.q = vectors(num_queries, shape.num_heads * shape.format.dim);
    p.w = vectors(num_queries, shape.num_heads);
    return p;
}

// The score in f64 without any rounding, and the bounds of what the roundings may change.
struct Exact {
    double score = 0;
    double terms = 0;      // sum of |w| * relu(dot)
    double dot_terms = 0;  // sum of |w| * sum over dims of |q * k|
};

// Values and f64 scores of the decoded operands.
std::vector<std::vector<Exact>> score_f64(const Problem& p) {
    const size_t dim = p.dim();
    const bool packed = p.shape.format.encoding == KvEncoding::kPacked;
    std::vector<std::vector<float>> keys(p.num_keys, std::vector<float>(dim));
    for (size_t j = 0; j < p.num_keys; ++j) {
        const IndexKeyBlock key = p.block(j, 1);
        if (packed)
            fp4_decode({key.values, dim / 2}, {key.scales, dim / 32}, keys[j]);
        else
            std::memcpy(keys[j].data(), key.values, dim * sizeof(float));
    }
    std::vector<std::vector<Exact>> all(p.q.size(), std::vector<Exact>(p.num_keys));
    for (size_t i = 0; i < p.q.size(); ++i) {
        std::vector<float> q = p.q[i];
        if (packed) fp4_roundtrip(q);
        for (size_t j = 0; j < p.num_keys; ++j)
            for (size_t head = 0; head < p.shape.num_heads; ++head) {
                double dot = 0;
                double terms = 0;
                for (size_t d = 0; d < dim; ++d) {
                    const double term = static_cast<double>(q[head * dim + d]) * keys[j][d];
                    dot += term;
                    terms += std::abs(term);
                }
                const double w = p.w[i][head];
                all[i][j].score += w * std::max(dot, 0.0);
                all[i][j].terms += std::abs(w) * std::max(dot, 0.0);
                all[i][j].dot_terms += std::abs(w) * terms;
            }
    }
    return all;
}

// f32 sums of n terms are off by at most n * 2^-24 of the terms' magnitudes, in whatever order:
// packed dots have dim/32 terms, f32 dots dim of them, and the score has num_heads.
double f32_error(const Problem& p, const Exact& exact) {
    const bool packed = p.shape.format.encoding == KvEncoding::kPacked;
    const auto dot_steps = static_cast<double>(packed ? p.dim() / 32 : p.dim());
    return 0x1p-24 * (dot_steps * exact.dot_terms +
                      (static_cast<double>(p.shape.num_heads) + 1) * exact.terms);
}

// What underflow may take from the sum of num_heads products with |w| <= 8. In f32 a product of two
// scales below 2^-149 becomes zero, and with it a partial sum of at most 144 * 32; the AVX-512
// conversions to bf16 flush what is below 2^-126.
double underflow(const Problem& p) {
    const double f32_lost = static_cast<double>(p.dim()) * 144 * 0x1p-149;
    const double flushed = p.shape.rounding == Rounding::kBf16 ? 0x1p-126 : 0;
    return static_cast<double>(p.shape.num_heads) * 8 * (f32_lost + 2 * flushed);
}

// Under kBf16 the dot, the product and the score are rounded too: 2^-8 relative each.
double error_bound(const Problem& p, const Exact& exact) {
    const double bound = f32_error(p, exact) + underflow(p);
    if (p.shape.rounding == Rounding::kNone) return bound;
    return bound + 3.02 * 0x1p-8 * (exact.terms + bound);
}

// The distance of two bf16 values next to each other at this magnitude.
double bf16_ulp(double value) {
    return std::ldexp(1.0, std::max(std::ilogb(std::abs(value) + 0x1p-126), -126) - 7);
}

// Packed dot products are the same f32 value in every implementation, so that scores differ from
// ref's by the order of the sum over heads only: twice its f32 error, and under kBf16 one step of
// the final rounding. For f32 keys the order of the dot product counts as well, and under kBf16 a
// dot or a product near a tie may go the other way.
double ref_bound(const Problem& p, const Exact& exact, float ref) {
    if (p.shape.format.encoding == KvEncoding::kF32) return 2 * error_bound(p, exact);
    const double bound =
        2 * 0x1p-24 * static_cast<double>(p.shape.num_heads) * exact.terms * 1.01 + underflow(p);
    if (p.shape.rounding == Rounding::kNone) return bound;
    return bound + bf16_ulp(std::abs(ref) + bound);
}

void check_problem(const Problem& p, const std::string& what) {
    const std::vector<std::vector<Exact>> exact = score_f64(p);
    const Scores ref = score_all({"ref", Impl::kRef}, p);
    for (const Variant& variant : all_variants()) {
        const Scores got = score_all(variant, p);
        for (size_t i = 0; i < p.q.size(); ++i)
            for (size_t j = 0; j < p.num_keys; ++j) {
                const std::string where = variant.name + " " + what + " query " +
                                          std::to_string(i) + " key " + std::to_string(j);
                const float value = got[i][j];
                ASSERT_LE(std::abs(value - exact[i][j].score), error_bound(p, exact[i][j]))
                    << where;
                ASSERT_LE(std::abs(static_cast<double>(value) - ref[i][j]),
                          ref_bound(p, exact[i][j], ref[i][j]))
                    << where;
                if (p.shape.rounding == Rounding::kBf16) {
                    ASSERT_EQ(value, round_bf16(value)) << where;
                }
            }
    }
}

std::string describe(const IndexShape& shape, size_t keys, size_t queries) {
    return std::string(shape.format.encoding == KvEncoding::kF32 ? "f32" : "packed") +
           (shape.rounding == Rounding::kBf16 ? " bf16 " : " ") + std::to_string(shape.num_heads) +
           "x" + std::to_string(shape.format.dim) + " keys=" + std::to_string(keys) +
           " queries=" + std::to_string(queries);
}

// Both encodings, both roundings.
std::vector<IndexShape> shapes(size_t heads, size_t dim) {
    std::vector<IndexShape> all;
    for (KvEncoding encoding : {KvEncoding::kPacked, KvEncoding::kF32})
        for (Rounding rounding : {Rounding::kBf16, Rounding::kNone})
            all.push_back({.format = {.encoding = encoding, .dim = dim},
                           .num_heads = heads,
                           .rounding = rounding});
    return all;
}

const IndexShape kFlash = {.format = {.encoding = KvEncoding::kPacked, .dim = 128},
                           .num_heads = 64,
                           .rounding = Rounding::kBf16};

TEST(IndexScore, EveryVariantMatchesF64AndRefOnEveryShape) {
    Rng rng(1);
    for (size_t heads : {1, 4, 8, 16, 17, 64})
        for (size_t dim : {32, 64, 128})
            for (const IndexShape& shape : shapes(heads, dim))
                for (size_t keys : {1, 2, 3, 31, 32, 33}) {
                    const size_t queries = 1 + (keys + heads) % 4;
                    check_problem(random_problem(shape, keys, queries, rng),
                                  describe(shape, keys, queries));
                }
}

// More heads than one chunk of a fast kernel covers; dims whose keys fill its tile buffer.
TEST(IndexScore, ManyHeadsAndWideKeys) {
    Rng rng(2);
    for (const auto& [heads, dim, keys] : std::vector<std::array<size_t, 3>>{{33, 128, 5},
                                                                             {48, 64, 9},
                                                                             {65, 128, 6},
                                                                             {128, 32, 13},
                                                                             {130, 64, 4},
                                                                             {200, 32, 3},
                                                                             {3, 1024, 35},
                                                                             {2, 4096, 11},
                                                                             {20, 256, 70}})
        for (const IndexShape& shape : shapes(heads, dim))
            check_problem(random_problem(shape, keys, 2, rng), describe(shape, keys, 2));
}

TEST(IndexScore, F32KeysOfAnyDim) {
    Rng rng(3);
    for (size_t dim : {1, 7, 31, 33, 100})
        for (const IndexShape& shape : shapes(17, dim))
            if (shape.format.encoding == KvEncoding::kF32)
                check_problem(random_problem(shape, 10, 2, rng), describe(shape, 10, 2));
}

TEST(IndexScore, ManyKeysAndQueries) {
    Rng rng(4);
    check_problem(random_problem(kFlash, 300, 4, rng), "flash");
}

std::vector<uint32_t> bits(const std::vector<float>& values) {
    std::vector<uint32_t> out;
    for (float value : values) out.push_back(std::bit_cast<uint32_t>(value));
    return out;
}

TEST(IndexScore, BitsDoNotDependOnTheCall) {
    Rng rng(5);
    for (size_t heads : {4, 17, 64, 130})
        for (const IndexShape& shape : shapes(heads, 128)) {
            const Problem p = random_problem(shape, 150, 4, rng);
            for (const Variant& variant : all_variants()) {
                const std::vector<IndexQuery> queries = p.prepare(variant);
                const Scores whole = score(variant, p, queries, 0, p.num_keys);
                for (size_t begin : {0, 1, 2, 3, 5, 31, 100})
                    for (size_t count : {1, 2, 3, 4, 7, 8, 9, 33}) {
                        const Scores part = score(variant, p, queries, begin, count);
                        const Scores alone =
                            score(variant, p, std::span(queries).subspan(2, 1), begin, count);
                        for (size_t i = 0; i < queries.size(); ++i) {
                            const std::vector<float> expected(
                                whole[i].begin() + static_cast<std::ptrdiff_t>(begin),
                                whole[i].begin() + static_cast<std::ptrdiff_t>(begin + count));
                            ASSERT_EQ(bits(part[i]), bits(expected))
                                << variant.name << " " << describe(shape, count, 4);
                            if (i == 2) {
                                ASSERT_EQ(bits(alone[0]), bits(expected)) << variant.name;
                            }
                        }
                    }
            }
        }
}

TEST(IndexScore, NoKeysOrNoQueries) {
    Rng rng(6);
    const Problem p = random_problem(kFlash, 3, 2, rng);
    for (const Variant& variant : all_variants()) {
        EXPECT_TRUE(score(variant, p, {}, 0, 3).empty());
        for (const std::vector<float>& scores : score(variant, p, p.prepare(variant), 0, 0))
            EXPECT_TRUE(scores.empty());
    }
}

TEST(IndexScore, ZeroKeysAndZeroQueriesScoreZero) {
    Rng rng(7);
    for (const IndexShape& shape : shapes(17, 64)) {
        Problem p = random_problem(shape, 9, 2, rng);
        std::fill(p.q[1].begin(), p.q[1].end(), 0.0f);
        std::vector<std::vector<float>> keys(9, std::vector<float>(64, 0.0f));
        keys[4][3] = 1.5f;
        p.set_keys(keys);
        for (const Variant& variant : all_variants()) {
            const Scores got = score_all(variant, p);
            for (size_t j = 0; j < 9; ++j) {
                if (j != 4) {
                    EXPECT_EQ(got[0][j], 0.0f) << variant.name;
                }
                EXPECT_EQ(got[1][j], 0.0f) << variant.name;
            }
        }
        check_problem(p, "zeros");
    }
}

// One head of weight 1 and the largest codes: 12 * 12 * 32 per block, both signs. Wraps or
// saturates anything narrower than the partial sums need.
TEST(IndexScore, LargestCodesAreExact) {
    for (float sign : {1.0f, -1.0f})
        for (const IndexShape& shape : shapes(1, 128)) {
            Problem p{.shape = shape, .num_keys = 0, .values = {}, .scales = {}, .q = {}, .w = {}};
            p.set_keys({std::vector<float>(128, -6.0f)});
            p.q = {std::vector<float>(128, sign * 6.0f)};
            p.w = {{1.0f}};
            for (const Variant& variant : all_variants())
                EXPECT_EQ(score_all(variant, p)[0][0], sign > 0 ? 0.0f : 4608.0f) << variant.name;
        }
}

// Every pair of codes in every place of a block, one at a time.
TEST(IndexScore, EveryPairOfCodesInEveryPlace) {
    const IndexShape shape = {.format = {.encoding = KvEncoding::kPacked, .dim = 64},
                              .num_heads = 16,
                              .rounding = Rounding::kNone};
    Rng rng(8);
    Problem p = random_problem(shape, 16, 1, rng);
    for (const Variant& variant : all_variants()) {
        for (size_t d = 0; d < 64; ++d) {
            // Head h has code h in dim d, key j code j there; 6 elsewhere keeps q's scale at 1
            // where the key's zeros do not count.
            std::fill(p.q[0].begin(), p.q[0].end(), 6.0f);
            for (size_t h = 0; h < 16; ++h) p.q[0][h * 64 + d] = kE2m1Values[h];
            std::fill(p.values.begin(), p.values.end(), uint8_t{0});
            std::fill(p.scales.begin(), p.scales.end(), uint8_t{127});
            for (size_t j = 0; j < 16; ++j)
                p.value_ptr(j)[d / 2] = d % 2 == 0 ? e2m1_pack(static_cast<uint8_t>(j), 0)
                                                   : e2m1_pack(0, static_cast<uint8_t>(j));
            for (size_t h = 0; h < 16; ++h) {
                std::fill(p.w[0].begin(), p.w[0].end(), 0.0f);
                p.w[0][h] = 1.0f;
                const Scores got = score_all(variant, p);
                for (size_t j = 0; j < 16; ++j)
                    ASSERT_EQ(got[0][j], std::max(kE2m1Values[h] * kE2m1Values[j], 0.0f))
                        << variant.name << " dim " << d << " codes " << h << " " << j;
            }
        }
    }
}

// All scale codes of keys, against a query of scale 2^0 and against the extremes whose product
// with it f32 holds.
TEST(IndexScore, EveryKeyScale) {
    Rng rng(9);
    for (Rounding rounding : {Rounding::kBf16, Rounding::kNone})
        for (float magnitude : {1.0f, 0x1p-90f, 0x1p90f}) {
            IndexShape shape = kFlash;
            shape.rounding = rounding;
            shape.num_heads = 17;
            Problem p = random_problem(shape, 8, 1, rng);
            for (float& v : p.q[0]) v *= magnitude;
            for (int code = 0; code < 255; ++code) {
                if (magnitude > 1 && code > 127 + 20) break;
                for (size_t j = 0; j < 8; ++j)
                    for (size_t b = 0; b < 4; ++b)
                        p.scale_ptr(j)[b] = static_cast<uint8_t>(
                            std::clamp(code + static_cast<int>(b) - 2, 0, 230));
                check_problem(p, "scale code " + std::to_string(code));
            }
        }
}

TEST(IndexScore, NegativeWeights) {
    Rng rng(10);
    for (const IndexShape& shape : shapes(64, 128)) {
        Problem p = random_problem(shape, 20, 2, rng);
        for (float& w : p.w[0]) w = -std::abs(w);
        for (const Variant& variant : all_variants()) {
            const Scores got = score_all(variant, p);
            for (float value : got[0]) EXPECT_LT(value, 0.0f) << variant.name;
        }
        check_problem(p, "negative weights");
    }
}

TEST(IndexScore, NaNScaleGivesNaNForItsKeyOnly) {
    Rng rng(11);
    for (size_t heads : {8, 64}) {
        IndexShape shape = kFlash;
        shape.num_heads = heads;
        Problem p = random_problem(shape, 9, 2, rng);
        p.scale_ptr(5)[2] = kUe8m0NaN;
        for (const Variant& variant : all_variants()) {
            const Scores got = score_all(variant, p);
            for (const std::vector<float>& scores : got)
                for (size_t j = 0; j < 9; ++j)
                    EXPECT_EQ(std::isnan(scores[j]), j == 5) << variant.name << " key " << j;
        }
    }
}

TEST(IndexScore, NaNInAQueryGivesNaN) {
    Rng rng(12);
    for (const IndexShape& shape : shapes(17, 64)) {
        Problem p = random_problem(shape, 9, 2, rng);
        p.q[1][5 * 64 + 3] = std::numeric_limits<float>::quiet_NaN();
        for (const Variant& variant : all_variants()) {
            const Scores got = score_all(variant, p);
            for (size_t j = 0; j < 9; ++j) {
                EXPECT_FALSE(std::isnan(got[0][j])) << variant.name;
                EXPECT_TRUE(std::isnan(got[1][j])) << variant.name;
            }
        }
    }
}

TEST(IndexScore, PreparingAgainDoesNotAllocate) {
    Rng rng(13);
    for (const IndexShape& shape : shapes(64, 128)) {
        const Problem p = random_problem(shape, 4, 2, rng);
        for (const Variant& variant : all_variants()) {
            IndexQuery query;
            prepare_index_query(variant.impl, shape, p.q[0], p.w[0], query);
            const auto addresses = [&] {
                return std::vector<const void*>{query.values2.data(), query.scales.data(),
                                                query.values.data(), query.weights.data(),
                                                query.layout.data()};
            };
            const std::vector<const void*> before = addresses();
            prepare_index_query(variant.impl, shape, p.q[1], p.w[1], query);
            EXPECT_EQ(addresses(), before) << variant.name;
            const std::vector<IndexQuery> fresh = p.prepare(variant);
            EXPECT_EQ(score(variant, p, {&query, 1}, 0, 4)[0],
                      score(variant, p, {&fresh[1], 1}, 0, 4)[0])
                << variant.name;
        }
    }
}

// A copy lies elsewhere in memory, on another alignment or not.
TEST(IndexScore, CopiedQueriesScoreTheSame) {
    Rng rng(14);
    const Problem p = random_problem(kFlash, 5, 1, rng);
    for (const Variant& variant : fast_variants()) {
        const std::vector<IndexQuery> queries = p.prepare(variant);
        const Scores expected = score(variant, p, queries, 0, 5);
        std::vector<IndexQuery> copies(8, queries[0]);
        for (size_t i = 0; i < copies.size(); ++i) copies[i].layout.reserve(20000 + 16 * i);
        for (const std::vector<float>& got : score(variant, p, copies, 0, 5))
            EXPECT_EQ(got, expected[0]) << variant.name;
    }
}

}  // namespace
}  // namespace baleen
