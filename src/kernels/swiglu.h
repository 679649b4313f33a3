// Clamped SwiGLU (spec 8.2): out = weight * silu(min(gate, limit)) * clamp(up, -limit, limit).
#pragma once

#include <span>

#include "kernels/impl.h"

namespace baleen {

// gate, up, out [I] f32; out may be either input. The routing weight is folded in here, before the
// down projection's quantisation; 1 for the shared expert.
void swiglu(Impl impl, std::span<const float> gate, std::span<const float> up, float limit,
            float weight, Rounding rounding, std::span<float> out);

void swiglu_simd(std::span<const float> gate, std::span<const float> up, float limit, float weight,
                 Rounding rounding, std::span<float> out);

}  // namespace baleen
