#include "kernels/norm_simd.h"

#include <cmath>

#include "quant/quant.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm_simd.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace baleen {
namespace HWY_NAMESPACE {

using D64 = hn::ScalableTag<double>;
using D32 = hn::Rebind<float, D64>;  // half a register: what widens into one f64 vector

// f64 lanes of x^2, the f32 square first rounded to bf16 under kBf16.
template <Rounding kRounding>
HWY_INLINE hn::Vec<D64> squares(const float* x) {
    const D64 d64;
    const D32 d32;
    const auto v = hn::LoadU(d32, x);
    if constexpr (kRounding == Rounding::kBf16)
        return hn::PromoteTo(d64, rounded<Rounding::kBf16>(d32, hn::Mul(v, v)));
    const auto wide = hn::PromoteTo(d64, v);
    return hn::Mul(wide, wide);
}

// f64 accumulation as in the reference: squares of f32 are exact in f64 and cannot overflow, and
// the order of the sum hardly ever shows after the one rounding to f32. Four accumulators.
template <Rounding kRounding>
HWY_INLINE float mean_of_squares(const float* x, size_t n) {
    const D64 d64;
    const size_t lanes = hn::Lanes(d64);
    auto s0 = hn::Zero(d64), s1 = hn::Zero(d64), s2 = hn::Zero(d64), s3 = hn::Zero(d64);
    size_t i = 0;
    for (; i + 4 * lanes <= n; i += 4 * lanes) {
        s0 = hn::Add(s0, squares<kRounding>(x + i));
        s1 = hn::Add(s1, squares<kRounding>(x + i + lanes));
        s2 = hn::Add(s2, squares<kRounding>(x + i + 2 * lanes));
        s3 = hn::Add(s3, squares<kRounding>(x + i + 3 * lanes));
    }
    for (; i + lanes <= n; i += lanes) s0 = hn::Add(s0, squares<kRounding>(x + i));
    double sum = hn::GetLane(hn::SumOfLanes(d64, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
    for (; i < n; ++i) {
        if constexpr (kRounding == Rounding::kBf16)
            sum += round_bf16(x[i] * x[i]);
        else
            sum += static_cast<double>(x[i]) * x[i];
    }
    return static_cast<float>(sum / static_cast<double>(n));
}

float MeanSquare(const float* x, size_t n) {
    return mean_of_squares<Rounding::kNone>(x, n);
}

// out := weight * (x * rstd)
template <Rounding kRounding>
HWY_INLINE void scale_weighted(const float* x, const float* weight, float rstd, size_t n,
                               float* out) {
    for_each_vector(n, [&](auto d, size_t i) HWY_ATTR {
        const auto scaled = hn::Mul(hn::LoadU(d, x + i), hn::Set(d, rstd));
        const auto value = hn::Mul(hn::LoadU(d, weight + i), scaled);
        hn::StoreU(rounded<kRounding>(d, value), d, out + i);
    });
}

void RmsNorm(std::span<const float> x, const float* weight, float eps, Rounding rounding,
             float* out) {
    const float rstd = 1.0f / std::sqrt(MeanSquare(x.data(), x.size()) + eps);
    if (rounding == Rounding::kBf16)
        scale_weighted<Rounding::kBf16>(x.data(), weight, rstd, x.size(), out);
    else
        scale_weighted<Rounding::kNone>(x.data(), weight, rstd, x.size(), out);
}

template <Rounding kRounding>
HWY_INLINE void scale_in_place(float* x, float rstd, size_t n) {
    for_each_vector(n, [&](auto d, size_t i) HWY_ATTR {
        const auto value = hn::Mul(hn::LoadU(d, x + i), hn::Set(d, rstd));
        hn::StoreU(rounded<kRounding>(d, value), d, x + i);
    });
}

void HeadNorm(float* x, size_t n, float eps, Rounding rounding) {
    if (rounding == Rounding::kNone)
        return scale_in_place<Rounding::kNone>(x, 1.0f / std::sqrt(MeanSquare(x, n) + eps), n);
    const float mean = round_bf16(mean_of_squares<Rounding::kBf16>(x, n));
    const float rstd = round_bf16(1.0f / std::sqrt(round_bf16(mean + eps)));
    scale_in_place<Rounding::kBf16>(x, rstd, n);
}

}  // namespace HWY_NAMESPACE
}  // namespace baleen
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baleen {

HWY_EXPORT(RmsNorm);
HWY_EXPORT(HeadNorm);
HWY_EXPORT(MeanSquare);

void rms_norm_simd(std::span<const float> x, std::span<const float> weight, float eps,
                   Rounding rounding, std::span<float> out) {
    HWY_DYNAMIC_DISPATCH(RmsNorm)(x, weight.data(), eps, rounding, out.data());
}
void head_norm_simd(std::span<float> x, float eps, Rounding rounding) {
    HWY_DYNAMIC_DISPATCH(HeadNorm)(x.data(), x.size(), eps, rounding);
}
float mean_square_simd(std::span<const float> x) {
    return HWY_DYNAMIC_DISPATCH(MeanSquare)(x.data(), x.size());
}

}  // namespace baleen
#endif
