// Multiply-adds by operand class, counted at the kernels' front doors when a caller asks for it:
// what `baleen cost` is compared with (spec 12.1). Written by the calling thread only.
#pragma once

#include <cstdint>

namespace baleen {

struct OpCounts {
    uint64_t quantised_linear = 0;  // FP8 x FP8 and FP8 x FP4
    uint64_t bf16_linear = 0;       // bf16 weights: compressors, router, head, weights_proj
    uint64_t f32_linear = 0;        // hyper-connection mixes
    uint64_t index_score = 0;       // FP4 x FP4
    uint64_t core_attention = 0;    // q.k and p.v
    uint64_t weight_bytes = 0;      // stored bytes read, scales included
    uint64_t kv_bytes = 0;          // stored bytes of the rows and index keys that queries read
};

}  // namespace baleen
