// AVX-512 VNNI version of kernels/index_score.h: packed keys.
//
// vpdpbusd multiplies unsigned by signed bytes, so keys are decoded to twice their value plus 12
// and the accumulators start at -12 * (sum of q): exact. Four dims of a key are broadcast against
// 16 heads in lanes; a tile is 4 keys x up to 4 groups of 16 heads (16 accumulators; per quad of
// dims 4 loads of q and 4 broadcasts for 16 products). At 64 heads x 128 dims that is 128 vpdpbusd
// a key. Keys are decoded once per call for all queries, a tile buffer of at most 16 KB at a time;
// with the 10 KB of one query it stays in L1.
//
// Every key passes through the same operations in the same order wherever it stands in the block,
// and queries do not meet, so a score's bits depend on its key and its query only. The conversions
// to bf16 round to nearest even and flush subnormals (below 2^-126) to zero.
//
// No container method may be instantiated here: it would be AVX-512 code that the linker may hand
// to everybody.
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/index_score.h"
#include "kernels/index_score_layout.h"

namespace baleen {
namespace {

constexpr size_t kTileKeys = 4;
constexpr size_t kHalfQuads = kFp4Block / 4 / 2;  // quads of the even, or of the odd, dims
constexpr size_t kHalfBlock = kFp4Block / 2;
constexpr size_t kDecodedBytes = 8192;  // of even dims, and as many of odd ones

// The keys of a block as the tiles read them. Vectors are stored whole: a vector more.
struct DecodedKeys {
    size_t blocks;                                 // of 32 dims, in one key
    alignas(64) uint8_t even[kDecodedBytes + 64];  // [key][block][16] twice the value plus 12
    alignas(64) uint8_t odd[kDecodedBytes + 64];   // [key][block][16]
    alignas(64) float scales[kDecodedBytes / kHalfBlock + 16];  // [key][block]

    size_t keys_max() const { return kDecodedBytes / (blocks * kHalfBlock); }
};

inline __m512i load_bytes(const uint8_t* p, size_t n) {
    if (n >= 64) return _mm512_loadu_si512(p);
    return _mm512_maskz_loadu_epi8((__mmask64{1} << n) - 1, p);
}

inline __m512 load_scales(const uint8_t* p, size_t n) {
    const auto mask = static_cast<__mmask16>(n >= 16 ? 0xFFFFu : (1u << n) - 1);
    const __m512i codes = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, p));
    __m512i bits = _mm512_slli_epi32(codes, 23);
    // Code 0 is the subnormal 2^-127, 255 NaN.
    bits = _mm512_mask_mov_epi32(bits, _mm512_testn_epi32_mask(codes, codes),
                                 _mm512_set1_epi32(0x00400000));
    bits = _mm512_mask_mov_epi32(bits, _mm512_cmpeq_epi32_mask(codes, _mm512_set1_epi32(kUe8m0NaN)),
                                 _mm512_set1_epi32(0x7FC00000));
    return _mm512_castsi512_ps(bits);
}

