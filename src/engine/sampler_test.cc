#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

namespace baleen {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr size_t kVocab = 129280;

// The contract of sampler.h read literally: sort everything, then filter a list.
std::vector<double> brute_force(const std::vector<float>& logits, const SamplingParams& params) {
    std::vector<size_t> order(logits.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, [&](size_t a, size_t b) { return logits[a] > logits[b]; });
    if (params.greedy || params.temperature == 0) order.resize(1);
    if (params.top_k > 0 && static_cast<size_t>(params.top_k) < order.size())
        order.resize(static_cast<size_t>(params.top_k));
    std::vector<double> p;
    const double temperature = order.size() == 1 ? 1 : params.temperature;
    for (size_t idx : order)
        p.push_back(std::exp((double{logits[idx]} - logits[order[0]]) / temperature));
    const double sum = std::accumulate(p.begin(), p.end(), 0.0);
    double reached = 0;
    size_t kept = 0;
    while (kept < p.size() && (kept == 0 || reached < params.top_p * sum)) reached += p[kept++];
    if (params.top_p == 1) kept = p.size();
    while (p[kept - 1] < params.min_p * p[0]) --kept;
    const double kept_sum =
        std::accumulate(p.begin(), p.begin() + static_cast<ptrdiff_t>(kept), 0.0);
    std::vector<double> probabilities(logits.size(), 0.0);
    for (size_t i = 0; i < kept; ++i) probabilities[order[i]] = p[i] / kept_sum;
    return probabilities;
}

void expect_brute_force(const std::vector<float>& logits, const SamplingParams& params) {
    SCOPED_TRACE(fmt::format("temperature {} top_k {} top_p {} min_p {} greedy {}",
                             params.temperature, params.top_k, params.top_p, params.min_p,
                             params.greedy));
    Sampler sampler = Sampler::create(params, logits.size()).value();
    const std::span<const double> found = sampler.probabilities(logits).value();
    const std::vector<double> expected = brute_force(logits, params);
    ASSERT_EQ(found.size(), expected.size());
    size_t wrong = 0;
    for (size_t i = 0; i < found.size(); ++i) {
        const bool same_set = (found[i] == 0) == (expected[i] == 0);
        if (!same_set || std::abs(found[i] - expected[i]) > 1e-12 * expected[i]) ++wrong;
    }
    EXPECT_EQ(wrong, 0u);
}

// Roughly normal, standard deviation `scale`.
std::vector<float> random_logits(size_t vocab_size, double scale, uint64_t seed) {
    Rng rng(seed);
    std::vector<float> logits(vocab_size);
    for (float& logit : logits) {
        double sum = -6;
        for (int i = 0; i < 12; ++i) sum += rng.next_double();
        logit = static_cast<float>(sum * scale);
    }
    return logits;
}

std::vector<TokenId> draw(Sampler& sampler, const std::vector<float>& logits, size_t count) {
    std::vector<TokenId> tokens;
    for (size_t i = 0; i < count; ++i) tokens.push_back(sampler.sample(logits).value().token);
    return tokens;
}

TEST(Sampler, EveryFilterAgreesWithASort) {
    for (size_t vocab_size : {size_t{1}, size_t{2}, size_t{3}, size_t{63}, size_t{1000}, kVocab}) {
        std::vector<float> logits = random_logits(vocab_size, 3, vocab_size);
        for (double temperature : {0.0, 0.05, 0.6, 1.0, 2.5, 100.0})
            for (const SamplingParams& filter :
                 {SamplingParams{}, SamplingParams{.top_k = 1}, SamplingParams{.top_k = 40},
                  SamplingParams{.top_p = 0}, SamplingParams{.top_p = 0.3},
                  SamplingParams{.top_p = 0.95}, SamplingParams{.top_p = 0.999999},
                  SamplingParams{.min_p = 0.05}, SamplingParams{.min_p = 1},
                  SamplingParams{.top_p = 0.8, .top_k = 50, .min_p = 0.02},
                  SamplingParams{.top_k = 1 << 30}, SamplingParams{.greedy = true}}) {
                SamplingParams params = filter;
                params.temperature = temperature;
                expect_brute_force(logits, params);
            }
    }
}

// Logits as a bf16 head gives them: hundreds of tokens share each value, so cuts fall inside ties.
TEST(Sampler, CutsInsideTiesKeepTheLowestIds) {
    std::vector<float> logits = random_logits(20000, 1, 5);
    for (float& logit : logits) logit = std::round(logit * 8) / 8;
    for (int64_t top_k : {1, 2, 7, 100, 5000, 19999}) expect_brute_force(logits, {.top_k = top_k});
    for (double top_p : {0.001, 0.1, 0.5, 0.9, 0.99})
        for (int64_t top_k : {0, 500}) expect_brute_force(logits, {.top_p = top_p, .top_k = top_k});
    // Four equal tokens: a half needs exactly two, and the next number above it three.
    const std::vector<float> equal = {2, 2, 2, 2};
    Sampler half = Sampler::create({.top_p = 0.5}, 4).value();
    EXPECT_EQ(half.probabilities(equal).value()[1], 0.5);
    EXPECT_EQ(half.probabilities(equal).value()[2], 0);
    Sampler above = Sampler::create({.top_p = std::nextafter(0.5, 1)}, 4).value();
    EXPECT_NEAR(above.probabilities(equal).value()[2], 1.0 / 3, 1e-15);
    EXPECT_EQ(above.probabilities(equal).value()[3], 0);
}

TEST(Sampler, EqualLogitsOfEitherZeroAreEqual) {
    const std::vector<float> logits = {-1, -0.0f, 0.0f, -1};
    EXPECT_EQ(Sampler::create({.top_k = 1}, 4).value().sample(logits).value().token, 1);
    EXPECT_EQ(Sampler::create({.greedy = true}, 4).value().sample(logits).value().token, 1);
    EXPECT_EQ(Sampler::create({.temperature = 0}, 4).value().sample(logits).value().token, 1);
}

// Extreme but allowed: the largest and smallest floats, denormals, excluded tokens.
TEST(Sampler, ExtremeLogits) {
    constexpr float kMax = std::numeric_limits<float>::max();
    const std::vector<float> logits = {-kInf, -kMax, 1e-45f, kMax, kMax, -kInf, 0, -1e-45f};
    for (int64_t top_k : {0, 1, 2, 3, 5, 8})
        for (double temperature : {0.0, 1e-300, 1.0, 100.0})
            expect_brute_force(logits, {.temperature = temperature, .top_k = top_k});
    const std::vector<float> only = {-kInf, -kInf, -3e38f, -kInf};
    for (const SamplingParams& params :
         {SamplingParams{}, SamplingParams{.top_k = 3}, SamplingParams{.top_p = 0.1},
          SamplingParams{.greedy = true}}) {
        const Sample sample = Sampler::create(params, 4).value().sample(only).value();
        EXPECT_EQ(sample.token, 2);
        EXPECT_EQ(sample.logprob, 0);
    }
}

// Chi-square of 200,000 draws: 34.8 is the 99 % point at 18 degrees of freedom (21 tokens, one
// excluded by -inf, one by top-p). The seed is fixed, and so is the figure (25.9).
TEST(Sampler, DrawsFollowTheDistribution) {
    std::vector<float> logits = random_logits(21, 1.2, 3);
    logits[4] = -kInf;
    const SamplingParams params{.temperature = 0.9, .top_p = 0.995, .seed = 11};
    const std::vector<double> expected = brute_force(logits, params);
    Sampler sampler = Sampler::create(params, logits.size()).value();
    constexpr size_t kDraws = 200000;
    std::vector<size_t> counts(logits.size(), 0);
    for (TokenId token : draw(sampler, logits, kDraws)) ++counts[static_cast<size_t>(token)];
    double chi_square = 0;
    size_t support = 0;
    for (size_t i = 0; i < counts.size(); ++i) {
        if (expected[i] == 0) {
            EXPECT_EQ(counts[i], 0u) << "token " << i;
            continue;
        }
        const double mean = expected[i] * static_cast<double>(kDraws);
        const double off = static_cast<double>(counts[i]) - mean;
        chi_square += off * off / mean;
        ++support;
    }
    EXPECT_EQ(support, 19u);
    EXPECT_LT(chi_square, 34.8);
}

TEST(Sampler, LogprobIsThatOfTheDistributionDrawnFrom) {
    const std::vector<float> logits = random_logits(500, 2, 8);
    const SamplingParams params{.temperature = 0.7, .top_p = 0.9, .top_k = 30, .seed = 1};
    const std::vector<double> expected = brute_force(logits, params);
    Sampler sampler = Sampler::create(params, logits.size()).value();
    for (int i = 0; i < 100; ++i) {
        const Sample sample = sampler.sample(logits).value();
        EXPECT_NEAR(sample.logprob, std::log(expected[static_cast<size_t>(sample.token)]), 1e-12);
    }
    const std::vector<double> unfiltered = brute_force(logits, {});
    for (size_t i = 0; i < logits.size(); ++i)
        EXPECT_NEAR(model_logprob(logits, static_cast<TokenId>(i)), std::log(unfiltered[i]), 1e-11);
}

TEST(Sampler, TheSameSeedGivesTheSameTokens) {
    const std::vector<float> logits = random_logits(1000, 1, 2);
    Sampler a = Sampler::create({.seed = 42}, 1000).value();
    Sampler b = Sampler::create({.seed = 42}, 1000).value();
    Sampler c = Sampler::create({.seed = 43}, 1000).value();
    const std::vector<TokenId> tokens = draw(a, logits, 50);
    EXPECT_EQ(tokens, draw(b, logits, 50));
    EXPECT_NE(tokens, draw(c, logits, 50));
}

// One number per token, whatever the filters: after n tokens all generators stand at the same
// place, and probabilities() or a refused row moves none.
TEST(Sampler, TheStateCountsTokens) {
    const std::vector<float> logits = random_logits(300, 2, 4);
    const std::vector<float> bad(300, kNaN);
    Rng rng(9);
    for (int i = 0; i < 25; ++i) rng.next_u64();
    for (SamplingParams params :
         {SamplingParams{}, SamplingParams{.top_k = 3}, SamplingParams{.top_p = 0.2},
          SamplingParams{.min_p = 0.5}, SamplingParams{.temperature = 0},
          SamplingParams{.greedy = true}}) {
        params.seed = 9;
        Sampler sampler = Sampler::create(params, 300).value();
        draw(sampler, logits, 25);
        EXPECT_TRUE(sampler.probabilities(logits));
        EXPECT_FALSE(sampler.sample(bad));
        EXPECT_EQ(sampler.state(), rng.state());
    }
}

TEST(Sampler, ARestoredStateContinues) {
    const std::vector<float> logits = random_logits(1000, 1, 6);
    Sampler original = Sampler::create({.top_p = 0.9, .seed = 7}, 1000).value();
    draw(original, logits, 13);
    const Sampler::State saved = original.state();
    const std::vector<TokenId> tokens = draw(original, logits, 40);
    Sampler restored = Sampler::create({.top_p = 0.9, .seed = 1234}, 1000).value();
    ASSERT_TRUE(restored.set_state(saved));
    EXPECT_EQ(draw(restored, logits, 40), tokens);
    const Result<void> refused = restored.set_state({});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt);
}

