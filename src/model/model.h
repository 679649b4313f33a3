// Model: DeepSeek-V4's forward pass over token ids (report section 2; docs/model.md maps sections
// to files). Weights are shared and immutable; a Model owns the scratch memory of one pass at a
// time and is used from one thread (the engine's), which lends it the pool.
//
// Same bits: on CPU the logits of a token depend on the tokens before it, the weights, the
// numerics and the implementation, never on threads, chunking or what else is in the batch.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "base/token.h"
#include "kernels/impl.h"
#include "kernels/op_counts.h"
#include "kv/kv_cache.h"
#include "model/weights.h"

namespace baleen {

enum class Numerics : uint8_t {
    kOfficial,  // bf16 activations, FP8/FP4 activation quantisation points of spec 10
    kExact,     // f32 activations, nothing quantised: for comparison with bf16/f32 references
};

// Receives named tensors of a pass: name, values, shape (rows first). Called on the model's thread.
using TraceSink = std::function<void(const std::string& name, std::span<const float> values,
                                     std::span<const size_t> shape)>;

// What the attention is denied, to show what it lives by (`baleen eval recall --ablate`). Off in
// everything that serves.
enum class Ablation : uint8_t {
    kNone,
    kRandomEntries,  // CSA attends to index_topk entries drawn at random, not to the indexer's
    kWindowOnly,     // no compressed entry is attended to, neither CSA's nor HCA's
    kNoHca,          // no HCA entry is attended to
};

struct ModelOptions {
    Impl impl = best_impl();
    Numerics numerics = Numerics::kOfficial;
    Ablation ablation = Ablation::kNone;
    size_t rows_max = 512;  // most tokens of one forward() call, all sequences together
};

enum class LogitsOf : uint8_t { kNone, kLast, kAll };

// One sequence's part of a batch.
struct SequenceStep {
    KvCache* kv = nullptr;
    std::span<const TokenId> tokens;  // at positions kv->length() and on; all below vocab_size
    LogitsOf wanted = LogitsOf::kNone;
    float* logits = nullptr;  // [1 or tokens.size(), vocab_size] f32
    float* streams =
        nullptr;  // [tokens.size(), hc_mult, D]: residual after the last layer, or null
};

// Tokens of the MTP block (spec 9): row i combines the main model's streams at position
// first_position + i with the token that follows it.
struct MtpStep {
    KvCache* kv = nullptr;
    int64_t first_position = 0;
    std::span<const TokenId> next_tokens;
    const float* streams = nullptr;  // [next_tokens.size(), hc_mult, D]
    LogitsOf wanted = LogitsOf::kNone;
    float* logits = nullptr;
};

class Forward;   // one pass; forward.h
struct Scratch;  // its memory; scratch.h

class Model {
  public:
    Model(std::shared_ptr<const Weights> weights, ThreadPool& pool, const ModelOptions& options);
    ~Model();
    Model(const Model&) = delete;
    Model& operator=(const Model&) = delete;

    const Config& config() const { return weights_->config; }
    const Weights& weights() const { return *weights_; }
    const ModelOptions& options() const { return options_; }
    bool has_mtp() const { return weights_->mtp.has_value(); }

    // The KV layout this model writes under its numerics.
    std::shared_ptr<const KvLayout> kv_layout() const { return kv_layout_; }

    // Runs all layers over the batch and extends each sequence's KV. kExhausted when a sequence's
    // KV cannot grow: then no sequence has changed.
    // REQUIRES: 1 to rows_max tokens in all; the sequences' caches are distinct.
    Result<void> forward(std::span<const SequenceStep> steps);

    // Runs the MTP block. REQUIRES: has_mtp(); rows at positions below kv->length().
    void forward_mtp(std::span<const MtpStep> steps);

    void set_trace(TraceSink sink) { trace_ = std::move(sink); }
    // Adds the multiply-adds of every following pass to *counts; null: stop.
    void set_op_counts(OpCounts* counts) { counts_ = counts; }

  private:
    std::shared_ptr<const Weights> weights_;
    ThreadPool& pool_;
    ModelOptions options_;
    std::shared_ptr<const KvLayout> kv_layout_;
    std::vector<float> frequencies_window_;      // layers of ratio 0
    std::vector<float> frequencies_compressed_;  // all others: own base, YaRN
    std::unique_ptr<Scratch> scratch_;
    TraceSink trace_;
    OpCounts* counts_ = nullptr;

    friend class Forward;
};

}  // namespace baleen