// Keys [begin, begin + n), and some of value zero up to a full tile.
void decode_keys(const IndexKeyBlock& keys, size_t begin, size_t n, DecodedKeys& out) {
    const __m512i table = _mm512_broadcast_i32x4(
        _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    const __m512i nibble = _mm512_set1_epi8(15);
    const size_t key_bytes = out.blocks * kHalfBlock;
    const uint8_t* values = keys.values + begin * key_bytes;
    const size_t padded = round_up(n, kTileKeys);
    for (size_t i = 0; i < padded * key_bytes; i += 64) {
        const __m512i codes = load_bytes(values + i, n * key_bytes - std::min(i, n * key_bytes));
        const __m512i low = _mm512_and_si512(codes, nibble);
        const __m512i high = _mm512_and_si512(_mm512_srli_epi16(codes, 4), nibble);
        _mm512_store_si512(out.even + i, _mm512_shuffle_epi8(table, low));
        _mm512_store_si512(out.odd + i, _mm512_shuffle_epi8(table, high));
    }
    const uint8_t* scales = keys.scales + begin * out.blocks;
    const size_t num_scales = n * out.blocks;
    for (size_t i = 0; i < padded * out.blocks; i += 16)
        _mm512_store_ps(out.scales + i,
                        load_scales(scales + i, num_scales - std::min(i, num_scales)));
}

// ---- the register tile -----------------------------------------------------------------------

template <size_t G>
using Tile = __m512i[kTileKeys][G];

// acc [key][g] += key . q over the even or the odd dims of one block.
template <size_t G>
[[gnu::always_inline]] inline void add_half_block(const uint8_t* keys, size_t key_bytes,
                                                  const int8_t* q, Tile<G>& acc) {
#pragma GCC unroll 4
    for (size_t quad = 0; quad < kHalfQuads; ++quad) {
        __m512i q_quad[G];
#pragma GCC unroll 4
        for (size_t g = 0; g < G; ++g) q_quad[g] = _mm512_loadu_si512(q + (quad * G + g) * 64);
#pragma GCC unroll 4
        for (size_t key = 0; key < kTileKeys; ++key) {
            int32_t four;
            std::memcpy(&four, keys + key * key_bytes + quad * 4, 4);
            const __m512i broadcast = _mm512_set1_epi32(four);
#pragma GCC unroll 4
            for (size_t g = 0; g < G; ++g)
                acc[key][g] = _mm512_dpbusd_epi32(acc[key][g], broadcast, q_quad[g]);
        }
    }
}

// Dot products of a tile's keys and a chunk's heads: exact per block, then f32 in ascending order.
template <size_t G>
[[gnu::always_inline]] inline void dot_tile(const DecodedKeys& keys, size_t key,
                                            const IndexLayoutAvx512& query,
                                            __m512 (&dots)[kTileKeys][G]) {
    const size_t key_bytes = keys.blocks * kHalfBlock;
    const int8_t* q = query.q;
    for (size_t block = 0; block < keys.blocks; ++block) {
        const size_t row = block * G * kIndexLanes;
        Tile<G> acc;
#pragma GCC unroll 4
        for (size_t g = 0; g < G; ++g) {
            const __m512i bias = _mm512_loadu_si512(query.biases + row + g * kIndexLanes);
#pragma GCC unroll 4
            for (size_t i = 0; i < kTileKeys; ++i) acc[i][g] = bias;
        }
        const size_t first = key * key_bytes + block * kHalfBlock;
        add_half_block<G>(keys.even + first, key_bytes, q, acc);
        add_half_block<G>(keys.odd + first, key_bytes, q + kHalfQuads * G * 64, acc);
        q += 2 * kHalfQuads * G * 64;
#pragma GCC unroll 4
        for (size_t g = 0; g < G; ++g) {
            const __m512 q_scale = _mm512_loadu_ps(query.scales + row + g * kIndexLanes);
#pragma GCC unroll 4
            for (size_t i = 0; i < kTileKeys; ++i) {
                const float key_scale = keys.scales[(key + i) * keys.blocks + block];
                const __m512 scale = _mm512_mul_ps(q_scale, _mm512_set1_ps(key_scale));
                const __m512 partial = _mm512_cvtepi32_ps(acc[i][g]);
                dots[i][g] = block == 0 ? _mm512_mul_ps(partial, scale)
                                        : _mm512_fmadd_ps(partial, scale, dots[i][g]);
            }
        }
    }
}

// ---- heads to a score ------------------------------------------------------------------------

// max's second operand is returned if either is NaN: NaN stays.
inline __m512 relu(__m512 x) {
    return _mm512_max_ps(_mm512_setzero_ps(), x);
}

// Two vectors of bf16 in one, and back: `even` and `odd` are the even and odd elements in f32.
inline __m512i round_pair(__m512 low, __m512 high) {
    return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}
inline __m512 even_elements(__m512i pair) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(pair, 16));
}
inline __m512 odd_elements(__m512i pair) {
    return _mm512_castsi512_ps(_mm512_and_si512(pair, _mm512_set1_epi32(~0xFFFF)));
}

// sum += w * relu(dot) of a pair of groups, each lane on its own.
template <Rounding R>
inline __m512 add_heads(__m512 sum, __m512 dot0, __m512 dot1, const float* weights) {
    const __m512 w0 = _mm512_loadu_ps(weights);
    const __m512 w1 = _mm512_loadu_ps(weights + kIndexLanes);
    if constexpr (R == Rounding::kNone) {
        return _mm512_fmadd_ps(relu(dot1), w1, _mm512_fmadd_ps(relu(dot0), w0, sum));
    } else {
        const __m512i dots = round_pair(dot0, dot1);
        const __m512i terms = round_pair(_mm512_mul_ps(relu(even_elements(dots)), w0),
                                         _mm512_mul_ps(relu(odd_elements(dots)), w1));
        return _mm512_add_ps(_mm512_add_ps(sum, even_elements(terms)), odd_elements(terms));
    }
}