TEST(Sampler, RefusesLogitsThatAreNoDistribution) {
    for (const SamplingParams& params :
         {SamplingParams{}, SamplingParams{.top_k = 2}, SamplingParams{.greedy = true}}) {
        Sampler sampler = Sampler::create(params, 3).value();
        for (const auto& [logits, message] :
             {std::pair{std::vector<float>{1, kNaN, 2},
                        "logit of token 1 is nan, allowed are finite values and -inf"},
              std::pair{std::vector<float>{1, 2, kInf},
                        "logit of token 2 is inf, allowed are finite values and -inf"},
              std::pair{std::vector<float>{-kInf, -kInf, -kInf},
                        "all 3 logits are -inf, at least one must be finite"}}) {
            const Result<Sample> sample = sampler.sample(logits);
            ASSERT_FALSE(sample);
            EXPECT_EQ(sample.error().code, ErrorCode::kInvalidArgument);
            EXPECT_EQ(sample.error().message, message);
        }
        EXPECT_TRUE(sampler.sample(std::vector<float>{1, 2, 3}));
    }
}

TEST(Sampler, RefusesParametersOutOfRange) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    for (const auto& [params, message] :
         {std::pair{SamplingParams{.temperature = -0.5},
                    "temperature is -0.5, allowed are 0 to 100"},
          std::pair{SamplingParams{.temperature = 101}, "temperature is 101, allowed are 0 to 100"},
          std::pair{SamplingParams{.temperature = nan}, "temperature is nan, allowed are 0 to 100"},
          std::pair{SamplingParams{.top_p = 1.01}, "top_p is 1.01, allowed are 0 to 1"},
          std::pair{SamplingParams{.top_p = -0.1}, "top_p is -0.1, allowed are 0 to 1"},
          std::pair{SamplingParams{.min_p = 2}, "min_p is 2, allowed are 0 to 1"},
          std::pair{SamplingParams{.min_p = nan}, "min_p is nan, allowed are 0 to 1"},
          std::pair{SamplingParams{.top_k = -1}, "top_k is -1, allowed are 0 (off) and up"}}) {
        const Result<Sampler> sampler = Sampler::create(params, 10);
        ASSERT_FALSE(sampler) << message;
        EXPECT_EQ(sampler.error().code, ErrorCode::kInvalidArgument);
        EXPECT_EQ(sampler.error().message, message);
    }
}

}  // namespace
}  // namespace baleen
