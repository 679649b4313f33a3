// Lightning indexer scores (spec 6): I[b] = sum_h w[h] * relu(q[h] . k[b]) for a block of keys and
// one or several query tokens.
//
// Packed form: q and k are e2m1 codes with ue8m0 scales per 32 dims. Twice an e2m1 value is an
// integer of at most 12, so each 32-dim partial dot product is an exact int32; the partials of one
// head are scaled by powers of two and added in f32 in ascending order. Then, as the reference
// does under Rounding::kBf16: dot -> bf16, relu, times w -> bf16, sum over heads in f32 -> bf16.
// The order of the sum over heads is the implementation's own but the same for every call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/impl.h"
#include "quant/kv_row.h"

namespace baleen {

// One query token, prepared once and scored against many key blocks.
struct IndexQuery {
    std::vector<int8_t> values2;  // [num_heads, dim] twice the e2m1 value; packed keys only
    std::vector<float> scales;    // [num_heads, dim/32] 2^k; packed keys only
    std::vector<float> values;    // [num_heads, dim] f32; f32 keys only
    std::vector<float> weights;   // [num_heads] w[h], softmax-free, bf16 values under kBf16
    std::vector<uint8_t> layout;  // implementation's own arrangement, filled by prepare()
};

// A run of consecutive keys in memory, at any address (f32 keys: a multiple of 4).
struct IndexKeyBlock {
    const uint8_t* values = nullptr;  // [count] x format.value_bytes()
    const uint8_t* scales = nullptr;  // [count] x format.scale_bytes(); null for f32 keys
    size_t count = 0;
};

struct IndexShape {
    IndexKeyFormat format;
    size_t num_heads = 0;
    Rounding rounding = Rounding::kBf16;
};

// Fills `query` from q [num_heads, dim] f32 (quantised to FP4 here when the keys are packed) and
// w [num_heads]. Allocates only when query was never used with this shape.
void prepare_index_query(Impl impl, const IndexShape& shape, std::span<const float> q,
                         std::span<const float> w, IndexQuery& query);

// scores[i][j] = I of queries[i] and key j. All queries prepared with the same impl and shape.
void score_index_keys(Impl impl, const IndexShape& shape, std::span<const IndexQuery> queries,
                      const IndexKeyBlock& keys, std::span<float* const> scores);

void score_index_keys_ref(const IndexShape& shape, std::span<const IndexQuery> queries,
                          const IndexKeyBlock& keys, std::span<float* const> scores);
// Needs query.layout from pack_index_query_simd.
void score_index_keys_simd(const IndexShape& shape, std::span<const IndexQuery> queries,
                           const IndexKeyBlock& keys, std::span<float* const> scores);
// VNNI. Packed keys only (else simd). Needs query.layout from pack_index_query_avx512. Subnormal
// dot products and products with w count as zero, as its bf16 instructions flush them.
void score_index_keys_avx512(const IndexShape& shape, std::span<const IndexQuery> queries,
                             const IndexKeyBlock& keys, std::span<float* const> scores);

// Fill query.layout from the other members; prepare_index_query calls them.
void pack_index_query_simd(const IndexShape& shape, IndexQuery& query);
void pack_index_query_avx512(const IndexShape& shape, IndexQuery& query);

}  // namespace baleen
