// How many bytes of state one sequence takes at a given context length, from the config alone
// (spec 5.5, 6 and 12.2).
#pragma once

#include <cstdint>

#include "model/config.h"

namespace baleen {

struct KvFootprint {
    uint64_t row_bytes = 0;        // one KV row: e4m3 nope dims, bf16 rope dims, ue8m0 per 64
    uint64_t index_key_bytes = 0;  // one indexer key: packed e2m1 and ue8m0 per 32
    double bytes_per_token = 0;    // growth with context, averaged over whole blocks
    uint64_t window_bytes = 0;     // sliding windows of all layers and MTP stages, fixed
    uint64_t compressor_state_bytes = 0;  // f32 (value, gate) pairs of unfinished blocks, fixed
    uint64_t entry_bytes = 0;             // compressed rows at the context asked for
    uint64_t index_bytes = 0;             // indexer keys at the context asked for

    uint64_t total_bytes() const {
        return window_bytes + compressor_state_bytes + entry_bytes + index_bytes;
    }
};

// context_tokens >= 0.
KvFootprint kv_footprint(const Config& config, int64_t context_tokens);

}  // namespace baleen
