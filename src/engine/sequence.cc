#include "engine/sequence.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "base/check.h"

namespace baleen {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

bool is_allowed(std::span<const uint64_t> allowed, size_t token) {
    return allowed.empty() || (allowed[token / 64] >> (token % 64) & 1) != 0;
}

// The k largest logits, equal ones by the lower id. A heap of k whose worst is on top: of V tokens
// few enter it.
std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, size_t k,
                                       const LogSoftmax& log_softmax) {
    struct Entry {
        float logit;
        size_t token;
    };
    const auto better = [](const Entry& a, const Entry& b) {
        return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
    };
    std::vector<Entry> best;
    for (size_t token = 0; token < logits.size() && k > 0; ++token) {
        const Entry entry{logits[token], token};
        if (best.size() == k) {
            if (!better(entry, best.front())) continue;
            std::ranges::pop_heap(best, better);
            best.pop_back();
        }
        best.push_back(entry);
        std::ranges::push_heap(best, better);
    }
    std::ranges::sort(best, better);
    std::vector<TokenLogprob> top;
    for (const Entry& entry : best)
        top.push_back(
            {.token = static_cast<TokenId>(entry.token), .logprob = log_softmax(entry.logit)});
    return top;
}

// logits with -inf where a token may not come.
std::span<const float> masked(std::span<const float> logits, std::span<const uint64_t> allowed,
                              std::vector<float>& scratch) {
    if (allowed.empty()) return logits;
    scratch.resize(logits.size());
    for (size_t token = 0; token < logits.size(); ++token)
        scratch[token] = is_allowed(allowed, token) ? logits[token] : kNever;
    return scratch;
}

Result<Sample> draw_token(Sequence& sequence, std::span<const float> logits,
                          std::vector<float>& scratch) {
    if (!sequence.sampler) {
        SamplingParams params = sequence.request->asked.sampling;
        params.seed += sequence.choice;
        sequence.sampler.emplace(TRY(Sampler::create(params, logits.size())));
    }
    return sequence.sampler->sample(masked(logits, sequence.allowed, scratch));
}

}  // namespace

bool Speculation::record(bool hit, size_t sampled) {
    hits = hits << 1 | (hit ? 1 : 0);
    if (++tried < kWindow || std::popcount(hits) >= kHitsMin) return false;
    hits = 0;
    tried = 0;
    resumes_at = sampled + kPauseTokens;
    return true;
}

size_t Sequence::sampled() const {
    return tokens.size() - request->asked.prompt.size();
}

int64_t Sequence::tokens_left(const Config& config) const {
    return std::min(request->asked.tokens_max - static_cast<int64_t>(sampled()),
                    config.max_position_embeddings - static_cast<int64_t>(tokens.size()));
}

void run_draw(Draw& draw, std::vector<float>& scratch) {
    Sequence& sequence = *draw.sequence;
    Result<Sample> sample = draw_token(sequence, draw.logits, scratch);
    if (!sample) {
        draw.result = std::move(sample).error().in("sampling");
        return;
    }
    draw.event.kind = TokenEvent::Kind::kToken;
    draw.event.choice = sequence.choice;
    draw.event.token = sample->token;
    draw.event.logprob = sample->logprob;
    const int top = sequence.request->asked.top_logprobs;
    if (top < 0) return;
    const LogSoftmax log_softmax(draw.logits);
    draw.event.model_logprob = log_softmax(draw.logits[static_cast<size_t>(sample->token)]);
    draw.event.top_logprobs = top_logprobs(draw.logits, static_cast<size_t>(top), log_softmax);
}

TokenId best_allowed(std::span<const float> logits, std::span<const uint64_t> allowed) {
    size_t best = 0;
    float best_logit = kNever;
    for (size_t token = 0; token < logits.size(); ++token)
        if (logits[token] > best_logit && is_allowed(allowed, token)) {
            best = token;
            best_logit = logits[token];
        }
    return static_cast<TokenId>(best);
}

}  // namespace baleen
