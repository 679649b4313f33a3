#include "model/inventory.h"

#include <fmt/format.h>

#include <string>

namespace baleen {
namespace {

uint64_t ceil_div(uint64_t a, uint64_t b) {
    return (a + b - 1) / b;
}
uint64_t as_size(int64_t value) {
    return static_cast<uint64_t>(value);
}

// Joins prefix and suffix into one reused buffer and fills in the TensorSpec.
class Lister {
  public:
    Lister(const Config& config, const TensorVisitor& visitor)
        : config_(config), visitor_(visitor) {}

    void globals();
    void layer(int64_t layer_idx);
    void mtp_stage(int64_t stage_idx);

  private:
    using Role = TensorRole;

    void emit(std::string_view suffix, TensorSpec spec);
    void vector(std::string_view suffix, DType dtype, Role role, uint64_t size) {
        emit(suffix, {.dtype = dtype, .role = role, .dims = {size, 0}, .rank = 1});
    }
    void matrix(std::string_view suffix, DType dtype, Role role, uint64_t rows, uint64_t cols) {
        emit(suffix,
             {.dtype = dtype, .role = role, .dims = {rows, cols}, .rank = 2, .fan_in = cols});
    }
    void norm(std::string_view suffix, uint64_t size) {
        vector(suffix, DType::kBF16, Role::kNorm, size);
    }
    void fp8(const std::string& suffix, uint64_t rows, uint64_t cols);
    void fp4(const std::string& suffix, uint64_t rows, uint64_t cols);
    void expert(const std::string& suffix, ExpertDType dtype);
    void hyper_connection(const std::string& site, uint64_t rows, uint64_t num_scales);
    void compressor(const std::string& suffix, uint64_t ratio, uint64_t channels);
    void attention(int64_t ratio);
    void moe(bool hash_routing);
    void block(int64_t ratio, bool hash_routing);
    void classic_extras();
    void dspark_extras(int64_t stage_idx);

