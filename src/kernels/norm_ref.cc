#include <cmath>

#include "base/check.h"
#include "kernels/norm.h"
#include "kernels/norm_simd.h"
#include "quant/quant.h"

namespace baleen {
namespace {

// f64 accumulation, one rounding to f32.
float mean_square_ref(std::span<const float> x) {
    double sum = 0;
    for (float v : x) sum += static_cast<double>(v) * v;
    return static_cast<float>(sum / static_cast<double>(x.size()));
}

void rms_norm_ref(std::span<const float> x, std::span<const float> weight, float eps,
                  Rounding rounding, std::span<float> out) {
    const float rstd = 1.0f / std::sqrt(mean_square_ref(x) + eps);
    for (size_t i = 0; i < x.size(); ++i) {
        const float value = weight[i] * (x[i] * rstd);
        out[i] = rounding == Rounding::kBf16 ? round_bf16(value) : value;
    }
}

void head_norm_ref(std::span<float> x, float eps, Rounding rounding) {
    if (rounding == Rounding::kNone) {
        const float rstd = 1.0f / std::sqrt(mean_square_ref(x) + eps);
        for (float& v : x) v *= rstd;
        return;
    }
    double sum = 0;
    for (float v : x) sum += round_bf16(v * v);
    const float mean = round_bf16(static_cast<float>(sum / static_cast<double>(x.size())));
    const float rstd = round_bf16(1.0f / std::sqrt(round_bf16(mean + eps)));
    for (float& v : x) v = round_bf16(v * rstd);
}

}  // namespace

void rms_norm(Impl impl, std::span<const float> x, std::span<const float> weight, float eps,
              Rounding rounding, std::span<float> out) {
    CHECK_EQ(x.size(), weight.size());
    CHECK_EQ(x.size(), out.size());
    if (impl == Impl::kRef)
        rms_norm_ref(x, weight, eps, rounding, out);
    else
        rms_norm_simd(x, weight, eps, rounding, out);
}

void head_norm(Impl impl, std::span<float> x, float eps, Rounding rounding) {
    if (impl == Impl::kRef)
        head_norm_ref(x, eps, rounding);
    else
        head_norm_simd(x, eps, rounding);
}

float mean_square(Impl impl, std::span<const float> x) {
    return impl == Impl::kRef ? mean_square_ref(x) : mean_square_simd(x);
}

}  // namespace baleen
