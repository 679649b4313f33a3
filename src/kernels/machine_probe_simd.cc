// Highway loops of kernels/machine_probe.h.
#include "kernels/machine_probe.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/machine_probe_simd.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace baleen {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Twelve sums: two multiply-adds a cycle, five or six cycles each; with both operands they fit the
// sixteen registers of AVX2.
int64_t DotFlopsPerIteration() {
    return 2 * 12 * static_cast<int64_t>(hn::Lanes(hn::ScalableTag<float>()));
}

double Dot(float operand, int64_t iterations) {
    const hn::ScalableTag<float> df;
    const auto x = hn::Set(df, operand);
    // Each sum starts elsewhere: equal ones would be the same value to the compiler, and one sum.
    auto s0 = hn::Set(df, 0.0f), s1 = hn::Set(df, 1.0f), s2 = hn::Set(df, 2.0f);
    auto s3 = hn::Set(df, 3.0f), s4 = hn::Set(df, 4.0f), s5 = hn::Set(df, 5.0f);
    auto s6 = hn::Set(df, 6.0f), s7 = hn::Set(df, 7.0f), s8 = hn::Set(df, 8.0f);
    auto s9 = hn::Set(df, 9.0f), s10 = hn::Set(df, 10.0f), s11 = hn::Set(df, 11.0f);
    for (int64_t i = 0; i < iterations; ++i) {
        s0 = hn::MulAdd(x, x, s0);
        s1 = hn::MulAdd(x, x, s1);
        s2 = hn::MulAdd(x, x, s2);
        s3 = hn::MulAdd(x, x, s3);
        s4 = hn::MulAdd(x, x, s4);
        s5 = hn::MulAdd(x, x, s5);
        s6 = hn::MulAdd(x, x, s6);
        s7 = hn::MulAdd(x, x, s7);
        s8 = hn::MulAdd(x, x, s8);
        s9 = hn::MulAdd(x, x, s9);
        s10 = hn::MulAdd(x, x, s10);
        s11 = hn::MulAdd(x, x, s11);
    }
    double sum = -66;  // the starts
    for (const auto& s : {s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11})
        sum += static_cast<double>(hn::GetLane(s));
    return sum * static_cast<double>(hn::Lanes(df));
}

uint64_t XorWords(const uint64_t* words, size_t count) {
    const hn::ScalableTag<uint64_t> du;
    const size_t lanes = hn::Lanes(du);
    const size_t stream = count / 4 / lanes * lanes;  // words per stream
    auto x0 = hn::Zero(du), x1 = x0, x2 = x0, x3 = x0;
    for (size_t i = 0; i < stream; i += lanes) {
        x0 = hn::Xor(x0, hn::LoadU(du, words + i));
        x1 = hn::Xor(x1, hn::LoadU(du, words + stream + i));
        x2 = hn::Xor(x2, hn::LoadU(du, words + 2 * stream + i));
        x3 = hn::Xor(x3, hn::LoadU(du, words + 3 * stream + i));
    }
    HWY_ALIGN uint64_t sums[HWY_MAX_BYTES / sizeof(uint64_t)];
    hn::Store(hn::Xor(hn::Xor(x0, x1), hn::Xor(x2, x3)), du, sums);
    uint64_t result = 0;
    for (size_t i = 0; i < lanes; ++i) result ^= sums[i];
    for (size_t i = 4 * stream; i < count; ++i) result ^= words[i];
    return result;
}

}  // namespace HWY_NAMESPACE
}  // namespace baleen
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baleen {

HWY_EXPORT(DotFlopsPerIteration);
HWY_EXPORT(Dot);
HWY_EXPORT(XorWords);

DotLoop f32_dot_loop() {
    return {.instruction = "f32 fused multiply-add",
            .flops_per_iteration = HWY_DYNAMIC_DISPATCH(DotFlopsPerIteration)(),
            .run = [](float operand, int64_t iterations) {
                return HWY_DYNAMIC_DISPATCH(Dot)(operand, iterations);
            }};
}

uint64_t xor_words(std::span<const uint64_t> words) {
    return HWY_DYNAMIC_DISPATCH(XorWords)(words.data(), words.size());
}

}  // namespace baleen
#endif
