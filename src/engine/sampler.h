// Sampler: draws a token from logits. One per sequence, owned and called by the engine's thread.
//
// The distribution, in this order (all in f64):
//   1. temperature  p = softmax(logits / temperature); 0 means greedy, the largest logit alone
//   2. top-k        the top_k most probable tokens stay
//   3. top-p        p renormalised over what stays; then the fewest most probable tokens whose sum
//                   reaches top_p stay, at least one
//   4. min-p        tokens with p >= min_p * (largest p) stay
// and p is renormalised. "More probable" is by logit, equal logits by the lower id, so every filter
// keeps one well-defined set. The token is found by inverting the cumulative sum in id order with
// one number from the generator. Exactly one number is drawn per token sampled, greedy included:
// the generator's state depends on the seed and the number of tokens, not on logits or filters.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/rng.h"
#include "base/token.h"

namespace baleen {

// Defaults are those of the checkpoints' generation_config.json.
struct SamplingParams {
    double temperature = 1;  // 0 to 100; 0 is greedy
    double top_p = 1;        // 0 to 1; 1 is off
    int64_t top_k = 0;       // 0 and up; 0 is off, and so is any k not below the vocabulary
    double min_p = 0;        // 0 to 1; 0 is off
    uint64_t seed = 0;
    bool greedy = false;  // whatever the temperature

    // kInvalidArgument naming the field, its value and the range.
    Result<void> validate() const;
};

struct Sample {
    TokenId token = 0;
    double logprob = 0;  // under the distribution drawn from, after temperature and filters
};

class Sampler {
  public:
    using State = std::array<uint64_t, 4>;

    // Allocates everything: 8 bytes per token of the vocabulary (1 MB at 129280) and 16 KB.
    static Result<Sampler> create(const SamplingParams& params, size_t vocab_size);

    // logits: [vocab_size]. kInvalidArgument for NaN, +inf, or nothing but -inf; no number is drawn
    // then. -inf excludes a token. O(vocab_size), no allocation: at 129280 about 0.7 ms, 1.3 ms
    // with top-p, most of it exp.
    Result<Sample> sample(std::span<const float> logits);

    // The distribution that sample() would draw from: [vocab_size], sums to 1, zero where filtered.
    // Borrowed until the next call of either. Draws nothing.
    Result<std::span<const double>> probabilities(std::span<const float> logits);

    // The generator, for a session that is saved and continued.
    const State& state() const { return rng_.state(); }
    // kCorrupt for the all-zero state, which no generator reaches.
    Result<void> set_state(const State& state);

  private:
    static constexpr size_t kBins = 2048;  // the widest radix digit, 11 bits

    // The descending order by logit, then ascending by id, ended after one token.
    struct Cut {
        uint32_t key;
        size_t last_idx;
    };

    Sampler(const SamplingParams& params, size_t vocab_size);
    Result<double> weigh(std::span<const float> logits);
    template <typename Mass>
    Cut select(std::span<const float> logits, double target, const Mass& mass);
    void keep_top_k(std::span<const float> logits);
    void keep_top_p(std::span<const float> logits);
    size_t find(double target) const;
    double sum() const;

    SamplingParams params_;
    Rng rng_;
    std::vector<double> weights_;    // [vocab_size] unnormalised p; 0: filtered
    std::vector<double> histogram_;  // [kBins]
};

// log softmax of one row of logits, the sum taken once.
struct LogSoftmax {
    explicit LogSoftmax(std::span<const float> logits);
    double operator()(float logit) const { return static_cast<double>(logit) - max - log_total; }
    double max;
    double log_total;
};

// log softmax(logits)[token]: the model's own, before temperature and filters.
// REQUIRES: logits that sample() accepts, 0 <= token < logits.size().
double model_logprob(std::span<const float> logits, TokenId token);

}  // namespace baleen
