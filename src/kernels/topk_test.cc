#include "kernels/topk.h"

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "base/rng.h"
#include "quant/quant.h"

namespace baleen {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// The contract, word for word: a stable sort puts the lowest index first among equals.
std::vector<int32_t> topk_by_sort(const std::vector<float>& scores, size_t k) {
    std::vector<int32_t> indices(scores.size());
    std::iota(indices.begin(), indices.end(), 0);
    const auto value = [&](int32_t i) {
        const float score = scores[static_cast<size_t>(i)];
        return std::isnan(score) ? -kInf : score;
    };
    std::stable_sort(indices.begin(), indices.end(),
                     [&](int32_t a, int32_t b) { return value(a) > value(b); });
    indices.resize(std::min(k, scores.size()));
    std::sort(indices.begin(), indices.end());
    return indices;
}

// Every Highway target, one scratch for all calls of a test.
class Topk : public testing::Test {
  protected:
    void TearDown() override { hwy::SetSupportedTargetsForTest(0); }

    void check(const std::vector<float>& scores, size_t k, const std::string& what) {
        const std::vector<int32_t> expected = topk_by_sort(scores, k);
        for (int64_t target : hwy::SupportedAndGeneratedTargets()) {
            hwy::SetSupportedTargetsForTest(target);
            std::vector<int32_t> got = {-1, -2, -3};
            select_topk(scores, k, scratch_, got);
            ASSERT_EQ(got, expected)
                << hwy::TargetName(target) << " " << what << " k=" << k << " n=" << scores.size();
        }
    }

