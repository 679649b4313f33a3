// Manifold-constrained hyper-connections (spec 3.3 to 3.5): n residual streams of width D.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/impl.h"

namespace baleen {

inline constexpr size_t kHcStreamsMax = 16;  // V4 has 4; hc_update keeps a column on the stack

// What one site does with the streams of one token; n = hc_mult.
struct HcSplitArgs {
    std::span<const float> mixes;  // [n*(n+2)] f32: (fn . v) * rstd
    std::span<const float> base;   // [n*(n+2)]
    std::span<const float> scale;  // [3]: pre, post, comb
    float eps = 0;
    int64_t sinkhorn_iters = 0;
};

// pre [n] = sigmoid + eps; post [n] = 2 sigmoid; comb [n, n] (source, destination) by Sinkhorn:
// row softmax + eps, column, then sinkhorn_iters - 1 times (row, column).
void hc_split(const HcSplitArgs& args, std::span<float> pre, std::span<float> post,
              std::span<float> comb);

// w [n] = sigmoid(mixes * scale + base) + eps: the collapse before the final norm (spec 3.5).
void hc_head_weights(std::span<const float> mixes, std::span<const float> base, float scale,
                     float eps, std::span<float> w);

// u [D] = sum_j pre[j] * streams[j], streams [n, D].
void hc_collapse(Impl impl, std::span<const float> streams, std::span<const float> pre,
                 Rounding rounding, std::span<float> u);

// streams'[k] = post[k] * y + sum_j comb[j][k] * streams[j], in place; streams [n, D], y [D].
// The sum runs over the FIRST index of comb: Sinkhorn leaves it non-symmetric, so swapping the
// axes is a silent bug.
void hc_update(Impl impl, std::span<const float> y, std::span<const float> post,
               std::span<const float> comb, Rounding rounding, std::span<float> streams);

}  // namespace baleen
