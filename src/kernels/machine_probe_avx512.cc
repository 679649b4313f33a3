// The vdpbf16ps loop of kernels/machine_probe.h.
#include <immintrin.h>

#include "kernels/machine_probe.h"

namespace baleen {
namespace {

constexpr int kSums = 12;  // two a cycle, up to six cycles each

// One vdpbf16ps is 16 sums of 2 products.
double dot_bf16(float operand, int64_t iterations) {
    const __m512bh x = _mm512_cvtne2ps_pbh(_mm512_set1_ps(operand), _mm512_set1_ps(operand));
    __m512 sums[kSums];
    // Each sum starts elsewhere: equal ones would be the same value to the compiler, and one sum.
    for (int j = 0; j < kSums; ++j) sums[j] = _mm512_set1_ps(static_cast<float>(j));
    for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
        for (int j = 0; j < kSums; ++j) sums[j] = _mm512_dpbf16_ps(sums[j], x, x);
    }
    double total = -kSums * (kSums - 1) / 2;  // the starts
    for (const __m512& sum : sums) total += static_cast<double>(_mm512_cvtss_f32(sum));
    return 16 * total;
}

}  // namespace

DotLoop avx512_bf16_dot_loop() {
    return {.instruction = "AVX-512 vdpbf16ps",
            .flops_per_iteration = 2 * kSums * 16 * 2,
            .run = dot_bf16};
}

}  // namespace baleen
