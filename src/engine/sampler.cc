#include "engine/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace baleen {
namespace {

constexpr double kTemperatureMax = 100;

Result<void> check_range(const char* name, double value, double min, double max) {
    if (value >= min && value <= max) return {};
    return make_error(ErrorCode::kInvalidArgument, "{} is {}, allowed are {} to {}", name, value,
                      min, max);
}

// Larger for larger logits, as an unsigned number; -0 equals 0.
uint32_t order_key(float logit) {
    const uint32_t bits = std::bit_cast<uint32_t>(logit + 0.0f);
    return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}

Error bad_logit(std::span<const float> logits) {
    constexpr float kLargest = std::numeric_limits<float>::max();
    for (size_t i = 0; i < logits.size(); ++i)
        if (!(logits[i] <= kLargest))
            return make_error(ErrorCode::kInvalidArgument,
                              "logit of token {} is {}, allowed are finite values and -inf", i,
                              logits[i]);
    return make_error(ErrorCode::kInvalidArgument,
                      "all {} logits are -inf, at least one must be finite", logits.size());
}

// The largest logit: finite, and the proof that all are finite or -inf.
Result<float> largest(std::span<const float> logits) {
    float max = -std::numeric_limits<float>::infinity();
    bool allowed = true;
    for (float logit : logits) {
        allowed &= logit <= std::numeric_limits<float>::max();  // false for NaN and +inf
        max = logit > max ? logit : max;
    }
    if (!allowed || std::isinf(max)) return bad_logit(logits);
    return max;
}

}  // namespace

Result<void> SamplingParams::validate() const {
    TRY(check_range("temperature", temperature, 0, kTemperatureMax));
    TRY(check_range("top_p", top_p, 0, 1));
    TRY(check_range("min_p", min_p, 0, 1));
    if (top_k < 0)
        return make_error(ErrorCode::kInvalidArgument, "top_k is {}, allowed are 0 (off) and up",
                          top_k);
    return {};
}

Result<Sampler> Sampler::create(const SamplingParams& params, size_t vocab_size) {
    TRY(params.validate());
    return Sampler(params, vocab_size);
}

Sampler::Sampler(const SamplingParams& params, size_t vocab_size)
    : params_(params), rng_(params.seed), weights_(vocab_size), histogram_(kBins) {
    CHECK_GE(vocab_size, 1u);
    CHECK_LE(vocab_size, static_cast<size_t>(std::numeric_limits<TokenId>::max()));
}

Result<Sample> Sampler::sample(std::span<const float> logits) {
    const double total = TRY(weigh(logits));
    const size_t idx = find(rng_.next_double() * total);
    return Sample{.token = static_cast<TokenId>(idx), .logprob = std::log(weights_[idx] / total)};
}

Result<std::span<const double>> Sampler::probabilities(std::span<const float> logits) {
    const double total = TRY(weigh(logits));
    for (double& weight : weights_) weight /= total;
    return std::span<const double>(weights_);
}

Result<void> Sampler::set_state(const State& state) {
    if (state == State{})
        return make_error(ErrorCode::kCorrupt, "sampler state is all zero, which no seed leads to");
    rng_.set_state(state);
    return {};
}

// Fills weights_ and returns their sum. The largest weight is exactly 1.
Result<double> Sampler::weigh(std::span<const float> logits) {
    CHECK_EQ(logits.size(), weights_.size());
    const float max = TRY(largest(logits));
    if (params_.greedy || params_.temperature == 0) {
        std::ranges::fill(weights_, 0.0);
        weights_[static_cast<size_t>(std::ranges::find(logits, max) - logits.begin())] = 1;
        return 1.0;
    }
    std::ranges::fill(weights_, 1.0);
    if (params_.top_k > 0 && static_cast<uint64_t>(params_.top_k) < logits.size())
        keep_top_k(logits);
    for (size_t i = 0; i < logits.size(); ++i)
        if (weights_[i] != 0)
            weights_[i] = std::exp((static_cast<double>(logits[i]) - max) / params_.temperature);
    if (params_.top_p < 1) keep_top_p(logits);
    // The largest p has weight 1, so the ratio to it is the weight itself.
    for (double& weight : weights_) weight = weight >= params_.min_p ? weight : 0;
    return sum();
}

