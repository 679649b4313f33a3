// AVX-512 bf16 version of kernels/attention.h.
//
// Both products are the same small matrix product: a register tile of up to 12 rows x 32 columns
// accumulates bf16 pairs with vdpbf16ps (24 accumulators; per step 2 loads and 12 broadcasts).
//   q.k   tile rows are KV rows, columns are heads, steps run over pairs of dimensions
//   p.k   tile rows are heads, columns are dimensions, steps run over pairs of KV rows
// KV rows are decoded once per call, kChunk at a time, into two bf16 copies in L2: dimension pairs
// side by side for the first product and row pairs side by side for the second. What the columns of
// a tile stream over lies in one contiguous panel that fits in L1. For 64 heads x 512 dimensions
// the scratch is about 0.5 MB: q 64 KB, rows 128 + 128 KB, accumulators 128 KB, scores and
// probabilities 48 KB.
//
// Every lane belongs to one head and sees the same operations in the same order whatever the other
// lanes hold, so a head's bits do not depend on its neighbours. vdpbf16ps rounds to nearest and
// treats subnormals (below 2^-126) as zero.
//
// Only inline functions of our own headers may be used here: a standard container's method
// instantiated in this file would be AVX-512 code that the linker may hand to everybody.
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "base/check.h"
#include "kernels/attention.h"
#include "kernels/fp8_decode_avx512.h"
#include "quant/quant.h"

namespace baleen {
namespace {

constexpr size_t kLanes = 16;          // f32 or bf16 pairs in a register
constexpr size_t kPanel = 2 * kLanes;  // columns of a tile
constexpr size_t kTileRows = 12;
constexpr size_t kChunk = 2 * kAttentionBlock;  // KV rows decoded at a time
constexpr size_t kChunkPairs = kChunk / 2;
constexpr size_t kCacheLine = 64;

using Bf16Pair = uint32_t;  // the earlier element in the low half

struct Workspace {
    size_t num_heads;
    size_t heads;         // padded to kLanes
    size_t dims;          // padded to kPanel
    Bf16Pair* q;          // [heads / kPanel][dims / 2][kPanel]; the last panel may be half as wide
    Bf16Pair* rows;       // [kChunk][dims / 2]
    Bf16Pair* row_pairs;  // [dims / kPanel][kChunkPairs][kPanel]
    float* scores;        // [kChunk][heads], q.k unscaled
    Bf16Pair* probs;      // [kChunkPairs][heads]
    float* acc;           // [dims / kPanel][num_heads][kPanel]
    float* max;           // [heads]
    float* sum;           // [heads]
    float* rescale;       // [kChunk / kAttentionBlock][heads], what a block multiplies acc by

