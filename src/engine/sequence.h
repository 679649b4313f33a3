// What the scheduler knows of a request and of each of its choices. Private to engine/; engine
// thread only.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/event_queue.h"
#include "engine/scheduler.h"

namespace baleen {

struct Request;

// MTP drafts of one sequence. A wrong one costs a row of a pass, so it pauses where few are right.
struct Speculation {
    static constexpr size_t kWindow = 64;
    static constexpr int kHitsMin = 26;  // of the window: 40 %
    static constexpr size_t kPauseTokens = 512;

    std::optional<TokenId> guess;  // of the token after the last sampled one
    uint64_t hits = 0;             // the last drafts, a bit each, the newest lowest
    size_t tried = 0;              // since it last began
    size_t resumes_at = 0;         // sampled tokens

    // True: the sequence has `sampled` tokens now and pauses.
    bool record(bool hit, size_t sampled);
};

// One choice: a sequence of tokens that grows.
struct Sequence {
    enum class Phase : uint8_t {
        kDormant,  // a choice whose prompt another choice of the request runs
        kWaiting,  // for KV: never had it, or was preempted
        kPrefill,  // runs tokens it knows
        kDecode,   // has sampled its last token, which is the next to run
        kEnded
    };

    Request* request = nullptr;
    size_t choice = 0;
    Phase phase = Phase::kDormant;
    std::vector<TokenId> tokens;     // prompt and sampled ones; the session has a beginning of them
    std::optional<Session> session;  // in kPrefill and kDecode
    std::vector<size_t> snapshots;   // lengths at which prefill leaves restore points, ascending
    size_t estimated_rows = 0;       // in kWaiting: rows to run, as the cache was then

    Speculation speculation;
    std::optional<Sampler> sampler;  // from the first token on
    std::unique_ptr<TokenConstraint> constraint;
    // What may come next, [ceil(vocab_size / 64)]; empty: everything.
    std::vector<uint64_t> allowed;

    size_t sampled() const;
    // How many more may be sampled.
    int64_t tokens_left(const Config& config) const;
    size_t length() const { return static_cast<size_t>(session->length()); }
    // Tokens known and not run.
    std::span<const TokenId> pending() const { return std::span(tokens).subspan(length()); }
    bool holds_kv() const { return session.has_value(); }
};

struct Request {
    uint64_t id = 0;  // in the order of submission
    GenerateRequest asked;
    std::shared_ptr<EventQueue> events;
    std::vector<Sequence> choices;
    size_t choices_left = 0;
    bool admitted = false;
    size_t room = 0;  // events that its reader has room for, in the planning of one pass
    CacheReport cache;
};

// One token drawn for a sequence. Draws of different sequences may run on different threads.
struct Draw {
    Sequence* sequence = nullptr;
    std::span<const float> logits;  // [vocab_size]
    std::optional<TokenId> guess;   // has run already in the place of the token drawn
    Result<void> result;
    TokenEvent event;  // kToken
};

// scratch: [vocab_size], used where tokens are masked. Uses and advances the sequence's sampler.
void run_draw(Draw& draw, std::vector<float>& scratch);

// The largest logit among what may come next; the lower id of equal ones.
TokenId best_allowed(std::span<const float> logits, std::span<const uint64_t> allowed);

}  // namespace baleen
