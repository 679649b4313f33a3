#include "kernels/swiglu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/swiglu_simd.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace baleen {
namespace HWY_NAMESPACE {

// The clamps compare and select, as min and max drop NaN on x86. A finite gate far below 0 is
// divided by infinity and gives -0; a gate of -infinity gives NaN, as in the reference.
template <Rounding kRounding>
HWY_INLINE void swiglu_lanes(std::span<const float> gate, const float* up, float limit,
                             float weight, float* out) {
    for_each_vector(gate.size(), [&](auto d, size_t i) HWY_ATTR {
        const auto high = hn::Set(d, limit), low = hn::Set(d, -limit);
        auto g = hn::LoadU(d, gate.data() + i);
        g = hn::IfThenElse(hn::Gt(g, high), high, g);
        auto u = hn::LoadU(d, up + i);
        u = hn::IfThenElse(hn::Gt(u, high), high, u);
        u = hn::IfThenElse(hn::Lt(u, low), low, u);
        const auto silu = hn::Div(g, hn::Add(hn::Set(d, 1.0f), exp_lanes(d, hn::Neg(g))));
        const auto value = hn::Mul(hn::Set(d, weight), hn::Mul(silu, u));
        hn::StoreU(rounded<kRounding>(d, value), d, out + i);
    });
}

void SwiGlu(std::span<const float> gate, const float* up, float limit, float weight,
            Rounding rounding, float* out) {
    if (rounding == Rounding::kBf16)
        swiglu_lanes<Rounding::kBf16>(gate, up, limit, weight, out);
    else
        swiglu_lanes<Rounding::kNone>(gate, up, limit, weight, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace baleen
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baleen {

HWY_EXPORT(SwiGlu);

void swiglu_simd(std::span<const float> gate, std::span<const float> up, float limit, float weight,
                 Rounding rounding, std::span<float> out) {
    HWY_DYNAMIC_DISPATCH(SwiGlu)(gate, up.data(), limit, weight, rounding, out.data());
}

}  // namespace baleen
#endif
