// Config: what config.json says of a DeepSeek-V4 checkpoint (spec section 1), checked.
// Field names are the keys of config.json. Nothing here has a default that differs from a stated
// one: a missing key that matters is an error. Immutable after load; read from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace baleen {

inline constexpr size_t kConfigBytesMax = size_t{256} << 10;

// How the routed experts' weights are stored (spec 1.1, 2.4).
enum class ExpertDType { kFp4, kFp8 };

// What a layer's compress_ratio makes of it (spec 1.2).
enum class AttentionKind {
    kWindow,  // ratio 0: sliding window only
    kCsa,     // ratio 4: overlapping compressor and lightning indexer
    kHca,     // any other ratio: plain compressor, every visible entry attended
};

// YaRN frequency interpolation (spec 4.3); used by layers with ratio != 0 only.
struct Yarn {
    double factor = 1;
    int64_t original_max_position_embeddings = 0;
    double beta_fast = 32;
    double beta_slow = 1;
};

// Keys of the 0731 / 0813 / DSpark releases (spec 13.1).
struct DSpark {
    int64_t block_size = 0;
    int64_t noise_token_id = 0;
    std::vector<int64_t> target_layer_ids;
    int64_t markov_rank = 0;
};

struct Config {
    int64_t vocab_size = 0;
    int64_t hidden_size = 0;
    int64_t num_hidden_layers = 0;
    int64_t num_hash_layers = 0;
    int64_t num_attention_heads = 0;
    int64_t head_dim = 0;
    int64_t qk_rope_head_dim = 0;
    int64_t q_lora_rank = 0;
    int64_t o_groups = 0;
    int64_t o_lora_rank = 0;
    int64_t sliding_window = 0;
    std::vector<int64_t> compress_ratios;  // num_hidden_layers entries, then one per MTP stage
    double rope_theta = 0;
    double compress_rope_theta = 0;
    std::optional<Yarn> rope_scaling;
    int64_t max_position_embeddings = 0;
    int64_t index_n_heads = 0;
    int64_t index_head_dim = 0;
    int64_t index_topk = 0;
    int64_t n_routed_experts = 0;
    int64_t num_experts_per_tok = 0;
    int64_t moe_intermediate_size = 0;
    double routed_scaling_factor = 1;
    double swiglu_limit = 0;
    int64_t hc_mult = 0;
    int64_t hc_sinkhorn_iters = 0;
    double hc_eps = 0;
    double rms_norm_eps = 0;
    ExpertDType expert_dtype = ExpertDType::kFp4;
    // False when config.json has no expert_dtype (the first Flash upload, and Base): kFp4 is then
    // an assumption, and Weights::load reads the truth off the checkpoint's expert tensors.
    bool expert_dtype_stated = false;
    int64_t bos_token_id = 0;
    int64_t eos_token_id = 1;
    std::optional<DSpark> dspark;

    // Parses and checks a config.json object. Every violated rule is in the one error message.
    // Keys not named here are ignored.
    static Result<Config> from_json(const Json& json);
    // Reads and checks a config.json file of at most kConfigBytesMax bytes.
    static Result<Config> load(const std::string& path);

    // The config.json of this, with the keys that are the same in all of the family. REQUIRES: a
    // checked Config.
    Json to_json() const;

    // Stages after the main layers: 1 for the original releases, 3 with DSpark, 0 without MTP.
    int64_t num_mtp_stages() const {
        return static_cast<int64_t>(compress_ratios.size()) - num_hidden_layers;
    }
    // layer_idx counts the MTP stages on after the main layers.
    AttentionKind attention_kind(int64_t layer_idx) const {
        const int64_t ratio = compress_ratios[static_cast<size_t>(layer_idx)];
        return ratio == 0   ? AttentionKind::kWindow
               : ratio == 4 ? AttentionKind::kCsa
                            : AttentionKind::kHca;
    }
    int64_t nope_head_dim() const { return head_dim - qk_rope_head_dim; }
    bool uses_hash_routing(int64_t layer_idx) const { return layer_idx < num_hash_layers; }
};

}  // namespace baleen
