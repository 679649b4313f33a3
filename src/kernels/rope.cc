#include "kernels/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"
#include "quant/quant.h"

namespace baleen {
namespace {

// The (fractional) dimension whose wavelength fits `rotations` times into the original context.
double yarn_dimension(double rotations, int64_t rope_dim, double base, double original_context) {
    return static_cast<double>(rope_dim) *
           std::log(original_context / (rotations * 2 * std::numbers::pi)) / (2 * std::log(base));
}

}  // namespace

std::vector<float> rope_frequencies(int64_t rope_dim, double base, const YarnArgs* yarn) {
    CHECK_EQ(rope_dim % 2, 0);
    const int64_t pairs = rope_dim / 2;
    std::vector<float> frequencies(static_cast<size_t>(pairs));
    for (int64_t i = 0; i < pairs; ++i) {
        const float exponent = static_cast<float>(2 * i) / static_cast<float>(rope_dim);
        frequencies[static_cast<size_t>(i)] =
            1.0f / static_cast<float>(std::pow(base, static_cast<double>(exponent)));
    }
    if (yarn == nullptr) return frequencies;
    double low =
        std::floor(yarn_dimension(yarn->beta_fast, rope_dim, base, yarn->original_context));
    double high =
        std::ceil(yarn_dimension(yarn->beta_slow, rope_dim, base, yarn->original_context));
    low = std::max(low, 0.0);
    high = std::min(high, static_cast<double>(rope_dim - 1));
    if (low == high) high += 0.001;
    for (size_t i = 0; i < frequencies.size(); ++i) {
        const float ramp =
            static_cast<float>(std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0));
        const float interpolated = frequencies[i] / static_cast<float>(yarn->factor);
        frequencies[i] = interpolated * ramp + frequencies[i] * (1 - ramp);
    }
    return frequencies;
}

void rope_angles(std::span<const float> frequencies, int64_t position, std::span<float> cos_sin) {
    CHECK_EQ(cos_sin.size(), 2 * frequencies.size());
    for (size_t i = 0; i < frequencies.size(); ++i) {
        const float angle = static_cast<float>(position) * frequencies[i];
        cos_sin[2 * i] = static_cast<float>(std::cos(static_cast<double>(angle)));
        cos_sin[2 * i + 1] = static_cast<float>(std::sin(static_cast<double>(angle)));
    }
}

void rope_rotate(std::span<const float> cos_sin, RopeDirection direction, Rounding rounding,
                 std::span<float> x) {
    CHECK_EQ(cos_sin.size(), x.size());
    const float sign = direction == RopeDirection::kForward ? 1.0f : -1.0f;
    for (size_t i = 0; i < x.size(); i += 2) {
        const float c = cos_sin[i], s = sign * cos_sin[i + 1];
        const float re = x[i] * c - x[i + 1] * s;
        const float im = x[i] * s + x[i + 1] * c;
        x[i] = rounding == Rounding::kBf16 ? round_bf16(re) : re;
        x[i + 1] = rounding == Rounding::kBf16 ? round_bf16(im) : im;
    }
}

}  // namespace baleen
