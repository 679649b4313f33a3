// Gated pooling of a compressor block (spec 5.2, 5.3): per channel,
//   entry[i] = sum_j softmax_j(gate[j][i]) * kv[j][i].
#pragma once

#include <cstddef>
#include <span>

#include "kernels/impl.h"

namespace baleen {

// kv[j], gate[j] point at [entry.size()] f32, oldest item first; the position bias is already in
// the gates. Ratio 128: 128 items. Ratio 4: the previous block's lower lanes, then the current
// block's upper lanes; the first block of a sequence has four items only. The order of the sums
// is that of the items.
void compress_window(Impl impl, std::span<const float* const> kv,
                     std::span<const float* const> gate, std::span<float> entry);

void compress_window_simd(std::span<const float* const> kv, std::span<const float* const> gate,
                          std::span<float> entry);

}  // namespace baleen
