// Weights: every tensor of a checkpoint, named by role and borrowed from the mapped shards.
// Built once by Weights::load (checkpoint names are translated there and nowhere else);
// immutable, shared between sessions and threads as shared_ptr<const Weights>.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "model/config.h"
#include "tensor/weight_matrix.h"

namespace baleen {

// A vector stored as bf16 and used as f32 (all RMSNorm weights, spec 2.5), widened at load.
using NormWeight = std::vector<float>;

// Hyper-connection parameters of one site (spec 3.3); n = hc_mult.
struct HyperConnectionWeights {
    WeightMatrix fn;           // f32 [n*(n+2), n*D]; hc_head: [n, n*D]
    std::vector<float> base;   // [n*(n+2)]; hc_head: [n]
    std::vector<float> scale;  // [3]: pre, post, comb; hc_head: [1]
};

// One gated compressor (spec 5): c = head_dim, or index_head_dim inside the indexer.
struct CompressorWeights {
    WeightMatrix wkv;        // bf16 [lanes*c, D], lanes = 2 for ratio 4, else 1
    WeightMatrix wgate;      // bf16 [lanes*c, D]
    std::vector<float> ape;  // [ratio, lanes*c] position bias of the gate
    NormWeight norm;         // [c]
};

struct IndexerWeights {
    WeightMatrix wq_b;          // fp8 [index_n_heads*index_head_dim, R]
    WeightMatrix weights_proj;  // bf16 [index_n_heads, D]
    CompressorWeights compressor;
};

struct AttentionWeights {
    WeightMatrix wq_a;             // fp8 [R, D]
    NormWeight q_norm;             // [R]
    WeightMatrix wq_b;             // fp8 [H*head_dim, R]
    WeightMatrix wkv;              // fp8 [head_dim, D]
    NormWeight kv_norm;            // [head_dim]
    WeightMatrix wo_a;             // fp8 [G*o_lora_rank, H*head_dim/G], one block of rows per group
    WeightMatrix wo_b;             // fp8 [D, G*o_lora_rank]
    std::vector<float> attn_sink;  // [H]
    std::optional<CompressorWeights> compressor;  // ratio != 0
    std::optional<IndexerWeights> indexer;        // ratio == 4
};

struct ExpertWeights {
    WeightMatrix w1;  // gate [I, D]
    WeightMatrix w3;  // up   [I, D]
    WeightMatrix w2;  // down [D, I]
};

struct MoeWeights {
    WeightMatrix gate;                 // bf16 [E, D]
    std::vector<float> gate_bias;      // [E]; empty in hash layers
    std::span<const uint8_t> tid2eid;  // little-endian i64 [V, num_experts_per_tok]; hash layers
    std::vector<ExpertWeights> routed_experts;  // fp4 or fp8
    ExpertWeights shared_expert;                // fp8
};

struct LayerWeights {
    HyperConnectionWeights hc_attn;
    HyperConnectionWeights hc_ffn;
    NormWeight attn_norm;  // [D]
    NormWeight ffn_norm;   // [D]
    AttentionWeights attention;
    MoeWeights moe;
};

// The classic MTP block (spec 2.3, 9).
struct MtpWeights {
    LayerWeights layer;
    WeightMatrix e_proj;  // fp8 [D, D]
    WeightMatrix h_proj;  // fp8 [D, D]
    NormWeight enorm;     // [D]
    NormWeight hnorm;     // [D]
    NormWeight norm;      // [D]
    HyperConnectionWeights hc_head;
};

struct Weights {
    Config config;
    WeightMatrix embed;  // bf16 [V, D]
    WeightMatrix head;   // bf16 [V, D]
    NormWeight norm;     // [D]
    HyperConnectionWeights hc_head;
    std::vector<LayerWeights> layers;
    std::optional<MtpWeights> mtp;  // absent for DSpark releases and without MTP
    uint64_t bytes = 0;             // payload bytes of all tensors in the checkpoint

    std::vector<MappedFile> shards;  // what the views above borrow from
    // Tensors that could not be used in place: f32 block scales as ue8m0, and bytes that lay
    // misaligned for their dtype. Every `data` above is aligned to its element's width.
    std::vector<std::unique_ptr<uint8_t[]>> owned;

    // Opens DIR/config.json and its shards, checks the whole inventory (every missing or misshapen
    // tensor is in the one error, the first kProblemsShown spelled out), binds views. Tensors
    // beyond the inventory are ignored. Begins to read all but the routed experts into the page
    // cache.
    static constexpr size_t kProblemsShown = 20;
    static Result<std::shared_ptr<const Weights>> load(const std::string& directory);
};

}  // namespace baleen
