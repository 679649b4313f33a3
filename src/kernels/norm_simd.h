// Highway versions of kernels/norm.h; private to this folder.
#pragma once

#include <span>

#include "kernels/impl.h"

namespace baleen {

void rms_norm_simd(std::span<const float> x, std::span<const float> weight, float eps,
                   Rounding rounding, std::span<float> out);
void head_norm_simd(std::span<float> x, float eps, Rounding rounding);
float mean_square_simd(std::span<const float> x);

}  // namespace baleen
