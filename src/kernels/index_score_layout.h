// The arrangements of IndexQuery::layout that the fast index scorers read. Heads are lanes, in
// groups of 16; the last group is padded with heads of zero q and zero weight.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/index_score.h"
#include "quant/quant.h"

namespace baleen {

inline constexpr size_t kIndexLanes = 16;
// Groups that share one pass over a key in the AVX-512 kernel.
inline constexpr size_t kIndexChunk = 4;
inline constexpr int32_t kIndexKeyBias = 12;  // keys are unsigned there: twice the value plus 12

// q is twice the e2m1 value (packed keys) or q itself (f32 keys).
struct IndexLayoutSimd {
    const float* q;        // [group][dim][16]
    const float* scales;   // [group][dim/32][16] 2^k / 4, which undoes both factors of two; packed
    const float* weights;  // [group][16]
};

// The even dims of a block of 32 come first, then the odd ones: what the low and the high nibbles
// of a key's 16 bytes hold. A chunk is kIndexChunk groups, the last one may be shorter; `g` runs
// over the groups of the chunk.
struct IndexLayoutAvx512 {
    const int8_t* q;        // [chunk][dim/32][quad of dims: 8][g][16][4] twice the e2m1 value
    const int32_t* biases;  // [chunk][dim/32][g][16] -kIndexKeyBias * (sum of q over the block)
    const float* scales;    // [chunk][dim/32][g][16] 2^k / 4
    // [pair of groups][2][16]. kNone: as the heads come. kBf16: the pair's even heads, then its odd
    // ones, as two dot products in bf16 share a lane.
    const float* weights;
};

// Where the parts of a packed query lie: on multiples of 64 bytes where it was packed (a copy of
// the query is as good, but slower).
IndexLayoutSimd index_layout_simd(const IndexShape& shape, const IndexQuery& query);
IndexLayoutAvx512 index_layout_avx512(const IndexShape& shape, const IndexQuery& query);

}  // namespace baleen