    Rng rng_{1};
    TopkScratch scratch_;
};

std::vector<float> random_scores(size_t n, Rng& rng) {
    std::vector<float> scores(n);
    for (float& score : scores) score = static_cast<float>(rng.next_double() * 4 - 2);
    return scores;
}

const std::vector<size_t> kSizes = {0,  1,  2,  3,  7,   8,   15,  16,  17,  31,   32,   33,  63,
                                    64, 65, 66, 67, 127, 128, 129, 511, 512, 1000, 2048, 5000};

TEST_F(Topk, EverySizeAndK) {
    for (size_t n : kSizes)
        for (size_t k : {0, 1, 2, 3, 15, 16, 17, 63, 64, 65, 511, 512, 513, 1024, 5000})
            check(random_scores(n, rng_), k, "random");
}

TEST_F(Topk, KAroundN) {
    for (size_t n : kSizes)
        for (size_t k : {n - std::min<size_t>(n, 2), n - std::min<size_t>(n, 1), n, n + 1, 2 * n})
            check(random_scores(n, rng_), k, "k near n");
}

TEST_F(Topk, HugeKTakesAll) {
    check(random_scores(100, rng_), std::numeric_limits<size_t>::max(), "k = SIZE_MAX");
}

TEST_F(Topk, FewDistinctValuesTieByLowestIndex) {
    for (size_t distinct : {1, 2, 3, 10, 300})
        for (size_t n : {100, 1000, 5000, 20000})
            for (size_t k : {1, 16, 100, 512, 1024}) {
                std::vector<float> scores(n);
                for (float& score : scores)
                    score = static_cast<float>(rng_.next_below(distinct)) - 2.0f;
                check(scores, k, std::to_string(distinct) + " distinct values");
            }
}

TEST_F(Topk, Bf16Scores) {
    for (size_t n : {2000, 16384, 100000})
        for (size_t k : {512, 1024}) {
            std::vector<float> scores = random_scores(n, rng_);
            for (float& score : scores) score = round_bf16(score * score * score);
            check(scores, k, "bf16");
        }
}

TEST_F(Topk, SortedAndPeriodic) {
    for (size_t n : {3000, 20000}) {
        std::vector<float> scores = random_scores(n, rng_);
        std::sort(scores.begin(), scores.end());
        check(scores, 512, "ascending");
        std::reverse(scores.begin(), scores.end());
        check(scores, 512, "descending");
        for (size_t i = 0; i < n; ++i) scores[i] = static_cast<float>(i % 64) + (i % 2 ? 0.5f : 0);
        check(scores, 512, "periodic");
        for (size_t i = 0; i < n; ++i) scores[i] = static_cast<float>(i / 100);
        check(scores, 512, "stairs");
        for (float& score : scores) score = -score;
        check(scores, 512, "stairs down");
    }
}

TEST_F(Topk, AllNegative) {
    for (size_t n : {700, 10000}) {
        std::vector<float> scores = random_scores(n, rng_);
        for (float& score : scores) score = -std::fabs(score) - 1e-3f;
        check(scores, 512, "negative");
    }
}

TEST_F(Topk, ZerosOfBothSignsAreEqual) {
    for (size_t n : {600, 4096, 10000}) {
        std::vector<float> scores(n);
        for (float& score : scores) score = rng_.next_below(2) == 0 ? 0.0f : -0.0f;
        check(scores, 512, "zeros");
        for (size_t i = 0; i < n; i += 7) scores[i] = 1.0f;
        for (size_t i = 3; i < n; i += 5) scores[i] = -1.0f;
        check(scores, 512, "zeros among others");
    }
}

// Relu leaves many keys at exactly zero: fewer than k above it, the rest a tie.
TEST_F(Topk, MostlyZero) {
    for (size_t positive : {0, 1, 100, 511, 512, 513, 2000}) {
        std::vector<float> scores(30000, 0.0f);
        for (size_t i = 0; i < positive; ++i)
            scores[rng_.next_below(scores.size())] = 1.0f + static_cast<float>(i);
        check(scores, 512, std::to_string(positive) + " positive");
    }
}

TEST_F(Topk, InfinitiesNaNsAndTheEndsOfTheRange) {
    const float max = std::numeric_limits<float>::max();
    const float least = std::numeric_limits<float>::denorm_min();
    const std::vector<float> special = {kInf, -kInf, kNaN,  -kNaN,  max,  -max,
                                        0.0f, -0.0f, least, -least, 1.0f, -1.0f};
    for (size_t n : {20, 600, 3000, 20000})
        for (size_t k : {1, 7, 300, 512, 1024}) {
            std::vector<float> scores(n);
            for (float& score : scores) score = special[rng_.next_below(special.size())];
            check(scores, k, "special values");
        }
    for (float value : {kInf, -kInf, kNaN, max, -max})
        check(std::vector<float>(5000, value), 512, "all " + std::to_string(value));
}

TEST_F(Topk, NaNComesLastWithMinusInfinity) {
    std::vector<int32_t> out;
    select_topk(std::vector<float>{kNaN, -kInf, -5.0f, kNaN, 2.0f}, 3, scratch_, out);
    EXPECT_EQ(out, (std::vector<int32_t>{0, 2, 4}));
    select_topk(std::vector<float>{-kInf, kNaN, -5.0f, kNaN, 2.0f}, 3, scratch_, out);
    EXPECT_EQ(out, (std::vector<int32_t>{0, 2, 4}));
}

TEST_F(Topk, UnalignedScores) {
    const std::vector<float> storage = random_scores(9000, rng_);
    for (size_t offset = 0; offset < 17; ++offset) {
        const std::span<const float> scores = std::span(storage).subspan(offset, 8000 + offset);
        std::vector<int32_t> out;
        select_topk(scores, 512, scratch_, out);
        EXPECT_EQ(out, topk_by_sort({scores.begin(), scores.end()}, 512)) << offset;
    }
}

TEST_F(Topk, DoesNotAllocateAgain) {
    std::vector<int32_t> out;
    select_topk(random_scores(100000, rng_), 512, scratch_, out);
    const int32_t* keys = scratch_.keys.data();
    const int32_t* indices = scratch_.indices.data();
    const int32_t* chosen = out.data();
    for (size_t n : {10, 600, 5000, 300000})
        for (size_t k : {1, 100, 512}) select_topk(random_scores(n, rng_), k, scratch_, out);
    EXPECT_EQ(scratch_.keys.data(), keys);
    EXPECT_EQ(scratch_.indices.data(), indices);
    EXPECT_EQ(out.data(), chosen);
}

}  // namespace
}  // namespace baleen
