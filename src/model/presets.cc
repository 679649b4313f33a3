#include "model/presets.h"

namespace baleen {
namespace {

// What both models share; the fields that differ are left at zero.
Config common_config() {
    return {
        .vocab_size = 129280,
        .num_hash_layers = 3,
        .head_dim = 512,
        .qk_rope_head_dim = 64,
        .o_lora_rank = 1024,
        .sliding_window = 128,
        .compress_ratios = {},
        .rope_theta = 10000,
        .compress_rope_theta = 160000,
        .rope_scaling = Yarn{.factor = 16,
                             .original_max_position_embeddings = 65536,
                             .beta_fast = 32,
                             .beta_slow = 1},
        .max_position_embeddings = 1048576,
        .index_n_heads = 64,
        .index_head_dim = 128,
        .num_experts_per_tok = 6,
        .swiglu_limit = 10,
        .hc_mult = 4,
        .hc_sinkhorn_iters = 20,
        .hc_eps = 1e-6,
        .rms_norm_eps = 1e-6,
        .expert_dtype = ExpertDType::kFp4,
        .bos_token_id = 0,
        .eos_token_id = 1,
        .dspark = std::nullopt,
    };
}

// first, first, then CSA and HCA in turn, a last CSA layer, and the window-only MTP block
// (spec 1.2).
std::vector<int64_t> compress_ratios(int64_t first, int num_pairs) {
    std::vector<int64_t> ratios = {first, first};
    for (int i = 0; i < num_pairs; ++i) ratios.insert(ratios.end(), {4, 128});
    ratios.insert(ratios.end(), {4, 0});
    return ratios;
}

}  // namespace

Config flash_config() {
    Config config = common_config();
    config.hidden_size = 4096;
    config.num_hidden_layers = 43;
    config.num_attention_heads = 64;
    config.q_lora_rank = 1024;
    config.o_groups = 8;
    config.index_topk = 512;
    config.n_routed_experts = 256;
    config.moe_intermediate_size = 2048;
    config.routed_scaling_factor = 1.5;
    config.compress_ratios = compress_ratios(0, 20);
    return config;
}

Config pro_config() {
    Config config = common_config();
    config.hidden_size = 7168;
    config.num_hidden_layers = 61;
    config.num_attention_heads = 128;
    config.q_lora_rank = 1536;
    config.o_groups = 16;
    config.index_topk = 1024;
    config.n_routed_experts = 384;
    config.moe_intermediate_size = 3072;
    config.routed_scaling_factor = 2.5;
    config.compress_ratios = compress_ratios(128, 29);
    return config;
}

}  // namespace baleen