// The shortest beginning of the descending order whose mass reaches target, or all of it when
// rounding keeps the sum below. Radix selection: each digit narrows the order down to the tokens
// that share one more digit of the key, so that three passes and a walk through the ties replace a
// sort. mass(idx) >= 0 is the token's share, and 0 for tokens that do not take part.
template <typename Mass>
Sampler::Cut Sampler::select(std::span<const float> logits, double target, const Mass& mass) {
    struct Digit {
        int shift;
        uint32_t mask;
    };
    uint32_t key = 0;       // the digits chosen so far
    uint32_t key_mask = 0;  // where they are
    double above = 0;       // mass of all tokens before them in the order
    for (const Digit digit : {Digit{21, 2047}, Digit{10, 2047}, Digit{0, 1023}}) {
        std::ranges::fill(histogram_, 0.0);
        for (size_t i = 0; i < logits.size(); ++i) {
            const uint32_t candidate = order_key(logits[i]);
            if ((candidate & key_mask) == key)
                histogram_[(candidate >> digit.shift) & digit.mask] += mass(i);
        }
        uint32_t chosen = 0;
        double above_chosen = above;
        for (uint32_t bin = digit.mask + 1; bin-- > 0;) {
            if (histogram_[bin] == 0) continue;
            chosen = bin;
            above_chosen = above;
            above += histogram_[bin];
            if (above >= target) break;
        }
        above = above_chosen;
        key |= chosen << digit.shift;
        key_mask |= digit.mask << digit.shift;
    }
    Cut cut{.key = key, .last_idx = 0};
    for (size_t i = 0; i < logits.size() && above < target; ++i) {
        if (order_key(logits[i]) != key || mass(i) == 0) continue;
        above += mass(i);
        cut.last_idx = i;
    }
    return cut;
}

// Zeroes all but the top_k first of the order; REQUIRES all weights to be 1.
void Sampler::keep_top_k(std::span<const float> logits) {
    const Cut cut = select(logits, static_cast<double>(params_.top_k), [](size_t) { return 1.0; });
    for (size_t i = 0; i < logits.size(); ++i) {
        const uint32_t key = order_key(logits[i]);
        weights_[i] = key > cut.key || (key == cut.key && i <= cut.last_idx) ? 1.0 : 0.0;
    }
}

void Sampler::keep_top_p(std::span<const float> logits) {
    // A target of 0 would be reached by no token at all; the first one always stays.
    const double target =
        std::max(params_.top_p * sum(), std::numeric_limits<double>::denorm_min());
    const Cut cut = select(logits, target, [this](size_t i) { return weights_[i]; });
    for (size_t i = 0; i < logits.size(); ++i) {
        const uint32_t key = order_key(logits[i]);
        if (key < cut.key || (key == cut.key && i > cut.last_idx)) weights_[i] = 0;
    }
}

// In id order, as find() adds: the two sums agree to the bit.
double Sampler::sum() const {
    double total = 0;
    for (double weight : weights_) total += weight;
    return total;
}

// The first token at which the running sum passes target. target can reach the whole sum by
// rounding: the last token that has a weight is meant then.
size_t Sampler::find(double target) const {
    double running = 0;
    size_t last = 0;
    for (size_t i = 0; i < weights_.size(); ++i) {
        if (weights_[i] == 0) continue;
        running += weights_[i];
        last = i;
        if (running > target) break;
    }
    return last;
}

LogSoftmax::LogSoftmax(std::span<const float> logits) : max(*std::ranges::max_element(logits)) {
    double total = 0;
    for (float logit : logits) total += std::exp(static_cast<double>(logit) - max);
    log_total = std::log(total);
}

double model_logprob(std::span<const float> logits, TokenId token) {
    CHECK_GE(token, 0);
    CHECK_LT(static_cast<size_t>(token), logits.size());
    return LogSoftmax(logits)(logits[static_cast<size_t>(token)]);
}

}  // namespace baleen
