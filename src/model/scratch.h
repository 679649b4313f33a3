// Memory of one forward pass, allocated once for rows_max rows and reused. Private to model/.
// M is rows_max, n hc_mult, D hidden_size, H heads, d head_dim, R q_lora_rank, k experts per token.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/attention.h"
#include "kernels/index_score.h"
#include "kernels/linear.h"
#include "kernels/topk.h"
#include "model/model.h"
#include "tensor/buffer.h"

namespace baleen {

// Memory of one thread of the pool.
struct ThreadScratch {
    AttentionScratch attention;
    TopkScratch topk;
    std::vector<const uint8_t*> rows;    // encoded KV rows a query attends to
    std::vector<const float*> kv_items;  // items of a compressor block
    std::vector<const float*> gate_items;
    Buffer<float> entry;    // [max(d, index_head_dim)]
    Buffer<float> cos_sin;  // [rope_dim]
};

// One row of the batch: a token at its place.
struct BatchRow {
    TokenId token = 0;
    int64_t position = 0;
    size_t sequence_idx = 0;
};

// Consecutive rows of one sequence.
struct BatchSequence {
    KvCache* kv = nullptr;
    size_t first_row = 0;
    size_t num_rows = 0;
    int64_t first_position = 0;

    int64_t end_position() const { return first_position + static_cast<int64_t>(num_rows); }
};

struct Scratch {
    Scratch(const Config& config, const ModelOptions& options, const KvLayout& layout,
            size_t num_threads);

    std::vector<BatchRow> rows;  // the batch
    std::vector<BatchSequence> sequences;

    // Residual streams and what a sub-layer reads and writes.
    Buffer<float> streams;  // [M, n, D]
    Buffer<float> mixes;    // [M, n*(n+2)]
    Buffer<float> pre;      // [M, n]
    Buffer<float> post;     // [M, n]
    Buffer<float> comb;     // [M, n, n]
    Buffer<float> x;        // [M, D] normed input of the sub-layer
    Buffer<float> y;        // [M, D] output of the sub-layer
    LinearInput x_plain;    // bf16 (official) or f32
    LinearInput x_fp8;      // quantised in blocks of 128 (official) or f32

    // Attention.
    Buffer<float> cos_sin_window;      // [M, rope_dim]
    Buffer<float> cos_sin_compressed;  // [M, rope_dim]
    Buffer<float> q_lora;              // [M, R]
    LinearInput q_lora_fp8;
    Buffer<float> q;                // [M, H, d]
    Buffer<float> kv;               // [M, d]
    Buffer<uint8_t> window_rows;    // [M, row_bytes]
    Buffer<float> compressor_kv;    // [M, lanes*d]
    Buffer<float> compressor_gate;  // [M, lanes*d]
    Buffer<float> attention_out;    // [M, H, d]
    LinearInput attention_out_plain;
    Buffer<float> o_lora;  // [M, G*o_lora_rank]
    LinearInput o_lora_fp8;

    // Indexer.
    Buffer<float> index_q;                       // [M, index_n_heads, index_head_dim]
    Buffer<float> index_weights;                 // [M, index_n_heads]
    Buffer<float> index_compressor_kv;           // [M, 2*index_head_dim]
    Buffer<float> index_compressor_gate;         // [M, 2*index_head_dim]
    std::vector<IndexQuery> index_queries;       // [M]
    Buffer<float> index_scores;                  // a tile of rows x visible entries
    std::vector<std::vector<int32_t>> selected;  // [M] entries, ascending

    // MoE. A pair is one (row, routed expert); pairs are sorted by expert, then by row.
    Buffer<float> router_scores;        // [M, E]
    std::vector<int32_t> row_experts;   // [M, k] ascending expert ids
    std::vector<float> row_weights;     // [M, k]
    std::vector<int32_t> row_pairs;     // [M, k] pair indices in that order
    std::vector<int32_t> expert_begin;  // [E+1] first pair of each expert
    std::vector<int32_t> pair_row;      // [M*k]
    std::vector<float> pair_weight;     // [M*k]
    std::vector<int32_t> iota;          // [M*k] 0, 1, 2, ...
    Buffer<float> expert_gate;          // [M*k, I]
    Buffer<float> expert_up;            // [M*k, I]
    LinearInput expert_hidden_fp8;      // [M*k, I]
    Buffer<float> expert_out;           // [M*k, D]
    Buffer<float> shared_gate;          // [M, I]
    Buffer<float> shared_up;            // [M, I]
    LinearInput shared_hidden_fp8;      // [M, I]
    Buffer<float> shared_out;           // [M, D]

    // Head.
    std::vector<int32_t> head_rows;  // rows of the batch whose logits are wanted
    std::vector<float*> head_out;    // where each of them goes: [vocab_size]
    Buffer<float> head_logits;       // [M, vocab_size], for rows that go to different places

    // MTP input.
    Buffer<float> mtp_hidden;     // [M*n, D]
    LinearInput mtp_embed_fp8;    // [M, D]
    LinearInput mtp_hidden_fp8;   // [M*n, D]
    Buffer<float> mtp_embed_out;  // [M, D]

    std::vector<LinearJob> jobs;         // reserved for the largest set
    std::vector<LinearScratch> linear;   // per thread
    std::vector<ThreadScratch> threads;  // per thread
};

}  // namespace baleen