    size_t panel_width(size_t first_head) const { return std::min(kPanel, heads - first_head); }
};

Workspace make_workspace(const AttentionArgs& args, AttentionScratch& scratch) {
    Workspace w{};
    w.num_heads = args.num_heads;
    w.heads = round_up(args.num_heads, kLanes);
    w.dims = round_up(args.format.dim(), kPanel);
    const size_t blocks = kChunk / kAttentionBlock;
    // All elements have 4 bytes and all sizes are multiples of 16 elements: 64-byte alignment.
    const size_t sizes[] = {w.heads * w.dims / 2,
                            kChunk * w.dims / 2,
                            kChunkPairs * w.dims,
                            kChunk * w.heads,
                            kChunkPairs * w.heads,
                            w.num_heads * w.dims,
                            w.heads,
                            w.heads,
                            blocks * w.heads};
    size_t total = 0;
    for (size_t size : sizes) total += size;
    uint8_t* next = scratch.reserve(total * 4);
    const size_t* size = sizes;
    const auto take = [&](auto*& pointer) {
        pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(next);
        next += *size++ * 4;
    };
    take(w.q);
    take(w.rows);
    take(w.row_pairs);
    take(w.scores);
    take(w.probs);
    take(w.acc);
    take(w.max);
    take(w.sum);
    take(w.rescale);
    return w;
}

inline __m512bh as_bf16(__m512i v) {
    return reinterpret_cast<__m512bh>(v);
}

// ---- the register tile -----------------------------------------------------------------------

// acc[i] += sum over steps k of a[i * row_stride + k * step_stride] . panel[k]; strides in pairs.
template <size_t M, size_t N>
[[gnu::always_inline]] inline void accumulate(const Bf16Pair* a, size_t row_stride,
                                              size_t step_stride, const Bf16Pair* panel,
                                              size_t steps, __m512 (&acc)[M][N]) {
    // Four base pointers, each three rows apart: x86 addresses base, base + s and base + 2s.
    const Bf16Pair* base[4] = {a, a + 3 * row_stride, a + 6 * row_stride, a + 9 * row_stride};
    for (size_t k = 0; k < steps; ++k) {
        __m512i b[N];
#pragma GCC unroll 2
        for (size_t n = 0; n < N; ++n) b[n] = _mm512_load_si512(panel + n * kLanes);
#pragma GCC unroll 12
        for (size_t i = 0; i < M; ++i) {
            const __m512i pair =
                _mm512_set1_epi32(static_cast<int>(base[i / 3][(i % 3) * row_stride]));
#pragma GCC unroll 2
            for (size_t n = 0; n < N; ++n)
                acc[i][n] = _mm512_dpbf16_ps(acc[i][n], as_bf16(b[n]), as_bf16(pair));
        }
#pragma GCC unroll 4
        for (const Bf16Pair*& p : base) p += step_stride;
        panel += N * kLanes;
    }
}

// operation(accumulator, row, column of 16), unrolled so that the accumulators stay in registers.
template <size_t M, size_t N, typename Operation>
[[gnu::always_inline]] inline void for_each(__m512 (&acc)[M][N], Operation operation) {
#pragma GCC unroll 12
    for (size_t i = 0; i < M; ++i)
#pragma GCC unroll 2
        for (size_t n = 0; n < N; ++n) operation(acc[i][n], i, n * kLanes);
}

// Splits [0, n) into the fewest runs of at most kTileRows, as even as possible.
template <typename Function>
void for_each_tile(size_t n, Function function) {
    const size_t tiles = (n + kTileRows - 1) / kTileRows;
    for (size_t t = 0; t < tiles; ++t) {
        const size_t begin = n * t / tiles;
        function(begin, n * (t + 1) / tiles - begin);
    }
}

// ---- q.k -------------------------------------------------------------------------------------

// 16 x 16 transpose of 32-bit elements.
inline void transpose(__m512i (&r)[16]) {
    __m512i t[16];
#pragma GCC unroll 8
    for (size_t i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    // r[4g + c] lane l now holds column 4l + c of rows 4g .. 4g+3.
#pragma GCC unroll 4
    for (size_t c = 0; c < 4; ++c) {
        const __m512i low01 = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x44);
        const __m512i high01 = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xEE);
        const __m512i low23 = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x44);
        const __m512i high23 = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xEE);
        t[c] = _mm512_shuffle_i32x4(low01, low23, 0x88);
        t[4 + c] = _mm512_shuffle_i32x4(low01, low23, 0xDD);
        t[8 + c] = _mm512_shuffle_i32x4(high01, high23, 0x88);
        t[12 + c] = _mm512_shuffle_i32x4(high01, high23, 0xDD);
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; ++i) r[i] = t[i];
}

// The first n of 16 floats, the rest zero.
inline __m512 load_floats(const float* p, size_t n) {
    return n >= kLanes ? _mm512_loadu_ps(p)
                       : _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
}

// q [num_heads][dim] f32, exact in bf16, to panels with heads in lanes.
void pack_q(const AttentionArgs& args, const Workspace& w) {
    const size_t dim = args.format.dim();
    for (size_t head = 0; head < w.heads; head += kLanes) {
        const size_t first_head = head / kPanel * kPanel;
        const size_t width = w.panel_width(first_head);
        Bf16Pair* panel = w.q + first_head * (w.dims / 2) + (head - first_head);
        for (size_t d = 0; d < w.dims; d += kPanel) {
            __m512i block[16];
            for (size_t i = 0; i < kLanes; ++i) {
                const float* q = args.q + (head + i) * dim + d;
                const size_t n = head + i < args.num_heads && d < dim ? dim - d : 0;
                const __m512 low = load_floats(q, n);
                const __m512 high = load_floats(q + kLanes, n > kLanes ? n - kLanes : 0);
                block[i] = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
            }
            transpose(block);
            for (size_t i = 0; i < kLanes; ++i)
                _mm512_store_si512(panel + (d / 2 + i) * width, block[i]);
        }
    }
}