// The sums over the lanes of four vectors, by the same tree for each.
inline __m128 sum_lanes(const __m512 (&v)[kTileKeys]) {
    const __m512 v01 =
        _mm512_add_ps(_mm512_unpacklo_ps(v[0], v[1]), _mm512_unpackhi_ps(v[0], v[1]));
    const __m512 v23 =
        _mm512_add_ps(_mm512_unpacklo_ps(v[2], v[3]), _mm512_unpackhi_ps(v[2], v[3]));
    const __m512 quarters =
        _mm512_add_ps(_mm512_shuffle_ps(v01, v23, 0x44), _mm512_shuffle_ps(v01, v23, 0xEE));
    const __m256 halves =
        _mm256_add_ps(_mm512_castps512_ps256(quarters), _mm512_extractf32x8_ps(quarters, 1));
    return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}

template <size_t G, Rounding R>
void add_tile(const DecodedKeys& keys, size_t key, const IndexLayoutAvx512& query,
              __m512 (&sums)[kTileKeys]) {
    __m512 dots[kTileKeys][G];
    dot_tile<G>(keys, key, query, dots);
#pragma GCC unroll 4
    for (size_t i = 0; i < kTileKeys; ++i)
#pragma GCC unroll 2
        for (size_t g = 0; g < G; g += 2)
            sums[i] =
                add_heads<R>(sums[i], dots[i][g], g + 1 < G ? dots[i][g + 1] : _mm512_setzero_ps(),
                             query.weights + g * kIndexLanes);
}

// The chunk of heads that begins at a group, a multiple of kIndexChunk.
IndexLayoutAvx512 chunk_at(const IndexLayoutAvx512& query, size_t group, size_t blocks) {
    const size_t rows = group * blocks * kIndexLanes;
    return {.q = query.q + rows * kFp4Block,
            .biases = query.biases + rows,
            .scales = query.scales + rows,
            .weights = query.weights + group * kIndexLanes};
}

template <Rounding R>
__m128 score_tile(const DecodedKeys& keys, size_t key, const IndexLayoutAvx512& query,
                  size_t groups) {
    __m512 sums[kTileKeys] = {};
    for (size_t group = 0; group < groups; group += kIndexChunk) {
        const IndexLayoutAvx512 chunk = chunk_at(query, group, keys.blocks);
        switch (std::min(kIndexChunk, groups - group)) {
            case 1: add_tile<1, R>(keys, key, chunk, sums); break;
            case 2: add_tile<2, R>(keys, key, chunk, sums); break;
            case 3: add_tile<3, R>(keys, key, chunk, sums); break;
            case 4: add_tile<4, R>(keys, key, chunk, sums); break;
        }
    }
    const __m128 scores = sum_lanes(sums);
    if constexpr (R == Rounding::kNone) return scores;
    const auto rounded = reinterpret_cast<__m128i>(_mm_cvtneps_pbh(scores));
    return _mm_castsi128_ps(_mm_slli_epi32(_mm_cvtepu16_epi32(rounded), 16));
}

template <Rounding R>
void score_keys(const DecodedKeys& keys, size_t count, const IndexLayoutAvx512& query,
                size_t groups, float* scores) {
    for (size_t key = 0; key < count; key += kTileKeys) {
        const size_t left = count - key;
        const auto mask = static_cast<__mmask8>(left >= kTileKeys ? 15 : (1u << left) - 1);
        _mm_mask_storeu_ps(scores + key, mask, score_tile<R>(keys, key, query, groups));
    }
}

}  // namespace

void score_index_keys_avx512(const IndexShape& shape, std::span<const IndexQuery> queries,
                             const IndexKeyBlock& keys, std::span<float* const> scores) {
    if (shape.format.encoding != KvEncoding::kPacked)
        return score_index_keys_simd(shape, queries, keys, scores);
    CHECK(queries.size() == scores.size());
    CHECK(shape.format.dim / 2 * kTileKeys <= kDecodedBytes);
    const size_t groups = (shape.num_heads + kIndexLanes - 1) / kIndexLanes;
    const auto score = shape.rounding == Rounding::kBf16 ? score_keys<Rounding::kBf16>
                                                         : score_keys<Rounding::kNone>;
    DecodedKeys decoded;
    decoded.blocks = shape.format.dim / kFp4Block;
    for (size_t begin = 0; begin < keys.count; begin += decoded.keys_max()) {
        const size_t n = std::min(decoded.keys_max(), keys.count - begin);
        decode_keys(keys, begin, n, decoded);
        for (size_t i = 0; i < queries.size(); ++i)
            score(decoded, n, index_layout_avx512(shape, queries[i]), groups, scores[i] + begin);
    }
}

}  // namespace baleen
