// Highway versions of kernels/hyper_connection.h; private to this folder.
#pragma once

#include <span>

#include "kernels/impl.h"

namespace baleen {

void hc_collapse_simd(std::span<const float> streams, std::span<const float> pre, Rounding rounding,
                      std::span<float> u);
void hc_update_simd(std::span<const float> y, std::span<const float> post,
                    std::span<const float> comb, Rounding rounding, std::span<float> streams);

}  // namespace baleen