template <size_t M, size_t N>
void score_tile(const Workspace& w, size_t row, size_t head, size_t steps) {
    __m512 acc[M][N];
    for_each(acc, [](__m512& c, size_t, size_t) { c = _mm512_setzero_ps(); });
    accumulate<M, N>(w.rows + row * (w.dims / 2), w.dims / 2, 1, w.q + head * (w.dims / 2), steps,
                     acc);
    float* out = w.scores + row * w.heads + head;
    for_each(acc, [&](__m512 c, size_t i, size_t n) { _mm512_store_ps(out + i * w.heads + n, c); });
}

using ScoreTile = void (*)(const Workspace&, size_t, size_t, size_t);
template <size_t N, size_t... M>
constexpr std::array<ScoreTile, kTileRows> score_tiles(std::index_sequence<M...>) {
    return {score_tile<M + 1, N>...};
}
constexpr auto kTileSizes = std::make_index_sequence<kTileRows>{};
constexpr std::array<ScoreTile, kTileRows> kScoreTiles1 = score_tiles<1>(kTileSizes);
constexpr std::array<ScoreTile, kTileRows> kScoreTiles2 = score_tiles<2>(kTileSizes);

// Asks for the encoded rows [begin, end), as far as there are any. They lie anywhere in memory, so
// the hardware does not foresee them; a row costs about 100 ns if decoding is what first misses it.
// Always inline, as GCC 12 drops calls of a function that only prefetches.
[[gnu::always_inline]] inline void prefetch_rows(const AttentionArgs& args, size_t begin,
                                                 size_t end) {
    const size_t row_bytes = args.format.row_bytes();
    for (size_t j = begin; j < std::min(end, args.rows.size()); ++j)
        for (size_t i = 0; i < row_bytes + kCacheLine; i += kCacheLine)
            _mm_prefetch(args.rows[j] + std::min(i, row_bytes - 1), _MM_HINT_T0);
}

// scores [num_rows][heads] of the decoded rows; fetches the chunk after, at next, meanwhile.
void score_chunk(const AttentionArgs& args, const Workspace& w, size_t num_rows, size_t next) {
    const size_t dim = args.format.dim();
    for (size_t head = 0; head < w.heads; head += kPanel) {
        const auto& tiles = w.panel_width(head) == kPanel ? kScoreTiles2 : kScoreTiles1;
        for_each_tile(num_rows, [&](size_t row, size_t rows) {
            if (head == 0) prefetch_rows(args, next + row, next + row + rows);
            tiles[rows - 1](w, row, head, (dim + 1) / 2);
        });
    }
}

// ---- decoding --------------------------------------------------------------------------------

// Columns [d, d + 32) of rows `pair * 2` and the next, into both copies.
inline void store_columns(const Workspace& w, size_t pair, size_t d, __m512i even, __m512i odd) {
    const __m512i first_half =
        _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6,
                         37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i second_half = _mm512_add_epi16(first_half, _mm512_set1_epi16(16));
    Bf16Pair* row = w.rows + (2 * pair * w.dims + d) / 2;
    _mm512_store_si512(row, even);
    _mm512_store_si512(row + w.dims / 2, odd);
    Bf16Pair* pairs = w.row_pairs + d * kChunkPairs + pair * kPanel;
    _mm512_store_si512(pairs, _mm512_permutex2var_epi16(even, first_half, odd));
    _mm512_store_si512(pairs + kLanes, _mm512_permutex2var_epi16(even, second_half, odd));
}

// The bf16 columns [i, i + 32) of the rope part, zero beyond its end.
inline __m512i load_rope(const KvRowFormat& format, const uint8_t* row, size_t i) {
    const size_t left = format.rope_dim - i;
    const __mmask32 mask = left >= kPanel ? ~__mmask32{0} : (__mmask32{1} << left) - 1;
    return _mm512_maskz_loadu_epi16(mask, row + format.nope_dim + 2 * i);
}

// odd may be null: a row of zeros.
void decode_pair(const KvRowFormat& format, const Workspace& w, size_t pair, const uint8_t* even,
                 const uint8_t* odd) {
    const std::array<Fp8ToBf16Table, 256>& tables = fp8_to_bf16_tables();
    const __m512i zero = _mm512_setzero_si512();
    for (size_t d = 0; d < format.nope_dim; d += kFp8KvBlock) {
        const size_t scale = format.scales_offset() + d / kFp8KvBlock;
        const Bf16Columns a = Fp8Lookup(tables[even[scale]]).decode(_mm512_loadu_si512(even + d));
        const Bf16Columns b =
            odd != nullptr ? Fp8Lookup(tables[odd[scale]]).decode(_mm512_loadu_si512(odd + d))
                           : Bf16Columns{zero, zero};
        store_columns(w, pair, d, a.first, b.first);
        store_columns(w, pair, d + kPanel, a.second, b.second);
    }
    for (size_t i = 0; i < format.rope_dim; i += kPanel)
        store_columns(w, pair, format.nope_dim + i, load_rope(format, even, i),
                      odd != nullptr ? load_rope(format, odd, i) : zero);
}

