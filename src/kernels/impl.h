// Which implementation of a kernel runs. Chosen once, above; passed down by value.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace baleen {

enum class Impl : uint8_t {
    kRef,     // scalar, obvious; the contract
    kSimd,    // Highway, runtime dispatch from SSE4 to AVX-512
    kAvx512,  // AVX-512 bf16, VNNI and VBMI where Highway cannot emit them; else as kSimd
};

// Where a value passes through bf16 in the official numerics, and where it does not.
enum class Rounding : uint8_t { kNone, kBf16 };

constexpr std::string_view impl_name(Impl impl) {
    switch (impl) {
        case Impl::kRef: return "ref";
        case Impl::kSimd: return "simd";
        case Impl::kAvx512: return "avx512";
    }
    return "?";
}

// Every implementation this processor can run, slowest first.
std::vector<Impl> available_impls();
Impl best_impl();

}  // namespace baleen