    const Config& config_;
    const TensorVisitor& visitor_;
    std::string prefix_;  // "", "layers.N.", "mtp.K."
    bool in_mtp_ = false;
    TensorGroup group_ = TensorGroup::kEmbeddingAndHead;
    std::string name_;
};

void Lister::emit(std::string_view suffix, TensorSpec spec) {
    name_.assign(prefix_).append(suffix);
    spec.name = name_;
    spec.group = in_mtp_                    ? TensorGroup::kMtp
                 : spec.role == Role::kNorm ? TensorGroup::kNorms
                                            : group_;
    visitor_(spec);
}

void Lister::fp8(const std::string& suffix, uint64_t rows, uint64_t cols) {
    matrix(suffix + ".weight", DType::kF8E4M3, Role::kLinear, rows, cols);
    emit(suffix + ".scale", {.dtype = DType::kF8E8M0,
                             .role = Role::kBlockScale,
                             .dims = {ceil_div(rows, 128), ceil_div(cols, 128)},
                             .rank = 2,
                             .fan_in = cols});
}

void Lister::fp4(const std::string& suffix, uint64_t rows, uint64_t cols) {
    emit(suffix + ".weight", {.dtype = DType::kI8,
                              .role = Role::kLinear,
                              .dims = {rows, cols / 2},
                              .rank = 2,
                              .fan_in = cols});
    emit(suffix + ".scale", {.dtype = DType::kF8E8M0,
                             .role = Role::kBlockScale,
                             .dims = {rows, cols / 32},
                             .rank = 2,
                             .fan_in = cols,
                             .scales_fp4 = true});
}

void Lister::expert(const std::string& suffix, ExpertDType dtype) {
    const uint64_t hidden = as_size(config_.hidden_size);
    const uint64_t inner = as_size(config_.moe_intermediate_size);
    const auto linear = [&](const char* which, uint64_t rows, uint64_t cols) {
        dtype == ExpertDType::kFp4 ? fp4(suffix + which, rows, cols)
                                   : fp8(suffix + which, rows, cols);
    };
    linear(".w1", inner, hidden);
    linear(".w2", hidden, inner);
    linear(".w3", inner, hidden);
}

// site: "hc_attn", "hc_ffn" or "hc_head".
void Lister::hyper_connection(const std::string& site, uint64_t rows, uint64_t num_scales) {
    group_ = TensorGroup::kHyperConnections;
    const uint64_t cols = as_size(config_.hc_mult) * as_size(config_.hidden_size);
    matrix(site + "_fn", DType::kF32, Role::kHcFn, rows, cols);
    vector(site + "_base", DType::kF32, Role::kHcBase, rows);
    vector(site + "_scale", DType::kF32, Role::kHcScale, num_scales);
}

void Lister::compressor(const std::string& suffix, uint64_t ratio, uint64_t channels) {
    const uint64_t width = (ratio == 4 ? 2 : 1) * channels;  // two lanes where blocks overlap
    const uint64_t hidden = as_size(config_.hidden_size);
    matrix(suffix + "ape", DType::kF32, Role::kPositionBias, ratio, width);
    matrix(suffix + "wkv.weight", DType::kBF16, Role::kLinear, width, hidden);
    matrix(suffix + "wgate.weight", DType::kBF16, Role::kLinear, width, hidden);
    norm(suffix + "norm.weight", channels);
}

void Lister::attention(int64_t ratio) {
    const uint64_t hidden = as_size(config_.hidden_size);
    const uint64_t heads = as_size(config_.num_attention_heads);
    const uint64_t head_dim = as_size(config_.head_dim);
    const uint64_t q_rank = as_size(config_.q_lora_rank);
    const uint64_t groups = as_size(config_.o_groups);
    const uint64_t o_rank = as_size(config_.o_lora_rank);
    group_ = TensorGroup::kAttention;
    vector("attn.attn_sink", DType::kF32, Role::kAttnSink, heads);
    fp8("attn.wq_a", q_rank, hidden);
    norm("attn.q_norm.weight", q_rank);
    fp8("attn.wq_b", heads * head_dim, q_rank);
    fp8("attn.wkv", head_dim, hidden);
    norm("attn.kv_norm.weight", head_dim);
    fp8("attn.wo_a", groups * o_rank, heads * head_dim / groups);
    fp8("attn.wo_b", hidden, groups * o_rank);
    if (ratio == 0) return;
    group_ = TensorGroup::kCompressor;
    compressor("attn.compressor.", as_size(ratio), head_dim);
    if (ratio != 4) return;
    const uint64_t index_heads = as_size(config_.index_n_heads);
    const uint64_t index_dim = as_size(config_.index_head_dim);
    group_ = TensorGroup::kIndexer;
    fp8("attn.indexer.wq_b", index_heads * index_dim, q_rank);
    matrix("attn.indexer.weights_proj.weight", DType::kBF16, Role::kLinear, index_heads, hidden);
    compressor("attn.indexer.compressor.", as_size(ratio), index_dim);
}

void Lister::moe(bool hash_routing) {
    const uint64_t experts = as_size(config_.n_routed_experts);
    group_ = TensorGroup::kRouter;
    matrix("ffn.gate.weight", DType::kBF16, Role::kLinear, experts, as_size(config_.hidden_size));
    if (hash_routing)
        matrix("ffn.gate.tid2eid", DType::kI64, Role::kHashTable, as_size(config_.vocab_size),
               as_size(config_.num_experts_per_tok));
    else
        vector("ffn.gate.bias", DType::kF32, Role::kRouterBias, experts);
    group_ = TensorGroup::kRoutedExperts;
    for (uint64_t e = 0; e < experts; ++e)
        expert(fmt::format("ffn.experts.{}", e), config_.expert_dtype);
    group_ = TensorGroup::kSharedExpert;
    expert("ffn.shared_experts", ExpertDType::kFp8);
}

void Lister::block(int64_t ratio, bool hash_routing) {
    const uint64_t hidden = as_size(config_.hidden_size);
    const uint64_t streams = as_size(config_.hc_mult);
    attention(ratio);
    norm("attn_norm.weight", hidden);
    norm("ffn_norm.weight", hidden);
    hyper_connection("hc_attn", streams * (streams + 2), 3);
    hyper_connection("hc_ffn", streams * (streams + 2), 3);
    moe(hash_routing);
}

void Lister::globals() {
    const uint64_t hidden = as_size(config_.hidden_size);
    const uint64_t vocab = as_size(config_.vocab_size);
    matrix("embed.weight", DType::kBF16, Role::kEmbedding, vocab, hidden);
    matrix("head.weight", DType::kBF16, Role::kLinear, vocab, hidden);
    norm("norm.weight", hidden);
    hyper_connection("hc_head", as_size(config_.hc_mult), 1);
}

void Lister::layer(int64_t layer_idx) {
    prefix_ = fmt::format("layers.{}.", layer_idx);
    block(config_.compress_ratios[as_size(layer_idx)], config_.uses_hash_routing(layer_idx));
}

void Lister::mtp_stage(int64_t stage_idx) {
    prefix_ = fmt::format("mtp.{}.", stage_idx);
    in_mtp_ = true;
    block(config_.compress_ratios[as_size(config_.num_hidden_layers + stage_idx)], false);
    config_.dspark ? dspark_extras(stage_idx) : classic_extras();
}

// Spec 2.3.
void Lister::classic_extras() {
    const uint64_t hidden = as_size(config_.hidden_size);
    fp8("e_proj", hidden, hidden);
    fp8("h_proj", hidden, hidden);
    norm("enorm.weight", hidden);
    norm("hnorm.weight", hidden);
    norm("norm.weight", hidden);
    hyper_connection("hc_head", as_size(config_.hc_mult), 1);
}

// Spec 13.1: the first stage takes in the main model's hidden states, the last one puts out tokens.
void Lister::dspark_extras(int64_t stage_idx) {
    const uint64_t hidden = as_size(config_.hidden_size);
    const uint64_t vocab = as_size(config_.vocab_size);
    const uint64_t rank = as_size(config_.dspark->markov_rank);
    if (stage_idx == 0) {
        fp8("main_proj", hidden, hidden * config_.dspark->target_layer_ids.size());
        norm("main_norm.weight", hidden);
    }
    if (stage_idx != config_.num_mtp_stages() - 1) return;
    norm("norm.weight", hidden);
    hyper_connection("hc_head", as_size(config_.hc_mult), 1);
    matrix("markov_head.markov_w1.weight", DType::kBF16, Role::kLinear, vocab, rank);
    matrix("markov_head.markov_w2.weight", DType::kBF16, Role::kLinear, vocab, rank);
    matrix("confidence_head.proj.weight", DType::kBF16, Role::kLinear, 1, hidden + rank);
}

}  // namespace

std::string_view group_name(TensorGroup group) {
    switch (group) {
        case TensorGroup::kEmbeddingAndHead: return "embedding and head";
        case TensorGroup::kAttention: return "attention";
        case TensorGroup::kCompressor: return "compressors";
        case TensorGroup::kIndexer: return "indexers";
        case TensorGroup::kRouter: return "routers";
        case TensorGroup::kRoutedExperts: return "routed experts";
        case TensorGroup::kSharedExpert: return "shared experts";
        case TensorGroup::kHyperConnections: return "hyper-connections";
        case TensorGroup::kNorms: return "norms";
        case TensorGroup::kMtp: return "mtp";
    }
    return "?";
}

void visit_inventory(const Config& config, const TensorVisitor& visitor) {
    Lister lister(config, visitor);
    lister.globals();
    for (int64_t i = 0; i < config.num_hidden_layers; ++i) lister.layer(i);
    for (int64_t i = 0; i < config.num_mtp_stages(); ++i) lister.mtp_stage(i);
}

InventoryTotal inventory_total(const Config& config) {
    InventoryTotal total;
    visit_inventory(config, [&](const TensorSpec& spec) {
        ++total.num_tensors;
        total.bytes += spec.bytes();
    });
    return total;
}

}  // namespace baleen