// ---- softmax ---------------------------------------------------------------------------------

// e^x to about 1 ulp; 0 below -104, infinity above 88.8, NaN stays.
inline __m512 exp_lanes(__m512 x) {
    // The bounds come first: min and max return their second operand if either is NaN.
    x = _mm512_max_ps(_mm512_set1_ps(-104.0f), x);
    x = _mm512_min_ps(_mm512_set1_ps(89.0f), x);
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.442695041f)),
                                          _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    // ln 2 in two parts, the first with 9 trailing zero bits, so that n * ln2_high is exact.
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.62e4p-1f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.7f7d1cp-20f), r);
    // Taylor to degree 7: the rest is below r^8 / 8! = 5e-9 at |r| = ln 2 / 2.
    constexpr std::array<float, 8> kInverseFactorials = {
        1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 1.0f / 2, 1.0f, 1.0f};
    __m512 value = _mm512_set1_ps(kInverseFactorials[0]);
#pragma GCC unroll 7
    for (size_t i = 1; i < kInverseFactorials.size(); ++i)
        value = _mm512_fmadd_ps(value, r, _mm512_set1_ps(kInverseFactorials[i]));
    return _mm512_scalef_ps(value, n);
}

// Two rows of 16 heads to [head][row pair].
inline __m512i pair_heads(__m512 even, __m512 odd) {
    const __m512i interleave =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(interleave,
                                    reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd, even)));
}

// Rows [begin, begin + n) of the chunk, one block of the online softmax.
void softmax_block(const Workspace& w, size_t begin, size_t n, float scale) {
    const __m512 factor = _mm512_set1_ps(scale);
    float* rescale_out = w.rescale + begin / kAttentionBlock * w.heads;
    for (size_t head = 0; head < w.heads; head += kLanes) {
        const auto score = [&](size_t j) {
            return _mm512_mul_ps(factor, _mm512_load_ps(w.scores + (begin + j) * w.heads + head));
        };
        const __m512 old_max = _mm512_load_ps(w.max + head);
        __m512 max = old_max;
        for (size_t j = 0; j < n; ++j) max = _mm512_max_ps(max, score(j));
        const __m512 rescale = exp_lanes(_mm512_sub_ps(old_max, max));  // 0 for the first block
        __m512 sum = _mm512_mul_ps(_mm512_load_ps(w.sum + head), rescale);
        for (size_t j = 0; j < n; j += 2) {
            const __m512 even = exp_lanes(_mm512_sub_ps(score(j), max));
            const __m512 odd =
                j + 1 < n ? exp_lanes(_mm512_sub_ps(score(j + 1), max)) : _mm512_setzero_ps();
            sum = _mm512_add_ps(_mm512_add_ps(sum, even), odd);
            _mm512_store_si512(w.probs + (begin + j) / 2 * w.heads + head, pair_heads(even, odd));
        }
        _mm512_store_ps(w.max + head, max);
        _mm512_store_ps(w.sum + head, sum);
        _mm512_store_ps(rescale_out + head, rescale);
    }
}

// ---- p.k -------------------------------------------------------------------------------------

// Heads [head, head + M) by the panel's 32 dimensions. The first chunk starts from zero.
template <size_t M>
void value_tile(const Workspace& w, size_t head, size_t panel, size_t num_rows, bool is_first) {
    float* out = w.acc + (panel * w.num_heads + head) * kPanel;
    __m512 acc[M][2];
    if (is_first)
        for_each(acc, [](__m512& c, size_t, size_t) { c = _mm512_setzero_ps(); });
    else
        for_each(acc,
                 [&](__m512& c, size_t i, size_t n) { c = _mm512_load_ps(out + i * kPanel + n); });
    for (size_t begin = 0; begin < num_rows; begin += kAttentionBlock) {
        const float* rescale = w.rescale + begin / kAttentionBlock * w.heads + head;
        const __m512 factors = _mm512_maskz_loadu_ps((1u << M) - 1, rescale);
        // Multiplying by 1 changes no bit, so skipping it is not seen in the result.
        if (_mm512_mask_cmp_ps_mask((1u << M) - 1, factors, _mm512_set1_ps(1.0f), _CMP_NEQ_UQ))
            for_each(acc, [&](__m512& c, size_t i, size_t) {
                c = _mm512_mul_ps(c, _mm512_set1_ps(rescale[i]));
            });
        const size_t rows = std::min(kAttentionBlock, num_rows - begin);
        accumulate<M, 2>(w.probs + begin / 2 * w.heads + head, 1, w.heads,
                         w.row_pairs + (panel * kChunkPairs + begin / 2) * kPanel, (rows + 1) / 2,
                         acc);
    }
    for_each(acc, [&](__m512 c, size_t i, size_t n) { _mm512_store_ps(out + i * kPanel + n, c); });
}

