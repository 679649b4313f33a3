// Highway version of kernels/linear.h: decodes four weight rows at a time to f32 in cache, then
// dots them with every activation row.
#include <algorithm>

#include "base/check.h"
#include "kernels/linear.h"
#include "kernels/quantize.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear_simd.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace baleen {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using DU = hn::RebindToUnsigned<DF>;
using DU8 = hn::Rebind<uint8_t, DF>;

// e4m3 codes [n] times 2^(scale - 127) to f32.
HWY_INLINE void decode_fp8(const uint8_t* codes, size_t n, uint8_t scale, float* out) {
    const DF df;
    const DU du;
    const size_t lanes = hn::Lanes(df);
    const auto factor = hn::Set(df, f32_from_ue8m0(scale));
    size_t i = 0;
    for (; i + lanes <= n; i += lanes) {
        const auto c = hn::PromoteTo(du, hn::LoadU(DU8(), codes + i));
        const auto magnitude = hn::And(c, hn::Set(du, 0x7Fu));
        const auto sign = hn::ShiftLeft<24>(hn::And(c, hn::Set(du, 0x80u)));
        // The exponent field lands 120 too low (bias 7 in a field of bias 127), subnormals too.
        const auto small = hn::BitCast(df, hn::Or(sign, hn::ShiftLeft<20>(magnitude)));
        const auto value = hn::Mul(hn::Mul(small, hn::Set(df, 0x1p120f)), factor);
        const auto nan = hn::BitCast(df, hn::Set(du, 0x7FC00000u));
        const auto is_nan = hn::RebindMask(df, hn::Eq(magnitude, hn::Set(du, 0x7Fu)));
        hn::StoreU(hn::IfThenElse(is_nan, nan, value), df, out + i);
    }
    for (; i < n; ++i) out[i] = f32_from_e4m3(codes[i]) * f32_from_ue8m0(scale);
}

// Packed e2m1 [n/2 bytes] times 2^(scale - 127) to f32, natural order. n is kFp4Block.
HWY_INLINE void decode_fp4(const uint8_t* packed, uint8_t scale, float* out) {
    const DF df;
    const DU du;
    const size_t lanes = hn::Lanes(df);
    const float factor = f32_from_ue8m0(scale);
    HWY_ALIGN uint8_t nibbles[kFp4Block];
    for (size_t i = 0; i < kFp4Block / 2; ++i) {
        nibbles[2 * i] = packed[i] & 15u;
        nibbles[2 * i + 1] = packed[i] >> 4;
    }
    for (size_t i = 0; i < kFp4Block; i += lanes) {
        const auto c = hn::PromoteTo(du, hn::LoadU(DU8(), nibbles + i));
        const auto sign = hn::ShiftLeft<28>(hn::And(c, hn::Set(du, 8u)));
        const auto small =
            hn::BitCast(df, hn::Or(sign, hn::ShiftLeft<22>(hn::And(c, hn::Set(du, 7u)))));
        hn::StoreU(hn::Mul(hn::Mul(small, hn::Set(df, 0x1p126f)), hn::Set(df, factor)), df,
                   out + i);
    }
}

HWY_INLINE void decode_bf16(const uint8_t* row, size_t n, float* out) {
    const DF df;
    const DU du;
    const hn::Rebind<uint16_t, DF> d16;
    const size_t lanes = hn::Lanes(df);
    const uint16_t* values = reinterpret_cast<const uint16_t*>(row);
    size_t i = 0;
    for (; i + lanes <= n; i += lanes)
        hn::StoreU(
            hn::BitCast(df, hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(d16, values + i)))), df,
            out + i);
    for (; i < n; ++i) out[i] = f32_from_bf16(values[i]);
}

HWY_INLINE void decode_row(const WeightMatrix& w, size_t r, float* out) {
    const uint8_t* row = w.row(r);
    switch (w.format) {
        case WeightFormat::kF32: decode_weight_row(w, r, {out, w.cols}); break;
        case WeightFormat::kBF16: decode_bf16(row, w.cols, out); break;
        case WeightFormat::kFp8:
            for (size_t k = 0; k < w.cols; k += kFp8WeightBlock)
                decode_fp8(row + k, std::min(kFp8WeightBlock, w.cols - k),
                           w.scale_row(r)[k / kFp8WeightBlock], out + k);
            break;
        case WeightFormat::kFp4:
            for (size_t k = 0; k < w.cols; k += kFp4Block)
                decode_fp4(row + k / 2, w.scale_row(r)[k / kFp4Block], out + k);
            break;
    }
}

