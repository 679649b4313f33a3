#include "model/cost.h"

#include <algorithm>

#include "base/check.h"

namespace baleen {
namespace {

constexpr int64_t round_up(int64_t value, int64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

// Entries of the compressed cache that a query at the end of the context sees.
int64_t num_compressed_entries(int64_t ratio, int64_t context) {
    return ratio == 0 ? 0 : context / ratio;
}

// [rows of a weight] x [columns of it], for every linear of spec 4.1, 4.2 and 4.6.
int64_t attention_linear(const Config& c) {
    const int64_t heads_width = c.num_attention_heads * c.head_dim;
    const int64_t wq_a = c.q_lora_rank * c.hidden_size;
    const int64_t wq_b = heads_width * c.q_lora_rank;
    const int64_t wkv = c.head_dim * c.hidden_size;
    const int64_t wo_a = c.o_lora_rank * heads_width;  // o_groups blocks, each of its heads only
    const int64_t wo_b = c.hidden_size * c.o_groups * c.o_lora_rank;
    return wq_a + wq_b + wkv + wo_a + wo_b;
}

// Rows the core attention of a layer reads (spec 4.4).
int64_t rows_attended(const Config& c, int64_t layer_idx, int64_t context) {
    const int64_t ratio = c.compress_ratios[static_cast<size_t>(layer_idx)];
    const int64_t entries = num_compressed_entries(ratio, context);
    const bool selects = c.attention_kind(layer_idx) == AttentionKind::kCsa;
    return std::min(c.sliding_window, context) +
           (selects ? std::min(c.index_topk, entries) : entries);
}

void add_compressor(const Config& c, int64_t layer_idx, int64_t context, CostBreakdown& cost) {
    const int64_t index_width = c.index_n_heads * c.index_head_dim;
    switch (c.attention_kind(layer_idx)) {
        case AttentionKind::kWindow: break;
        case AttentionKind::kHca:  // wkv and wgate, [head_dim, D] each
            cost.compressor.bf16 += 2 * c.head_dim * c.hidden_size;
            break;
        case AttentionKind::kCsa:  // two lanes each, twice: the main compressor and the indexer's
            cost.compressor.bf16 += 2 * 2 * (c.head_dim + c.index_head_dim) * c.hidden_size;
            cost.compressor.bf16 += c.index_n_heads * c.hidden_size;   // weights_proj
            cost.attention_linear.fp8 += index_width * c.q_lora_rank;  // the indexer's wq_b
            cost.indexer.fp4 += index_width * num_compressed_entries(4, context);
            break;
    }
}

void add_layer(const Config& c, int64_t layer_idx, int64_t context, CostBreakdown& cost) {
    const int64_t hc = c.hc_mult;
    cost.attention_linear.fp8 += attention_linear(c);
    add_compressor(c, layer_idx, context, cost);
    // q . k and p . v, head_dim each, for every head and row.
    cost.core_attention.bf16 +=
        2 * c.num_attention_heads * c.head_dim * rows_attended(c, layer_idx, context);
    // Two sites; pre [hc], post [hc] and comb [hc, hc] from the hc streams of width D.
    cost.hyper_connection.bf16 += 2 * hc * (hc + 2) * hc * c.hidden_size;
    cost.router.bf16 += c.n_routed_experts * c.hidden_size;
    // w1, w2 and w3 of the chosen experts and of the shared one.
    cost.moe.fp8 += (c.num_experts_per_tok + 1) * 3 * c.hidden_size * c.moe_intermediate_size;
}

// DeepSeek-V3.2 (MLA in its absorbed form, one lightning indexer per layer), spec 12.2.
struct V32 {
    static constexpr int64_t kHidden = 7168;
    static constexpr int64_t kHeads = 128;
    static constexpr int64_t kQLoraRank = 1536;
    static constexpr int64_t kKvLoraRank = 512;
    static constexpr int64_t kRope = 64;
    static constexpr int64_t kNope = 128;  // per head, before absorption; also the value's width
    static constexpr int64_t kIndexHeads = 64;
    static constexpr int64_t kIndexDim = 128;
    static constexpr int64_t kIndexTopk = 2048;
    static constexpr int64_t kDenseLayers = 3;
    static constexpr int64_t kDenseWidth = 18432;
    static constexpr int64_t kExperts = 256;
    static constexpr int64_t kExpertsPerToken = 9;  // 8 routed and the shared one
    static constexpr int64_t kExpertWidth = 2048;
    static constexpr int64_t kVocab = 129280;
    static constexpr int64_t kLatentBytes = 656;    // 512 e4m3, 4 f32 scales, 64 bf16 of RoPE
    static constexpr int64_t kIndexKeyBytes = 132;  // 128 e4m3 and an f32 scale
};

int64_t v32_attention_linear() {
    const int64_t kv_width = V32::kKvLoraRank + V32::kRope;
    return V32::kQLoraRank * V32::kHidden +                             // q down
           V32::kHeads * (V32::kNope + V32::kRope) * V32::kQLoraRank +  // q up
           kv_width * V32::kHidden +                                    // latent and RoPE key
           V32::kHeads * 2 * V32::kNope * V32::kKvLoraRank +            // key and value up
           V32::kHidden * V32::kHeads * V32::kNope +                    // output
           V32::kIndexHeads * V32::kIndexDim * V32::kQLoraRank +        // index queries
           V32::kIndexDim * V32::kHidden;                               // index key
}

}  // namespace

MultiplyAdds& MultiplyAdds::operator+=(const MultiplyAdds& other) {
    fp8 += other.fp8;
    bf16 += other.bf16;
    fp4 += other.fp4;
    return *this;
}

std::array<CostBreakdown::Component, 8> CostBreakdown::components() const {
    return {{{"attention_linear", attention_linear},
             {"compressor", compressor},
             {"hyper_connection", hyper_connection},
             {"moe", moe},
             {"router", router},
             {"head", head},
             {"indexer", indexer},
             {"core_attention", core_attention}}};
}

MultiplyAdds CostBreakdown::total() const {
    MultiplyAdds sum;
    for (const Component& component : components()) sum += component.second;
    return sum;
}

CostBreakdown decode_cost(const Config& config, int64_t context) {
    CHECK_GE(context, 1);
    CostBreakdown cost;
    for (int64_t layer_idx = 0; layer_idx < config.num_hidden_layers; ++layer_idx)
        add_layer(config, layer_idx, context, cost);
    cost.head.bf16 = config.vocab_size * config.hidden_size;
    return cost;
}

CostBreakdown v32_decode_cost(int64_t context) {
    CHECK_GE(context, 1);
    constexpr int64_t kMoeLayers = kV32NumLayers - V32::kDenseLayers;
    constexpr int64_t kLatentWidth = V32::kKvLoraRank + V32::kRope;
    CostBreakdown cost;
    cost.attention_linear.fp8 = kV32NumLayers * v32_attention_linear();
    cost.attention_linear.bf16 = kV32NumLayers * V32::kIndexHeads * V32::kHidden;
    cost.moe.fp8 = V32::kDenseLayers * 3 * V32::kHidden * V32::kDenseWidth +
                   kMoeLayers * V32::kExpertsPerToken * 3 * V32::kHidden * V32::kExpertWidth;
    cost.router.bf16 = kMoeLayers * V32::kExperts * V32::kHidden;
    cost.head.bf16 = V32::kVocab * V32::kHidden;
    cost.indexer.fp8 = kV32NumLayers * V32::kIndexHeads * V32::kIndexDim * context;
    cost.core_attention.bf16 = kV32NumLayers * V32::kHeads * (kLatentWidth + V32::kKvLoraRank) *
                               std::min(V32::kIndexTopk, context);
    return cost;
}

int64_t kv_row_bytes(const Config& config) {
    const int64_t nope = config.nope_head_dim();
    return round_up(nope + (nope + 63) / 64 + 2 * config.qk_rope_head_dim, 8);
}

int64_t index_key_bytes(const Config& config) {
    return config.index_head_dim / 2 + config.index_head_dim / 32;
}

int64_t kv_bytes(const Config& config, int64_t context) {
    CHECK_GE(context, 1);
    int64_t num_rows = 0;
    int64_t num_index_keys = 0;
    for (int64_t layer_idx = 0; layer_idx < config.num_hidden_layers; ++layer_idx) {
        const int64_t ratio = config.compress_ratios[static_cast<size_t>(layer_idx)];
        const int64_t entries = num_compressed_entries(ratio, context);
        num_rows += std::min(config.sliding_window, context) + entries;
        if (config.attention_kind(layer_idx) == AttentionKind::kCsa) num_index_keys += entries;
    }
    return num_rows * kv_row_bytes(config) + num_index_keys * index_key_bytes(config);
}

int64_t v32_kv_bytes(int64_t context) {
    CHECK_GE(context, 1);
    return kV32NumLayers * context * (V32::kLatentBytes + V32::kIndexKeyBytes);
}

int64_t gqa8_kv_bytes(int64_t num_layers, int64_t context) {
    CHECK_GE(context, 1);
    constexpr int64_t kKeyAndValue = 2;
    constexpr int64_t kKvHeads = 8;
    constexpr int64_t kHeadDim = 128;
    constexpr int64_t kBf16Bytes = 2;
    return num_layers * context * kKeyAndValue * kKvHeads * kHeadDim * kBf16Bytes;
}

}  // namespace baleen