using ValueTile = void (*)(const Workspace&, size_t, size_t, size_t, bool);
template <size_t... M>
constexpr std::array<ValueTile, kTileRows> value_tiles(std::index_sequence<M...>) {
    return {value_tile<M + 1>...};
}
constexpr std::array<ValueTile, kTileRows> kValueTiles = value_tiles(kTileSizes);

void add_values(const Workspace& w, size_t num_rows, bool is_first) {
    for (size_t panel = 0; panel < w.dims / kPanel; ++panel)
        for_each_tile(w.num_heads, [&](size_t head, size_t heads) {
            kValueTiles[heads - 1](w, head, panel, num_rows, is_first);
        });
}

// ---- the whole -------------------------------------------------------------------------------

// Divides by the denominator, rounds to bf16, and unpacks [panel][head][32] to [head][dim].
void write_out(const AttentionArgs& args, const Workspace& w) {
    const size_t dim = args.format.dim();
    for (size_t head = 0; head < w.heads; head += kLanes) {
        const size_t n = std::min(kLanes, w.num_heads - head);
        const __m512 sink = load_floats(args.sink + head, n);
        const __m512 sink_term = exp_lanes(_mm512_sub_ps(sink, _mm512_load_ps(w.max + head)));
        const __m512 sum = _mm512_add_ps(_mm512_load_ps(w.sum + head), sink_term);
        _mm512_store_ps(w.sum + head, _mm512_div_ps(_mm512_set1_ps(1.0f), sum));
    }
    for (size_t head = 0; head < w.num_heads; ++head) {
        const __m512 inverse_sum = _mm512_set1_ps(w.sum[head]);
        for (size_t d = 0; d < dim; d += kLanes) {
            const float* acc = w.acc + (d / kPanel * w.num_heads + head) * kPanel + d % kPanel;
            const __m256bh rounded =
                _mm512_cvtneps_pbh(_mm512_mul_ps(_mm512_load_ps(acc), inverse_sum));
            const __m512 value = _mm512_castsi512_ps(
                _mm512_slli_epi32(_mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(rounded)), 16));
            const size_t left = dim - d;
            const auto mask = static_cast<__mmask16>(left >= kLanes ? 0xFFFFu : (1u << left) - 1);
            _mm512_mask_storeu_ps(args.out + head * dim + d, mask, value);
        }
    }
}

}  // namespace

void attend_avx512(const AttentionArgs& args, AttentionScratch& scratch) {
    if (args.format.encoding != KvEncoding::kPacked || args.rounding != Rounding::kBf16)
        return attend_simd(args, scratch);
    CHECK(!args.rows.empty());
    CHECK(args.num_heads > 0);
    CHECK(args.format.nope_dim % kFp8KvBlock == 0);
    CHECK(args.format.rope_dim % 2 == 0);
    const Workspace w = make_workspace(args, scratch);
    prefetch_rows(args, 0, kChunk);
    pack_q(args, w);
    std::fill_n(w.max, w.heads, -std::numeric_limits<float>::infinity());
    std::fill_n(w.sum, w.heads, 0.0f);
    for (size_t begin = 0; begin < args.rows.size(); begin += kChunk) {
        const size_t n = std::min(kChunk, args.rows.size() - begin);
        const auto rows = args.rows.subspan(begin, n);
        for (size_t j = 0; j < n; j += 2)
            decode_pair(args.format, w, j / 2, rows[j], j + 1 < n ? rows[j + 1] : nullptr);
        score_chunk(args, w, n, begin + n);
        for (size_t j = 0; j < n; j += kAttentionBlock)
            softmax_block(w, j, std::min(kAttentionBlock, n - j), args.scale);
        add_values(w, n, begin == 0);
    }
    write_out(args, w);
}

}  // namespace baleen