// Dots of kInputs activation rows with kRows weight rows. One accumulator each, whole vectors in
// ascending order, then the tail one by one: the bits do not depend on the grouping.
template <size_t kInputs, size_t kRows>
HWY_INLINE void dot_tile(const float* const* x, const float* const* w, size_t n, float* sums) {
    const DF df;
    const size_t lanes = hn::Lanes(df);
    hn::Vec<DF> acc00 = hn::Zero(df), acc01 = acc00, acc02 = acc00, acc03 = acc00;
    hn::Vec<DF> acc10 = acc00, acc11 = acc00, acc12 = acc00, acc13 = acc00;
    size_t k = 0;
    for (; k + lanes <= n; k += lanes) {
        const auto x0 = hn::LoadU(df, x[0] + k);
        const auto x1 = hn::LoadU(df, x[kInputs - 1] + k);
        const auto w0 = hn::LoadU(df, w[0] + k);
        acc00 = hn::MulAdd(x0, w0, acc00);
        if constexpr (kInputs == 2) acc10 = hn::MulAdd(x1, w0, acc10);
        if constexpr (kRows == 4) {
            const auto w1 = hn::LoadU(df, w[1] + k);
            const auto w2 = hn::LoadU(df, w[2] + k);
            const auto w3 = hn::LoadU(df, w[3] + k);
            acc01 = hn::MulAdd(x0, w1, acc01);
            acc02 = hn::MulAdd(x0, w2, acc02);
            acc03 = hn::MulAdd(x0, w3, acc03);
            if constexpr (kInputs == 2) {
                acc11 = hn::MulAdd(x1, w1, acc11);
                acc12 = hn::MulAdd(x1, w2, acc12);
                acc13 = hn::MulAdd(x1, w3, acc13);
            }
        }
    }
    const auto finish = [&](size_t i, size_t r, hn::Vec<DF> acc) {
        float sum = hn::GetLane(hn::SumOfLanes(df, acc));
        for (size_t tail = k; tail < n; ++tail) sum += w[r][tail] * x[i][tail];
        sums[i * kRows + r] = sum;
    };
    finish(0, 0, acc00);
    if constexpr (kInputs == 2) finish(1, 0, acc10);
    if constexpr (kRows == 4) {
        finish(0, 1, acc01);
        finish(0, 2, acc02);
        finish(0, 3, acc03);
        if constexpr (kInputs == 2) {
            finish(1, 1, acc11);
            finish(1, 2, acc12);
            finish(1, 3, acc13);
        }
    }
}

HWY_INLINE const float* input_row(const LinearJob& job, size_t i) {
    const size_t r = job.input_rows != nullptr ? static_cast<size_t>(job.input_rows[i]) : i;
    return job.input->f32_row(r) + job.input_col_begin;
}

template <size_t kRows>
HWY_INLINE void dot_rows(const LinearJob& job, size_t row, const float* const* w) {
    const auto store = [&](size_t i, const float* sums) {
        float* out = job.out + i * job.out_stride + (row - job.row_begin);
        for (size_t r = 0; r < kRows; ++r)
            out[r] = job.rounding == Rounding::kBf16 ? round_bf16(sums[r]) : sums[r];
    };
    const size_t n = job.weight->cols;
    float sums[2 * kRows];
    size_t i = 0;
    for (; i + 2 <= job.num_inputs; i += 2) {
        const float* x[2] = {input_row(job, i), input_row(job, i + 1)};
        dot_tile<2, kRows>(x, w, n, sums);
        store(i, sums);
        store(i + 1, sums + kRows);
    }
    if (i < job.num_inputs) {
        const float* x[1] = {input_row(job, i)};
        dot_tile<1, kRows>(x, w, n, sums);
        store(i, sums);
    }
}

// f32 rows are read where they lie; others are decoded into the tile.
HWY_INLINE const float* weight_row(const WeightMatrix& w, size_t row, float* tile) {
    if (w.format == WeightFormat::kF32) return reinterpret_cast<const float*>(w.row(row));
    decode_row(w, row, tile);
    return tile;
}

void LinearRows(const LinearJob& job, size_t row_begin, size_t row_end, float* tile) {
    const WeightMatrix& w = *job.weight;
    size_t row = row_begin;
    for (; row + 4 <= row_end; row += 4) {
        const float* rows[4];
        for (size_t r = 0; r < 4; ++r) rows[r] = weight_row(w, row + r, tile + r * w.cols);
        dot_rows<4>(job, row, rows);
    }
    for (; row < row_end; ++row) {
        const float* rows[1] = {weight_row(w, row, tile)};
        dot_rows<1>(job, row, rows);
    }
}

}  // namespace HWY_NAMESPACE
}  // namespace baleen
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baleen {

HWY_EXPORT(LinearRows);

void linear_rows_simd(const LinearJob& job, size_t row_begin, size_t row_end,
                      LinearScratch& scratch) {
    if (job.weight->format != WeightFormat::kF32)
        CHECK_GE(scratch.tile.size(), 4 * job.weight->cols);
    HWY_DYNAMIC_DISPATCH(LinearRows)(job, row_begin, row_end, scratch.tile.data());
}

}  // namespace baleen
#endif
