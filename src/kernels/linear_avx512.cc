// AVX-512 bf16 version of kernels/linear.h.
//
// Every dot product is one 512-bit accumulator: 32 columns a step in ascending order
// (vdpbf16ps), then one fixed reduction tree (reduce8). Three routes give the same bits:
//   few activation rows   weights are decoded in registers and used at once (memory-bound)
//   many                  a tile of weight rows is decoded to bf16 in L2 and used by all
//   bf16 weights          read where they lie
// Block scales are folded into the decoded bf16 weight through tables that hold all codes for
// every scale byte, so no route ever multiplies by a scale. vdpbf16ps flushes subnormal bf16
// (below 2^-126) to zero.
//
// FP8 decode: fp8_decode_avx512.h. FP4 decode, 32 columns: zero-extend bytes to 32 bits, copy the
// high nibble to the upper half, 1 word lookup.
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "kernels/fp8_decode_avx512.h"
#include "kernels/linear.h"

namespace baleen {
namespace {

constexpr size_t kStep = 32;        // columns of one vdpbf16ps
constexpr size_t kFusedInputs = 4;  // up to this many activation rows decode in registers
constexpr size_t kTileRows = 6;     // register tile of the many-rows route: 4 x 6 accumulators
constexpr size_t kTileInputs = 4;

// ---- decoding --------------------------------------------------------------------------------

inline __m512bh as_bf16(__m512i v) {
    return reinterpret_cast<__m512bh>(v);
}
inline __m512 dot_step(__m512 acc, __m512i x, __m512i w) {
    return _mm512_dpbf16_ps(acc, as_bf16(x), as_bf16(w));
}

// 16 bytes, 32 columns, natural order.
inline __m512i decode_fp4_step(__m128i packed, const Fp4ToBf16Table& table) {
    const __m512i wide = _mm512_cvtepu8_epi32(packed);
    const __m512i index = _mm512_or_si512(wide, _mm512_slli_epi32(wide, 12));
    return _mm512_permutexvar_epi16(index, _mm512_load_si512(table.values.data()));
}

// Loads n of 64 codes (the rest code 0 = +0).
inline __m512i load_codes(const uint8_t* p, size_t n) {
    return n >= 64 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi8((uint64_t{1} << n) - 1, p);
}

// ---- reduction -------------------------------------------------------------------------------

// Sums of the 16 lanes of eight accumulators, by the one tree that every route uses:
// ((l0+l8)+(l4+l12)) + ((l2+l10)+(l6+l14)) + the same over the odd lanes.
inline void reduce8(const __m512 acc[8], float out[8]) {
    __m512 halves[4];
    for (int i = 0; i < 4; ++i)
        halves[i] = _mm512_add_ps(_mm512_shuffle_f32x4(acc[2 * i], acc[2 * i + 1], 0x44),
                                  _mm512_shuffle_f32x4(acc[2 * i], acc[2 * i + 1], 0xEE));
    __m512 quarters[2];
    for (int i = 0; i < 2; ++i)
        quarters[i] = _mm512_add_ps(_mm512_shuffle_f32x4(halves[2 * i], halves[2 * i + 1], 0x88),
                                    _mm512_shuffle_f32x4(halves[2 * i], halves[2 * i + 1], 0xDD));
    const __m512 pairs = _mm512_add_ps(_mm512_shuffle_ps(quarters[0], quarters[1], 0x44),
                                       _mm512_shuffle_ps(quarters[0], quarters[1], 0xEE));
    const __m512 sums = _mm512_add_ps(pairs, _mm512_shuffle_ps(pairs, pairs, 0xB1));
    const __m512i order = _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 14, 10, 6, 2, 12, 8, 4, 0);
    _mm256_storeu_ps(out, _mm512_castps512_ps256(_mm512_permutexvar_ps(order, sums)));
}

inline float rounded(float value, Rounding rounding) {
    return rounding == Rounding::kBf16 ? round_bf16(value) : value;
}

inline const Bf16* input_row(const LinearJob& job, size_t i) {
    const size_t r = job.input_rows != nullptr ? static_cast<size_t>(job.input_rows[i]) : i;
    return job.input->bf16_row(r) + job.input_col_begin;
}

// ---- few activation rows: decode in registers ------------------------------------------------

// Weight bytes are touched once, and a row is often just one memory page, on which the hardware's
// prefetchers have to start anew: each row asks for its place in the next group of rows.
inline void prefetch_next_group(const uint8_t* row, size_t group_bytes) {
    _mm_prefetch(reinterpret_cast<const char*>(row + group_bytes), _MM_HINT_T1);
}

// Accumulates rows [row, row + kRows) against kInputs activation rows.
template <size_t kInputs, size_t kRows>
inline void fused_fp8(const WeightMatrix& w, size_t row, const Bf16* const* x,
                      __m512 (&acc)[kInputs][kRows]) {
    const uint8_t* scales = w.scale_row(row);
    const auto& fp8_tables = fp8_to_bf16_tables();
    for (size_t k = 0; k < w.cols; k += 64) {
        const Fp8Lookup lookup(fp8_tables[scales[k / kFp8WeightBlock]]);
        const size_t left = w.cols - k;
        __m512i x0[kInputs], x1[kInputs];
#pragma GCC unroll 4
        for (size_t i = 0; i < kInputs; ++i) {
            x0[i] = _mm512_loadu_si512(x[i] + k);
            x1[i] = _mm512_loadu_si512(x[i] + k + kStep);
        }
#pragma GCC unroll 8
        for (size_t r = 0; r < kRows; ++r) {
            const uint8_t* codes = w.data + (row + r) * w.cols + k;
            prefetch_next_group(codes, kRows * w.cols);
            const Bf16Columns weights = lookup.decode(load_codes(codes, left));
#pragma GCC unroll 4
            for (size_t i = 0; i < kInputs; ++i) {
                acc[i][r] = dot_step(acc[i][r], x0[i], weights.first);
                acc[i][r] = dot_step(acc[i][r], x1[i], weights.second);
            }
        }
    }
}

template <size_t kInputs, size_t kRows>
inline void fused_fp4(const WeightMatrix& w, size_t row, const Bf16* const* x,
                      __m512 (&acc)[kInputs][kRows]) {
    const auto& fp4_tables = fp4_to_bf16_tables();
    const size_t row_bytes = w.row_bytes();
    const size_t scale_bytes = w.scale_row_bytes();
    const uint8_t* data = w.row(row);
    const uint8_t* scales = w.scale_row(row);
    for (size_t k = 0; k < w.cols; k += kStep) {
        __m512i xk[kInputs];
#pragma GCC unroll 4
        for (size_t i = 0; i < kInputs; ++i) xk[i] = _mm512_loadu_si512(x[i] + k);
#pragma GCC unroll 8
        for (size_t r = 0; r < kRows; ++r) {
            const uint8_t* codes = data + r * row_bytes + k / 2;
            if (k % 128 == 0) prefetch_next_group(codes, kRows * row_bytes);  // a cache line
            const __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes));
            const __m512i weights =
                decode_fp4_step(packed, fp4_tables[scales[r * scale_bytes + k / kFp4Block]]);
#pragma GCC unroll 4
            for (size_t i = 0; i < kInputs; ++i) acc[i][r] = dot_step(acc[i][r], xk[i], weights);
        }
    }
}

