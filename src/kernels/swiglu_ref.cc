#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/swiglu.h"
#include "quant/quant.h"

namespace baleen {

void swiglu(Impl impl, std::span<const float> gate, std::span<const float> up, float limit,
            float weight, Rounding rounding, std::span<float> out) {
    CHECK_EQ(gate.size(), up.size());
    CHECK_EQ(gate.size(), out.size());
    if (impl != Impl::kRef) return swiglu_simd(gate, up, limit, weight, rounding, out);
    for (size_t i = 0; i < gate.size(); ++i) {
        const float g = std::min(gate[i], limit);
        const float u = std::clamp(up[i], -limit, limit);
        const float value = weight * (g / (1.0f + std::exp(-g)) * u);
        out[i] = rounding == Rounding::kBf16 ? round_bf16(value) : value;
    }
}

}  // namespace baleen
