// Engine: one loaded model and the sessions that run on it. Token ids in, logits out; no text.
//
// An Engine and all its sessions are used from one thread. Sessions hold KV only; forking and
// snapshots share it (kv/kv_cache.h). Logits of a token have the same bits however its prompt was
// chunked, batched, forked, restored or rewound.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
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

// Where a sequence can be taken up again (Session::resume): its KV, not its tokens or logits.
// Shares pages with the session; holds one copy of the hot state once the session goes on.
class RestorePoint {
  public:
    int64_t position() const { return kv_.length(); }
    const KvCache& kv() const { return kv_; }
    // What it holds besides pages.
    size_t hot_bytes() const { return kv_.layout().hot_bytes() + carry_.size() * sizeof(float); }

  private:
    friend class Session;
    RestorePoint(KvCache kv, std::vector<float> carry)
        : kv_(std::move(kv)), carry_(std::move(carry)) {}
    KvCache kv_;
    std::vector<float> carry_;  // as Session's
};

// What a session is at one position: restorable at any later time, in any session of the engine.
class Snapshot {
  public:
    int64_t position() const { return point_.position(); }
    size_t bytes() const { return point_.kv().bytes(); }

  private:
    friend class Session;
    Snapshot(RestorePoint point, std::vector<TokenId> tokens, std::vector<float> logits)
        : point_(std::move(point)), tokens_(std::move(tokens)), logits_(std::move(logits)) {}
    RestorePoint point_;
    std::vector<TokenId> tokens_;
    std::vector<float> logits_;  // [vocab_size] after the last token, if they were there
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

    // Logits after the last token, [vocab_size]. REQUIRES: the last pass computed them.
    std::span<const float> logits() const { return logits_at(length() - 1); }
    // Logits after the token at `position`, for all that the last pass computed.
    std::span<const float> logits_at(int64_t position) const;

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

    // Drops the last token at no cost, exactly. REQUIRES: can_drop_last().
    void drop_last();
    // Once after every extension; not in the middle of a replay.
    bool can_drop_last() const { return kv_.can_drop_last(); }

    // REQUIRES: !is_replaying().
    RestorePoint restore_point() const;
    // Becomes the sequence of `prefix`, the first tokens of the point's sequence, as far as the
    // point goes: afterwards length() == resumed_length(point, prefix.size()), and the caller
    // extends with the rest of prefix before anything else. Logits come with the next extension.
    void resume(const RestorePoint& point, std::span<const TokenId> prefix);
    static int64_t resumed_length(const RestorePoint& point, int64_t prefix_tokens);
    // The rest of a resumed prefix has not been run again yet.
    bool is_replaying() const { return kv_.is_replaying(); }

    // Benchmarks only: see KvCache::fill_synthetic. The token history is filled with token 0.
    Result<void> fill_synthetic(int64_t tokens, uint64_t seed);

    int64_t length() const { return kv_.length(); }
    std::span<const TokenId> tokens() const { return tokens_; }
    // KV bytes held; pages shared with others are counted in full.
    size_t bytes() const { return kv_.bytes(); }
    const KvCache& kv() const { return kv_; }

  private:
    friend class Engine;
    explicit Session(Engine& engine);
    Result<void> check(std::span<const TokenId> tokens) const;
    Result<void> run(std::span<const TokenId> tokens, const Progress& progress, size_t chunk_tokens,
                     const LogitsSink* sink);

    void begin_replay(int64_t position);
    size_t carried_rows() const;
    void accept_pass(std::span<const TokenId> tokens, size_t logits_rows);

    Engine* engine_;
    KvCache kv_;
    std::vector<TokenId> tokens_;
    std::vector<float> logits_;  // [logits_rows_, vocab_size], may be longer
    int64_t logits_first_ = 0;   // position of the first row
    size_t logits_rows_ = 0;
    // For the MTP block: the streams, [rows, hc_mult, D], of the newest tokens whose rows wait for
    // the token that follows. One row; two after a guess; none where the row cannot be run again.
    std::vector<float> carry_;
    std::optional<TokenId> drafted_after_;  // the last row has been run with this next token
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
    enum class LastToken : uint8_t {
        kCertain,
        kGuess  // may be dropped again; there are other tokens before it
    };
    struct Extension {
        Session* session = nullptr;
        std::span<const TokenId> tokens;
        LogitsOf wanted = LogitsOf::kLast;
        LastToken last = LastToken::kCertain;
    };
    Result<void> extend_batch(std::span<const Extension> extensions);

    // Session::draft_logits for several sessions at once. REQUIRES: distinct sessions, extended or
    // resumed at the very end of a point.
    struct Draft {
        Session* session = nullptr;
        TokenId next = 0;
        std::span<float> logits;  // [vocab_size]
    };
    void draft_batch(std::span<const Draft> drafts);

    Model& model() { return model_; }
    ThreadPool& pool() { return pool_; }
    const PagePool& pages() const { return *pages_; }
    const Config& config() const { return model_.config(); }
    const EngineOptions& options() const { return options_; }
    size_t vocab_size() const { return static_cast<size_t>(config().vocab_size); }

  private:
    friend class Session;
    size_t stream_floats() const;
    Result<void> run_batch(std::span<const Extension> extensions, float* logits);
    void settle_mtp_rows(const Extension& extension, float* streams);
    void run_mtp();

    EngineOptions options_;
    ThreadPool pool_;
    Model model_;
    std::shared_ptr<PagePool> pages_;
    // Streams of one pass, each sequence's after its carried ones: [3 * rows_max, hc_mult, D].
    Buffer<float> streams_;
    std::vector<SequenceStep> steps_;                  // of one pass
    std::vector<MtpStep> mtp_steps_;                   // of one pass, before they are cut to size
    std::vector<MtpStep> mtp_slice_;                   // at most rows_max rows of them
    std::vector<std::array<TokenId, 2>> draft_nexts_;  // next tokens of a draft's rows
    Buffer<float> all_logits_;                         // [rows of one slice, vocab_size]
};

}  // namespace baleen
