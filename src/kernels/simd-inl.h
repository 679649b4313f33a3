// What the Highway kernels of this folder share: rounding to bf16, exp, the loop over a vector.
// Included once per target, inside a translation unit that includes hwy/foreach_target.h.
#if defined(BALEEN_KERNELS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BALEEN_KERNELS_SIMD_INL_H_
#undef BALEEN_KERNELS_SIMD_INL_H_
#else
#define BALEEN_KERNELS_SIMD_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/impl.h"

HWY_BEFORE_NAMESPACE();
namespace baleen {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Calls f(tag, i) for every full vector of [0, n), then for one lane at a time: one body serves
// both, so an element's bits do not depend on where it stands.
template <class F>
HWY_INLINE void for_each_vector(size_t n, const F& f) {
    const hn::ScalableTag<float> full;
    const hn::CappedTag<float, 1> single;
    const size_t lanes = hn::Lanes(full);
    size_t i = 0;
    for (; i + lanes <= n; i += lanes) f(full, i);
    for (; i < n; ++i) f(single, i);
}

// The upper half of each lane is the nearest bf16, ties to even, NaN quieted, as bf16_from_f32;
// the lower half is to be dropped.
template <class D>
HWY_INLINE hn::Vec<hn::RebindToUnsigned<D>> bf16_in_upper_half(D, hn::Vec<D> value) {
    const hn::RebindToUnsigned<D> du;
    const auto bits = hn::BitCast(du, value);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
    const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFFu)));
    const auto quiet = hn::Or(bits, hn::Set(du, 0x400000u));
    return hn::IfThenElse(hn::RebindMask(du, hn::Ne(value, value)), quiet, rounded);
}

template <class D>
HWY_INLINE hn::Vec<hn::Rebind<uint16_t, D>> to_bf16(D d, hn::Vec<D> value) {
    const hn::Rebind<uint16_t, D> d16;
    return hn::TruncateTo(d16, hn::ShiftRight<16>(bf16_in_upper_half(d, value)));
}

// Nearest bf16 value, kept as f32; the value itself under kNone.
template <Rounding kRounding, class D>
HWY_INLINE hn::Vec<D> rounded(D d, hn::Vec<D> value) {
    if constexpr (kRounding == Rounding::kNone) return value;
    const hn::RebindToUnsigned<D> du;
    return hn::BitCast(d, hn::And(bf16_in_upper_half(d, value), hn::Set(du, 0xFFFF0000u)));
}

// e^x within 2 ulp (1 ulp of the smallest subnormal where the result is subnormal); overflow gives
// infinity, underflow 0, NaN stays NaN.
template <class D>
HWY_INLINE hn::Vec<D> exp_lanes(D d, hn::Vec<D> x) {
    const hn::RebindToSigned<D> di;
    // Past these bounds the result is infinity or 0 anyway; the comparisons let NaN through.
    const auto lowest = hn::Set(d, -104.0f), highest = hn::Set(d, 89.0f);
    x = hn::IfThenElse(hn::Lt(x, lowest), lowest, x);
    x = hn::IfThenElse(hn::Gt(x, highest), highest, x);
    // x = n ln 2 + r, |r| <= ln 2 / 2. The upper part of ln 2 has 15 bits: n times it is exact.
    const auto n = hn::Round(hn::Mul(x, hn::Set(d, 0x1.715476p+0f)));
    auto r = hn::NegMulAdd(n, hn::Set(d, 0x1.62e4p-1f), x);
    r = hn::NegMulAdd(n, hn::Set(d, 0x1.7f7d1cp-20f), r);
    // Taylor to degree 7; the next term is below 2^-27.
    auto p = hn::Set(d, 1.0f / 5040);
    p = hn::MulAdd(p, r, hn::Set(d, 1.0f / 720));
    p = hn::MulAdd(p, r, hn::Set(d, 1.0f / 120));
    p = hn::MulAdd(p, r, hn::Set(d, 1.0f / 24));
    p = hn::MulAdd(p, r, hn::Set(d, 1.0f / 6));
    p = hn::MulAdd(p, r, hn::Set(d, 0.5f));
    p = hn::Add(hn::MulAdd(hn::Mul(r, r), p, r), hn::Set(d, 1.0f));
    // 2^n in two factors, each a normal number: n reaches -150 and 128.
    const auto exponent = hn::ConvertTo(di, n);
    const auto half = hn::ShiftRight<1>(exponent);
    const auto bias = hn::Set(di, 127);
    const auto factor1 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, bias)));
    const auto factor2 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(exponent, half), bias)));
    return hn::Mul(hn::Mul(p, factor1), factor2);
}

}  // namespace HWY_NAMESPACE
}  // namespace baleen
HWY_AFTER_NAMESPACE();

#endif  // toggled once per target
