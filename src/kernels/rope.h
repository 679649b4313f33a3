// Rotary position embedding on interleaved pairs (spec 4.3). Angles are the f32 product of f32
// position and f32 frequency; a wider product would differ visibly from the reference near 1M.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/impl.h"

namespace baleen {

struct YarnArgs {
    double factor = 1;
    double original_context = 0;
    double beta_fast = 32;
    double beta_slow = 1;
};

// Frequencies base^(-2i/rope_dim), i < rope_dim/2, in f32; with yarn, interpolated (no mscale).
std::vector<float> rope_frequencies(int64_t rope_dim, double base, const YarnArgs* yarn);

// cos_sin [frequencies.size(), 2] at one position.
void rope_angles(std::span<const float> frequencies, int64_t position, std::span<float> cos_sin);

enum class RopeDirection : uint8_t { kForward, kInverse };

// Rotates the pairs (x[2i], x[2i+1]) in place; x [2 * pairs].
void rope_rotate(std::span<const float> cos_sin, RopeDirection direction, Rounding rounding,
                 std::span<float> x);

}  // namespace baleen
