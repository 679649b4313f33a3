// Highway versions of kernels/quantize.h; private to this folder.
#pragma once

#include <span>

#include "quant/quant.h"

namespace baleen {

// out may be x.
void quantize_fp8_simd(std::span<const float> x, std::span<float> out);
void quantize_fp8_to_bf16_simd(std::span<const float> x, std::span<Bf16> out);
void round_to_bf16_simd(std::span<const float> x, std::span<Bf16> out);

}  // namespace baleen