template <size_t kInputs, size_t kRows>
inline void fused_bf16(const WeightMatrix& w, size_t row, const Bf16* const* x,
                       __m512 (&acc)[kInputs][kRows]) {
    const Bf16* data = reinterpret_cast<const Bf16*>(w.data) + row * w.cols;
    for (size_t k = 0; k < w.cols; k += kStep) {
        const size_t left = w.cols - k;
        const __mmask32 mask = left >= kStep ? ~__mmask32{0} : (__mmask32{1} << left) - 1;
        __m512i xk[kInputs];
#pragma GCC unroll 4
        for (size_t i = 0; i < kInputs; ++i) xk[i] = _mm512_loadu_si512(x[i] + k);
#pragma GCC unroll 8
        for (size_t r = 0; r < kRows; ++r) {
            const Bf16* values = data + r * w.cols + k;
            prefetch_next_group(reinterpret_cast<const uint8_t*>(values), kRows * w.row_bytes());
            const __m512i weights = _mm512_maskz_loadu_epi16(mask, values);
#pragma GCC unroll 4
            for (size_t i = 0; i < kInputs; ++i) acc[i][r] = dot_step(acc[i][r], xk[i], weights);
        }
    }
}

template <size_t kInputs, size_t kRows>
void fused_rows(const LinearJob& job, size_t row, const Bf16* const* x, size_t first_input) {
    __m512 acc[kInputs][kRows];
    for (auto& input : acc)
        for (__m512& a : input) a = _mm512_setzero_ps();
    switch (job.weight->format) {
        case WeightFormat::kFp8: fused_fp8<kInputs, kRows>(*job.weight, row, x, acc); break;
        case WeightFormat::kFp4: fused_fp4<kInputs, kRows>(*job.weight, row, x, acc); break;
        case WeightFormat::kBF16: fused_bf16<kInputs, kRows>(*job.weight, row, x, acc); break;
        case WeightFormat::kF32: CHECK(false);
    }
    for (size_t i = 0; i < kInputs; ++i) {
        __m512 lanes[8];
        for (size_t r = 0; r < 8; ++r) lanes[r] = r < kRows ? acc[i][r] : _mm512_setzero_ps();
        float sums[8];
        reduce8(lanes, sums);
        float* out = job.out + (first_input + i) * job.out_stride + (row - job.row_begin);
        for (size_t r = 0; r < kRows; ++r) out[r] = rounded(sums[r], job.rounding);
    }
}

