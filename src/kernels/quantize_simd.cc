#include "kernels/quantize_simd.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quantize_simd.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace baleen {
namespace HWY_NAMESPACE {
using DF = hn::ScalableTag<float>;
using DU = hn::RebindToUnsigned<DF>;
using DB = hn::Rebind<uint16_t, DF>;
using VF = hn::Vec<DF>;

// Nearest e4m3 value, ties to even, of |value| <= 448, as f32.
HWY_INLINE VF nearest_e4m3(VF value) {
    const DF df;
    const DU du;
    const auto bits = hn::BitCast(du, value);
    const auto odd = hn::And(hn::ShiftRight<20>(bits), hn::Set(du, 1u));
    const auto rounded =
        hn::And(hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFFFu))), hn::Set(du, 0xFFF00000u));
    // Below 2^-6 the spacing is 2^-9: adding 1.5 * 2^14 leaves exactly those bits.
    const auto magic = hn::Set(df, 0x1.8p14f);
    const auto small = hn::CopySign(hn::Sub(hn::Add(value, magic), magic), value);
    return hn::IfThenElse(hn::Lt(hn::Abs(value), hn::Set(df, 0x1p-6f)), small,
                          hn::BitCast(df, rounded));
}

// Calls store(i, quantised lanes) over one block; the tail is handled through a padded copy.
template <typename Store>
HWY_INLINE void quantize_block(const float* x, size_t n, const Store& store) {
    const DF df;
    const size_t lanes = hn::Lanes(df);
    HWY_ALIGN float padded[kFp8ActivationBlock] = {};
    if (n < kFp8ActivationBlock) {
        std::copy(x, x + n, padded);
        x = padded;
    }
    auto amax = hn::Zero(df);
    for (size_t i = 0; i < kFp8ActivationBlock; i += lanes)
        amax = hn::Max(amax, hn::Abs(hn::LoadU(df, x + i)));
    const int k = fp8_scale_exponent(hn::GetLane(hn::MaxOfLanes(df, amax)));
    const auto down = hn::Set(df, std::ldexp(1.0f, -k));
    const auto up = hn::Set(df, std::ldexp(1.0f, k));
    const auto limit = hn::Set(df, kE4m3Max);
    for (size_t i = 0; i < kFp8ActivationBlock; i += lanes) {
        const auto scaled = hn::Mul(hn::LoadU(df, x + i), down);
        const auto clamped = hn::Max(hn::Neg(limit), hn::Min(scaled, limit));
        store(i, hn::Mul(nearest_e4m3(clamped), up));
    }
}

// NaN and infinity leave the fast path: max and clamp treat them differently on every target.
HWY_INLINE bool all_finite(const float* x, size_t n) {
    const DF df;
    const size_t lanes = hn::Lanes(df);
    auto sum = hn::Zero(df);
    size_t i = 0;
    for (; i + lanes <= n; i += lanes) {
        const auto v = hn::LoadU(df, x + i);
        sum = hn::Add(sum, hn::Sub(v, v));  // finite: 0; else NaN
    }
    float rest = hn::GetLane(hn::SumOfLanes(df, sum));
    for (; i < n; ++i) rest += x[i] - x[i];
    return rest == 0.0f;
}

void QuantizeFp8(const float* x, size_t n, float* out) {
    const DF df;
    for (size_t begin = 0; begin < n; begin += kFp8ActivationBlock) {
        const size_t count = std::min(kFp8ActivationBlock, n - begin);
        HWY_ALIGN float block[kFp8ActivationBlock];
        if (all_finite(x + begin, count)) {
            quantize_block(x + begin, count, [&](size_t i, VF v) { hn::Store(v, df, block + i); });
        } else {
            std::copy(x + begin, x + begin + count, block);
            fp8_roundtrip({block, count}, kFp8ActivationBlock);
        }
        std::copy(block, block + count, out + begin);
    }
}

void QuantizeFp8ToBf16(const float* x, size_t n, Bf16* out) {
    const DF df;
    for (size_t begin = 0; begin < n; begin += kFp8ActivationBlock) {
        const size_t count = std::min(kFp8ActivationBlock, n - begin);
        HWY_ALIGN Bf16 block[kFp8ActivationBlock];
        if (all_finite(x + begin, count)) {
            quantize_block(x + begin, count,
                           [&](size_t i, VF v) { hn::StoreU(to_bf16(df, v), DB(), block + i); });
        } else {
            float slow[kFp8ActivationBlock];
            std::copy(x + begin, x + begin + count, slow);
            fp8_roundtrip({slow, count}, kFp8ActivationBlock);
            for (size_t i = 0; i < count; ++i) block[i] = bf16_from_f32(slow[i]);
        }
        std::copy(block, block + count, out + begin);
    }
}

void RoundToBf16(const float* x, size_t n, Bf16* out) {
    const DF df;
    const size_t lanes = hn::Lanes(df);
    size_t i = 0;
    for (; i + lanes <= n; i += lanes) hn::StoreU(to_bf16(df, hn::LoadU(df, x + i)), DB(), out + i);
    for (; i < n; ++i) out[i] = bf16_from_f32(x[i]);
}

}  // namespace HWY_NAMESPACE
}  // namespace baleen
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baleen {

HWY_EXPORT(QuantizeFp8);
HWY_EXPORT(QuantizeFp8ToBf16);
HWY_EXPORT(RoundToBf16);

void quantize_fp8_simd(std::span<const float> x, std::span<float> out) {
    HWY_DYNAMIC_DISPATCH(QuantizeFp8)(x.data(), x.size(), out.data());
}
void quantize_fp8_to_bf16_simd(std::span<const float> x, std::span<Bf16> out) {
    HWY_DYNAMIC_DISPATCH(QuantizeFp8ToBf16)(x.data(), x.size(), out.data());
}
void round_to_bf16_simd(std::span<const float> x, std::span<Bf16> out) {
    HWY_DYNAMIC_DISPATCH(RoundToBf16)(x.data(), x.size(), out.data());
}

}  // namespace baleen
#endif
