#include "model/scratch.h"

#include <algorithm>
#include <numeric>

namespace baleen {
namespace {

// Index scores held at once: bounds memory whatever the context (spec 14, I6).
constexpr size_t kIndexScoreFloats = size_t{4} << 20;

size_t as_size(int64_t value) {
    return static_cast<size_t>(value);
}

}  // namespace

Scratch::Scratch(const Config& c, const ModelOptions& options, const KvLayout& layout,
                 size_t num_threads) {
    const bool official = options.numerics == Numerics::kOfficial;
    const auto input = [&](size_t num_rows, size_t cols) {
        return LinearInput(
            num_rows, cols,
            LinearInput::storage_for(options.impl,
                                     official ? ActivationQuant::kBf16 : ActivationQuant::kNone));
    };
    const size_t m = options.rows_max, n = as_size(c.hc_mult), d_model = as_size(c.hidden_size);
    const size_t heads_dim = as_size(c.num_attention_heads * c.head_dim);
    const size_t head_dim = as_size(c.head_dim), rope = as_size(c.qk_rope_head_dim);
    const size_t rank = as_size(c.q_lora_rank), o_rank = as_size(c.o_groups * c.o_lora_rank);
    const size_t inter = as_size(c.moe_intermediate_size), experts = as_size(c.n_routed_experts);
    const size_t pairs = m * as_size(c.num_experts_per_tok);
    const bool has_indexer = std::ranges::find(c.compress_ratios, 4) != c.compress_ratios.end();
    const size_t index_dim = has_indexer ? as_size(c.index_head_dim) : 0;
    const size_t index_heads = has_indexer ? as_size(c.index_n_heads) : 0;

    rows.reserve(m);
    sequences.reserve(m);
    streams = Buffer<float>(m * n * d_model);
    mixes = Buffer<float>(m * n * (n + 2));
    pre = Buffer<float>(m * n);
    post = Buffer<float>(m * n);
    comb = Buffer<float>(m * n * n);
    x = Buffer<float>(m * d_model);
    y = Buffer<float>(m * d_model);
    x_plain = input(m, d_model);
    x_fp8 = input(m, d_model);

    cos_sin_window = Buffer<float>(m * rope);
    cos_sin_compressed = Buffer<float>(m * rope);
    q_lora = Buffer<float>(m * rank);
    q_lora_fp8 = input(m, rank);
    q = Buffer<float>(m * heads_dim);
    kv = Buffer<float>(m * head_dim);
    window_rows = Buffer<uint8_t>(m * layout.spec.row.row_bytes());
    compressor_kv = Buffer<float>(m * 2 * head_dim);
    compressor_gate = Buffer<float>(m * 2 * head_dim);
    attention_out = Buffer<float>(m * heads_dim);
    attention_out_plain = input(m, heads_dim);
    o_lora = Buffer<float>(m * o_rank);
    o_lora_fp8 = input(m, o_rank);

    index_q = Buffer<float>(m * index_heads * index_dim);
    index_weights = Buffer<float>(m * index_heads);
    index_compressor_kv = Buffer<float>(m * 2 * index_dim);
    index_compressor_gate = Buffer<float>(m * 2 * index_dim);
    index_queries.resize(has_indexer ? m : 0);
    index_scores = Buffer<float>(
        has_indexer ? std::max(kIndexScoreFloats, as_size(c.max_position_embeddings) / 4 + 128)
                    : 0);
    selected.resize(m);
    for (auto& entries : selected) entries.reserve(has_indexer ? as_size(c.index_topk) : 0);

    router_scores = Buffer<float>(m * experts);
    row_experts.resize(pairs);
    row_weights.resize(pairs);
    row_pairs.resize(pairs);
    expert_begin.resize(experts + 1);
    pair_row.resize(pairs);
    pair_weight.resize(pairs);
    iota.resize(pairs);
    std::iota(iota.begin(), iota.end(), 0);
    expert_gate = Buffer<float>(pairs * inter);
    expert_up = Buffer<float>(pairs * inter);
    expert_hidden_fp8 = input(pairs, inter);
    expert_out = Buffer<float>(pairs * d_model);
    shared_gate = Buffer<float>(m * inter);
    shared_up = Buffer<float>(m * inter);
    shared_hidden_fp8 = input(m, inter);
    shared_out = Buffer<float>(m * d_model);

    head_rows.reserve(m);
    head_out.reserve(m);
    head_logits = Buffer<float>(m * as_size(c.vocab_size));

    if (c.num_mtp_stages() > 0) {
        mtp_hidden = Buffer<float>(m * n * d_model);
        mtp_embed_fp8 = input(m, d_model);
        mtp_hidden_fp8 = input(m * n, d_model);
        mtp_embed_out = Buffer<float>(m * d_model);
    }

    jobs.reserve(2 * experts + 16 + as_size(c.o_groups));
    linear.resize(num_threads);
    for (LinearScratch& s : linear) s.tile = Buffer<float>(kLinearTileFloats);
    threads.resize(num_threads);
    for (ThreadScratch& s : threads) {
        s.entry = Buffer<float>(std::max(head_dim, index_dim));
        s.cos_sin = Buffer<float>(rope);
        s.rows.reserve(as_size(c.sliding_window + c.index_topk) + 8192);
        s.kv_items.reserve(as_size(kPageTokens));
        s.gate_items.reserve(as_size(kPageTokens));
    }
}

}  // namespace baleen