// kRows rows at a time while whole groups fit in the row's scale block, then one by one.
template <size_t kInputs, size_t kRows>
void fused_range(const LinearJob& job, size_t row_begin, size_t row_end, size_t first_input) {
    const Bf16* x[kInputs];
    for (size_t i = 0; i < kInputs; ++i) x[i] = input_row(job, first_input + i);
    size_t row = row_begin;
    while (row < row_end) {
        const size_t scale_block_end = (row / kFp8WeightBlock + 1) * kFp8WeightBlock;
        if (row + kRows <= std::min(row_end, scale_block_end)) {
            fused_rows<kInputs, kRows>(job, row, x, first_input);
            row += kRows;
        } else {
            fused_rows<kInputs, 1>(job, row, x, first_input);
            ++row;
        }
    }
}

void fused(const LinearJob& job, size_t row_begin, size_t row_end) {
    switch (job.num_inputs) {
        // Four streams of weights, not eight: an eighth faster where memory is the limit.
        case 1: return fused_range<1, 4>(job, row_begin, row_end, 0);
        case 2: return fused_range<2, 8>(job, row_begin, row_end, 0);
        case 3: return fused_range<3, 4>(job, row_begin, row_end, 0);
        case 4: return fused_range<4, 4>(job, row_begin, row_end, 0);
        default: CHECK(job.num_inputs == 0);
    }
}

// ---- many activation rows: decode a tile, then use it for all --------------------------------

// out [cols rounded up to kStep] bf16.
void decode_row(const WeightMatrix& w, size_t row, Bf16* out) {
    const uint8_t* data = w.row(row);
    if (w.format == WeightFormat::kBF16) {
        std::memcpy(out, data, w.row_bytes());
        std::fill(out + w.cols, out + (w.cols + kStep - 1) / kStep * kStep, Bf16{0});
        return;
    }
    const uint8_t* scales = w.scale_row(row);
    const auto& fp8_tables = fp8_to_bf16_tables();
    const auto& fp4_tables = fp4_to_bf16_tables();
    if (w.format == WeightFormat::kFp8) {
        for (size_t k = 0; k < w.cols; k += 64) {
            const Bf16Columns weights = Fp8Lookup(fp8_tables[scales[k / kFp8WeightBlock]])
                                            .decode(load_codes(data + k, w.cols - k));
            _mm512_store_si512(out + k, weights.first);
            _mm512_store_si512(out + k + kStep, weights.second);
        }
    } else {
        for (size_t k = 0; k < w.cols; k += kStep)
            _mm512_store_si512(
                out + k,
                decode_fp4_step(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data + k / 2)),
                                fp4_tables[scales[k / kFp4Block]]));
    }
}

