// The cost of one decoded token in closed form (spec section 12): multiply-adds by component and
// operand class, and the bytes of KV cache as stored. Derived from a Config alone; the baselines
// (DeepSeek-V3.2, a BF16 GQA-8 cache) are constants of the spec. Pure functions, any thread.
//
// Counted are matrix products only: no norms, softmax, RoPE, activation or top-k, and of the hyper-
// connections the projections that give pre, post and comb (not the mixing, nor the final hc_head).
// The context C is the number of tokens a query may see, itself included: floor(C / ratio)
// compressed entries exist. MTP stages are not part of a token's cost.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "model/config.h"

namespace baleen {

// Multiply-adds by the operands a production GPU kernel would use. FP8 activations with FP4 weights
// count as fp8; fp4 means both sides (the indexer's dot products).
struct MultiplyAdds {
    int64_t fp8 = 0;
    int64_t bf16 = 0;
    int64_t fp4 = 0;

    int64_t total() const { return fp8 + bf16 + fp4; }
    // Equivalent FP8 FLOPs: 2 per multiply-add, weighted 1 (fp8), 2 (bf16), 1/2 (fp4); spec 12.1.
    int64_t equivalent_fp8_flops() const { return 2 * fp8 + 4 * bf16 + fp4; }

    MultiplyAdds& operator+=(const MultiplyAdds& other);
    bool operator==(const MultiplyAdds&) const = default;
};

// One token through the whole model, by the components of spec 12.2.
struct CostBreakdown {
    MultiplyAdds attention_linear;  // wq_a, wq_b, wkv, wo_a, wo_b and the indexer's wq_b
    MultiplyAdds compressor;        // wkv and wgate of all compressors, the indexer's weights_proj
    MultiplyAdds hyper_connection;
    MultiplyAdds moe;  // routed experts chosen and the shared one
    MultiplyAdds router;
    MultiplyAdds head;
    MultiplyAdds indexer;         // scores: every index key visible
    MultiplyAdds core_attention;  // scores and values: every row attended

    using Component = std::pair<std::string_view, MultiplyAdds>;
    std::array<Component, 8> components() const;
    MultiplyAdds total() const;
};

// REQUIRES for all functions below: context >= 1.
CostBreakdown decode_cost(const Config& config, int64_t context);
CostBreakdown v32_decode_cost(int64_t context);

// Bytes of one cached row: e4m3 for the dims without RoPE, a scale byte per 64 of them, bf16 for
// the RoPE dims, padded to 8. 584 for the published models.
int64_t kv_row_bytes(const Config& config);
// Bytes of one index key: packed e2m1 and a scale byte per 32 dims. 68 for the published models.
int64_t index_key_bytes(const Config& config);

// Bytes of KV cache of one sequence of `context` tokens: the window rows of every layer, compressed
// rows and index keys. Without compressor state, which does not grow (spec 5.5).
int64_t kv_bytes(const Config& config, int64_t context);
int64_t v32_kv_bytes(int64_t context);
// Grouped-query attention with 8 KV heads of 128 dims in BF16, the report's second yardstick.
int64_t gqa8_kv_bytes(int64_t num_layers, int64_t context);

inline constexpr int64_t kV32NumLayers = 61;

}  // namespace baleen
