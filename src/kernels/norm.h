// RMS norms (spec 3.2, 4.1). One vector per call; out may be x.
#pragma once

#include <span>

#include "kernels/impl.h"

namespace baleen {

// out = weight * (x * rsqrt(mean(x^2) + eps)), f32 inside, one rounding at the end.
void rms_norm(Impl impl, std::span<const float> x, std::span<const float> weight, float eps,
              Rounding rounding, std::span<float> out);

// x *= rsqrt(mean(x^2) + eps), no weight: the per-head norm of the queries. Under kBf16 it follows
// the reference's bf16 tensor arithmetic: the squares, the mean (accumulated in f32), mean + eps,
// its rsqrt and the products are each rounded to bf16.
void head_norm(Impl impl, std::span<float> x, float eps, Rounding rounding);

// mean(x^2) in f32.
float mean_square(Impl impl, std::span<const float> x);

}  // namespace baleen
