#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstddef>

#include "vnni_peak.h"

namespace baleen {
namespace {

constexpr size_t kChains = 24;  // latency 4 to 5 cycles at two a cycle needs at most 10
constexpr size_t kSteps = 1'000'000;

void run_chains() {
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i acc[kChains];
#pragma GCC unroll 24
    for (size_t i = 0; i < kChains; ++i) acc[i] = _mm512_set1_epi32(static_cast<int>(i));
    for (size_t step = 0; step < kSteps; ++step) {
#pragma GCC unroll 24
        for (size_t i = 0; i < kChains; ++i) acc[i] = _mm512_dpbusd_epi32(acc[i], ones, ones);
    }
#pragma GCC unroll 24
    for (size_t i = 0; i < kChains; ++i) asm volatile("" : : "v"(acc[i]));
}

}  // namespace

double measure_vnni_peak() {
    double best = 0;
    for (int run = 0; run < 20; ++run) {
        const auto begin = std::chrono::steady_clock::now();
        run_chains();
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
        best = std::max(best, static_cast<double>(kChains * kSteps) * 64 / seconds.count());
    }
    return best;
}

}  // namespace baleen
