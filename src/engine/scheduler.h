// Scheduler: many generations on one engine. Continuous batching with chunked prefill, prefix reuse
// across requests, MTP speculation, cancel, queue limits.
//
// The scheduler owns the engine thread, which alone touches sessions and KV. Any thread may submit,
// read its own stream and cancel. Tokens of a request depend on its prompt, parameters and seed,
// never on what else runs, on MTP or on what the prefix cache held.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/token.h"
#include "base/token_constraint.h"
#include "engine/engine.h"
#include "engine/sampler.h"

namespace baleen {

struct SchedulerOptions {
    size_t running_max = 64;         // sequences that hold KV at once
    size_t queue_max = 256;          // requests that wait; more: kExhausted
    size_t prefill_rows_busy = 128;  // most prefill tokens of a step in which others decode
    size_t events_max = 256;  // events a slow reader may leave unread; its sequence pauses then
    size_t cache_bytes_max = SIZE_MAX;  // pages and hot states that the prefix cache holds
    size_t snapshot_tokens = 8192;      // a long prompt leaves a restore point about this often
    bool prefix_cache = true;
};

struct GenerateRequest {
    std::vector<TokenId> prompt;
    // Prompt lengths worth a snapshot (message boundaries), ascending.
    std::vector<size_t> boundaries;
    SamplingParams sampling;
    int64_t tokens_max = 0;            // most tokens to sample, 1 and up, the stop token included
    std::vector<TokenId> stop_tokens;  // sampled, reported, and the end of the text
    size_t num_choices = 1;            // 1 to running_max; choice i samples with seed + i
    int top_logprobs = -1;             // -1: no logprobs at all; else that many alternatives, to 20
    // None, or one per choice. Moved to the engine thread.
    std::vector<std::unique_ptr<TokenConstraint>> constraints;
};

enum class FinishReason : uint8_t {
    kStop,       // a stop token, or the constraint was finished
    kLength,     // tokens_max, or the context is full
    kCancelled,  // the reader's cancel, or shutdown
    kFailed,     // TokenEvent::error says why
};

struct TokenLogprob {
    TokenId token = 0;
    double logprob = 0;  // under the model's own distribution: temperature 1, no filters, no mask
};

// What the prefix cache did for a request.
struct CacheReport {
    size_t prompt_tokens = 0;
    size_t cached_tokens = 0;    // not run again for this request
    size_t replayed_tokens = 0;  // of the cached ones: run again to rebuild the window
    // The longest prefix that any stored sequence shares with the prompt, and whether a stored
    // sequence went on differently there (else the stored one simply ended).
    size_t matched_tokens = 0;
    bool diverged = false;
};

struct TokenEvent {
    enum class Kind : uint8_t {
        kAdmitted,  // cache is filled in; prefill begins
        kPrefill,   // prefill_done of prompt_tokens
        kToken,
        kEnd,  // of one choice
    };
    Kind kind = Kind::kToken;
    size_t choice = 0;
    CacheReport cache;
    size_t prefill_done = 0;
    TokenId token = 0;
    double logprob = 0;        // of the distribution drawn from (after temperature, filters, mask)
    double model_logprob = 0;  // as TokenLogprob; 0 without top_logprobs >= 0
    std::vector<TokenLogprob> top_logprobs;
    FinishReason reason = FinishReason::kStop;
    Error error;
};

class EventQueue;  // event_queue.h

// The reader's end of one request. Dropping it cancels.
class TokenStream {
  public:
    TokenStream(TokenStream&&) noexcept;
    TokenStream& operator=(TokenStream&&) noexcept;
    ~TokenStream();

    // The next event; none when the deadline has passed. After the kEnd of every choice: none, and
    // ended().
    std::optional<TokenEvent> next(std::chrono::steady_clock::time_point deadline);
    bool ended() const;
    // From any thread: stops within one chunk; the KV computed so far stays in the prefix cache.
    void cancel();
    // A function that cancels this request even after the stream has moved or gone.
    std::function<void()> canceller() const;

  private:
    friend class Scheduler;
    explicit TokenStream(std::shared_ptr<EventQueue> events);
    std::shared_ptr<EventQueue> events_;
};

struct SchedulerStats {
    size_t queued = 0, running = 0;
    uint64_t requests = 0, rejected = 0, cancelled = 0;
    uint64_t prompt_tokens = 0, cached_tokens = 0, prefilled_tokens = 0, sampled_tokens = 0;
    uint64_t drafts_proposed = 0, drafts_accepted = 0;
    uint64_t speculation_pauses = 0;  // times that a sequence's drafts were too often wrong
    uint64_t steps = 0;               // passes over the weights
    uint64_t preemptions = 0;         // sequences that gave up their KV for others, to be run again
    uint64_t cache_entries = 0, cache_evictions = 0;
    uint64_t kv_bytes_in_use = 0, kv_bytes_max = 0, cache_bytes = 0;
};

class Scheduler {
  public:
    // Starts the engine thread. engine->options().mtp turns speculation on.
    Scheduler(std::unique_ptr<Engine> engine, const SchedulerOptions& options);
    ~Scheduler();  // as shutdown() with no grace
    Scheduler(const Scheduler&) = delete;
    Scheduler& operator=(const Scheduler&) = delete;

    // kInvalidArgument: a bad field, or a prompt that is empty or leaves no room for one token in
    // the context or the KV memory; kExhausted: the queue is full; kCancelled: shutting down.
    Result<TokenStream> submit(GenerateRequest request);

    // Refuses new requests, lets the running and queued ones finish until the deadline, cancels the
    // rest, stops the thread. Returns how many were cancelled.
    size_t shutdown(std::chrono::steady_clock::time_point deadline);

    SchedulerStats stats() const;
    const Config& config() const;
    const SchedulerOptions& options() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace baleen
