// Highway version of kernels/linear.h: decodes eight weight rows at a time to f32 in cache, then
// dots them with every activation row. Four accumulators a dot, fixed order.
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
        hn::StoreU(hn::BitCast(df, hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(d16, values + i)))),
                   df, out + i);
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

HWY_INLINE float dot(const float* HWY_RESTRICT w, const float* HWY_RESTRICT x, size_t n) {
    const DF df;
    const size_t lanes = hn::Lanes(df);
    auto s0 = hn::Zero(df), s1 = hn::Zero(df), s2 = hn::Zero(df), s3 = hn::Zero(df);
    size_t i = 0;
    for (; i + 4 * lanes <= n; i += 4 * lanes) {
        s0 = hn::MulAdd(hn::LoadU(df, w + i), hn::LoadU(df, x + i), s0);
        s1 = hn::MulAdd(hn::LoadU(df, w + i + lanes), hn::LoadU(df, x + i + lanes), s1);
        s2 = hn::MulAdd(hn::LoadU(df, w + i + 2 * lanes), hn::LoadU(df, x + i + 2 * lanes), s2);
        s3 = hn::MulAdd(hn::LoadU(df, w + i + 3 * lanes), hn::LoadU(df, x + i + 3 * lanes), s3);
    }
    for (; i + lanes <= n; i += lanes)
        s0 = hn::MulAdd(hn::LoadU(df, w + i), hn::LoadU(df, x + i), s0);
    float sum = hn::GetLane(hn::SumOfLanes(df, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
    for (; i < n; ++i) sum += w[i] * x[i];
    return sum;
}

void LinearRows(const LinearJob& job, size_t row_begin, size_t row_end, float* tile) {
    const WeightMatrix& w = *job.weight;
    // f32 rows are read where they lie; tile memory holds one decoded row otherwise.
    for (size_t row = row_begin; row < row_end; ++row) {
        const float* weights = tile;
        if (w.format == WeightFormat::kF32)
            weights = reinterpret_cast<const float*>(w.row(row));
        else
            decode_row(w, row, tile);
        for (size_t i = 0; i < job.num_inputs; ++i) {
            const size_t input_row =
                job.input_rows != nullptr ? static_cast<size_t>(job.input_rows[i]) : i;
            const float value =
                dot(weights, job.input->f32_row(input_row) + job.input_col_begin, w.cols);
            job.out[i * job.out_stride + row - job.row_begin] =
                job.rounding == Rounding::kBf16 ? round_bf16(value) : value;
        }
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
    CHECK_GE(scratch.tile.size(), job.weight->cols);
    HWY_DYNAMIC_DISPATCH(LinearRows)(job, row_begin, row_end, scratch.tile.data());
}

}  // namespace baleen
#endif
