// Activations to bf16 or FP8 (spec 10.1), and weight rows to f32. One row per call.
#pragma once

#include <span>

#include "kernels/impl.h"
#include "quant/quant.h"
#include "tensor/weight_matrix.h"

namespace baleen {

// x := decode(e4m3(x)) in blocks of 128; every implementation gives the same bits as
// fp8_roundtrip.
void quantize_fp8(Impl impl, std::span<float> x);
// The same, stored as bf16, in which the result is exact.
void quantize_fp8_to_bf16(Impl impl, std::span<const float> x, std::span<Bf16> out);
void round_to_bf16(Impl impl, std::span<const float> x, std::span<Bf16> out);

// out [w.cols] := row r of w in f32, exactly.
void decode_weight_row(const WeightMatrix& w, size_t r, std::span<float> out);

}  // namespace baleen
