#include "kernels/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>

#include <cstdint>
#endif

namespace baleen {
#if defined(__x86_64__)
namespace {

constexpr bool has_bits(uint32_t value, uint32_t mask) {
    return (value & mask) == mask;
}

// Extended control register 0: which register states the operating system saves and restores.
// Only after CPUID says OSXSAVE.
uint32_t read_xcr0() {
    uint32_t low = 0;
    uint32_t high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

bool detect_avx512_bf16_vnni_vbmi() {
    constexpr uint32_t kFma = 1u << 12;      // leaf 1 ECX
    constexpr uint32_t kOsXsave = 1u << 27;  // leaf 1 ECX
    constexpr uint32_t kSavedState = 0xE6u;  // SSE, AVX, opmask, upper halves of ZMM0-15, ZMM16-31
    constexpr uint32_t kFDqBwVl = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);  // leaf 7 EBX
    constexpr uint32_t kVbmiVnni = (1u << 1) | (1u << 11);                            // leaf 7 ECX
    constexpr uint32_t kBf16 = 1u << 5;  // leaf 7, subleaf 1, EAX
    uint32_t eax = 0;
    uint32_t ebx = 0;
    uint32_t ecx = 0;
    uint32_t edx = 0;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || !has_bits(ecx, kFma | kOsXsave))
        return false;
    if (!has_bits(read_xcr0(), kSavedState)) return false;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
    const uint32_t last_subleaf = eax;
    if (!has_bits(ebx, kFDqBwVl) || !has_bits(ecx, kVbmiVnni) || last_subleaf < 1) return false;
    return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && has_bits(eax, kBf16);
}

}  // namespace

bool cpu_has_avx512_bf16_vnni_vbmi() {
    static const bool has = detect_avx512_bf16_vnni_vbmi();
    return has;
}
#else
bool cpu_has_avx512_bf16_vnni_vbmi() {
    return false;
}
#endif

}  // namespace baleen
