// Engine: one loaded model and the sessions that run on it. Token ids in, logits out; no text.
//
// An Engine and all its sessions are used from one thread. Sessions hold KV only; forking and
// snapshots share it (kv/kv_cache.h). Logits of a token have the same bits however its prompt was
// chunked, batched, forked, restored or rewound.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "base/token.h"
#include "model/model.h"

namespace baleen {

class Engine;

struct EngineOptions {
    size_t num_threads = available_processors();
    ModelOptions model;
    size_t kv_bytes_max = SIZE_MAX;  // all pages of all sessions; beyond it: kExhausted
    bool mtp = false;  // keep the MTP block's window up to date, so that draft_logits() works
};

// Told after every chunk of a long extend: tokens done so far and in all. False cancels.
using Progress = std::function<bool(size_t done, size_t total)>;

// What a session is at one position: restorable at any later time, in any session of the engine.
// Shares pages with the session; holds one copy of the hot state once the session goes on.
class Snapshot {
  public:
    int64_t position() const { return kv_.length(); }
    size_t bytes() const { return kv_.bytes(); }

  private:
    friend class Session;
    Snapshot(KvCache kv, std::vector<TokenId> tokens, std::vector<float> logits,
             std::vector<float> carry)
        : kv_(std::move(kv)),
          tokens_(std::move(tokens)),
          logits_(std::move(logits)),
          carry_(std::move(carry)) {}
    KvCache kv_;
    std::vector<TokenId> tokens_;
    std::vector<float> logits_;
    std::vector<float> carry_;
};

// One sequence of tokens and its KV.
class Session {
  public:
    Session(Session&&) = default;
    Session& operator=(Session&&) = default;

    // Appends tokens, in chunks of at most the model's rows_max (or chunk_tokens, if smaller).
    // kInvalidArgument for an id outside the vocabulary; kExhausted when the context or the KV
    // memory is full; kCancelled by progress. On an error the session stays at the last completed
    // chunk; nothing of it is lost.
    Result<void> extend(std::span<const TokenId> tokens, const Progress& progress = nullptr,
                        size_t chunk_tokens = SIZE_MAX);
    // The same, and the logits of every new token, handed out chunk by chunk: [n, vocab_size].
    using LogitsSink = std::function<Result<void>(std::span<const float> logits)>;
    Result<void> extend_all_logits(std::span<const TokenId> tokens, const LogitsSink& sink,
                                   size_t chunk_tokens = SIZE_MAX);

    // Logits after the last token, [vocab_size]. REQUIRES: length() > 0.
    std::span<const float> logits() const;

    // MTP proposal: logits of the token after `next`, `next` being the candidate for position
    // length(). REQUIRES: EngineOptions::mtp, length() > 0. Does not change the session.
    Result<void> draft_logits(TokenId next, std::span<float> logits);

    // An independent session with the same history; pages are shared.
    Session fork() const;

    Snapshot snapshot() const;
    void restore(const Snapshot& snapshot);

    // Cuts the session back to its first `position` tokens. Compressed entries stay; the window and
    // partial blocks are recomputed from at most (layers + 1) * window + 256 earlier tokens.
    // On an error the session is unchanged.
    Result<void> rewind(int64_t position);

    // Benchmarks only: see KvCache::fill_synthetic. The token history is filled with token 0.
    Result<void> fill_synthetic(int64_t tokens, uint64_t seed);

    int64_t length() const { return kv_.length(); }
    std::span<const TokenId> tokens() const { return tokens_; }
    // KV bytes held; pages shared with others are counted in full.
    size_t bytes() const { return kv_.bytes(); }

  private:
    friend class Engine;
    explicit Session(Engine& engine);
    Result<void> check(std::span<const TokenId> tokens) const;
    Result<void> run(std::span<const TokenId> tokens, const Progress& progress, size_t chunk_tokens,
                     const LogitsSink* sink);

    Engine* engine_;
    KvCache kv_;
    std::vector<TokenId> tokens_;
    std::vector<float> logits_;  // [vocab_size] after the last token; empty before the first
    std::vector<float> carry_;   // [hc_mult, D] streams of the last token, for the MTP block
};

class Engine {
  public:
    // directory: config.json and safetensors (model/weights.h).
    static Result<std::unique_ptr<Engine>> load(const std::string& directory,
                                                const EngineOptions& options);
    Engine(std::shared_ptr<const Weights> weights, const EngineOptions& options);

    Session new_session() { return Session(*this); }

    // Extends several sessions in one pass over the weights. All token counts together are at most
    // model().options().rows_max. kExhausted: no session has changed.
    struct Extension {
        Session* session = nullptr;
        std::span<const TokenId> tokens;
    };
    Result<void> extend_batch(std::span<const Extension> extensions);

    Model& model() { return model_; }
    const Config& config() const { return model_.config(); }
    const EngineOptions& options() const { return options_; }
    size_t vocab_size() const { return static_cast<size_t>(config().vocab_size); }

  private:
    friend class Session;
    size_t stream_floats() const;

    EngineOptions options_;
    ThreadPool pool_;
    Model model_;
    std::shared_ptr<PagePool> pages_;
    // Streams of one pass, after the carried one: [1 + rows_max, hc_mult, D].
    Buffer<float> streams_;
    Buffer<float> all_logits_;  // [rows of one slice, vocab_size]
};

}  // namespace baleen