template <size_t kInputs, size_t kRows>
void dot_tile(const Bf16* const* x, const Bf16* const* w, size_t cols, float* sums) {
    __m512 acc[kInputs * kRows];
#pragma GCC unroll 24
    for (__m512& a : acc) a = _mm512_setzero_ps();
    for (size_t k = 0; k < cols; k += kStep) {
        __m512i xk[kInputs];
#pragma GCC unroll 4
        for (size_t i = 0; i < kInputs; ++i) xk[i] = _mm512_loadu_si512(x[i] + k);
#pragma GCC unroll 6
        for (size_t r = 0; r < kRows; ++r) {
            const __m512i wk = _mm512_load_si512(w[r] + k);
#pragma GCC unroll 4
            for (size_t i = 0; i < kInputs; ++i)
                acc[i * kRows + r] = dot_step(acc[i * kRows + r], xk[i], wk);
        }
    }
    __m512 lanes[8];
#pragma GCC unroll 4
    for (size_t base = 0; base < kInputs * kRows; base += 8) {
#pragma GCC unroll 8
        for (size_t j = 0; j < 8; ++j)
            lanes[j] = base + j < kInputs * kRows ? acc[base + j] : _mm512_setzero_ps();
        reduce8(lanes, sums + base);
    }
}

// Register tiles of 4 x 6; rows of a short last group repeat its last row and are not stored.
template <size_t kInputs>
void tile_inputs(const LinearJob& job, size_t first_input, size_t row_begin, size_t num_rows,
                 const Bf16* const* w) {
    const Bf16* x[kInputs];
    for (size_t i = 0; i < kInputs; ++i) x[i] = input_row(job, first_input + i);
    for (size_t r = 0; r < num_rows; r += kTileRows) {
        alignas(64) float sums[kTileInputs * kTileRows + 8];
        dot_tile<kInputs, kTileRows>(x, w + r, job.weight->cols, sums);
        const size_t rows = std::min(kTileRows, num_rows - r);
        for (size_t i = 0; i < kInputs; ++i) {
            float* out =
                job.out + (first_input + i) * job.out_stride + (row_begin + r - job.row_begin);
            for (size_t j = 0; j < rows; ++j)
                out[j] = rounded(sums[i * kTileRows + j], job.rounding);
        }
    }
}

void tiled(const LinearJob& job, size_t row_begin, size_t row_end, LinearScratch& scratch) {
    const WeightMatrix& w = *job.weight;
    const size_t stride = (w.cols + 63) / 64 * 64;
    Bf16* tile = reinterpret_cast<Bf16*>(scratch.tile.data());
    const size_t rows_max =
        std::min<size_t>(scratch.tile.size() * 2 / stride / kTileRows * kTileRows, 96);
    CHECK_GT(rows_max, 0u);
    for (size_t begin = row_begin; begin < row_end; begin += rows_max) {
        const size_t n = std::min(rows_max, row_end - begin);
        const Bf16* rows[96 + kTileRows];
        for (size_t r = 0; r < n; ++r) {
            decode_row(w, begin + r, tile + r * stride);
            rows[r] = tile + r * stride;
        }
        for (size_t r = n; r < n + kTileRows; ++r) rows[r] = rows[n - 1];
        size_t i = 0;
        for (; i + kTileInputs <= job.num_inputs; i += kTileInputs)
            tile_inputs<4>(job, i, begin, n, rows);
        switch (job.num_inputs - i) {
            case 3: tile_inputs<3>(job, i, begin, n, rows); break;
            case 2: tile_inputs<2>(job, i, begin, n, rows); break;
            case 1: tile_inputs<1>(job, i, begin, n, rows); break;
            default: break;
        }
    }
}

}  // namespace

void linear_rows_avx512(const LinearJob& job, size_t row_begin, size_t row_end,
                        LinearScratch& scratch) {
    if (job.num_inputs <= kFusedInputs)
        fused(job, row_begin, row_end);
    else
        tiled(job, row_begin, row_end, scratch);
}

}  // namespace baleen
