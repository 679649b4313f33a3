// What the tests of the elementwise kernels share: every implementation on every Highway target of
// this CPU, awkward inputs, and buffers with guards at any alignment. Test code only.
#pragma once

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <bit>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/impl.h"

namespace baleen::elementwise_test {

inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInf = std::numeric_limits<float>::infinity();
inline constexpr float kFloatMax = std::numeric_limits<float>::max();
// Unit roundoff of f32, and the largest error of a result that is subnormal.
inline constexpr double kUnit = 0x1p-24;
inline constexpr double kTiny = 0x1p-150;

// Around 4, 8 and 16 lanes, singly and unrolled by four.
inline constexpr size_t kLengths[] = {1,  2,  3,  4,  5,  7,  8,  9,  15,  16,  17,
                                      23, 31, 32, 33, 35, 63, 64, 65, 127, 128, 515};
inline constexpr size_t kOffsets[] = {0, 1, 3, 5};  // floats past a 64-byte boundary
inline constexpr Rounding kRoundings[] = {Rounding::kNone, Rounding::kBf16};

struct Variant {
    std::string name;
    Impl impl;
    int64_t target = 0;  // Highway's, 0: as dispatched
};

inline std::vector<Variant> all_variants() {
    std::vector<Variant> variants;
    for (Impl impl : available_impls())
        if (impl != Impl::kSimd) variants.push_back({std::string(impl_name(impl)), impl});
    for (int64_t target : hwy::SupportedAndGeneratedTargets())
        variants.push_back({std::string("simd ") + hwy::TargetName(target), Impl::kSimd, target});
    return variants;
}

// While it lives, Highway dispatches to the variant's target.
class TargetScope {
  public:
    explicit TargetScope(const Variant& variant) {
        hwy::SetSupportedTargetsForTest(variant.target);
    }
    ~TargetScope() { hwy::SetSupportedTargetsForTest(0); }
    TargetScope(const TargetScope&) = delete;
    TargetScope& operator=(const TargetScope&) = delete;
};

// Values starting `offset` floats past a 64-byte boundary, with guards on both sides.
class Guarded {
  public:
    Guarded(const std::vector<float>& values, size_t offset)
        : size_(values.size()), storage_(values.size() + 64, kGuard) {
        const auto address = reinterpret_cast<uintptr_t>(storage_.data());
        begin_ = (64 - address % 64) % 64 / sizeof(float) + 16 + offset;
        std::copy(values.begin(), values.end(), storage_.begin() + static_cast<long>(begin_));
    }
    std::span<float> span() { return {storage_.data() + begin_, size_}; }
    std::vector<float> values() { return {span().begin(), span().end()}; }
    ~Guarded() {
        for (size_t i = 0; i < begin_; ++i) EXPECT_EQ(storage_[i], kGuard) << "guard " << i;
        for (size_t i = begin_ + size_; i < storage_.size(); ++i)
            EXPECT_EQ(storage_[i], kGuard) << "guard " << i;
    }
    Guarded(const Guarded&) = delete;
    Guarded& operator=(const Guarded&) = delete;

  private:
    static constexpr float kGuard = -12345.0f;
    size_t size_;
    size_t begin_ = 0;
    std::vector<float> storage_;
};

enum class Fill { kUniform, kZeros, kLarge, kDenormal, kWide };
inline constexpr Fill kFills[] = {Fill::kUniform, Fill::kZeros, Fill::kLarge, Fill::kDenormal,
                                  Fill::kWide};

inline float draw(Fill fill, Rng& rng) {
    const float unit = static_cast<float>(rng.next_double() * 2 - 1);
    switch (fill) {
        case Fill::kUniform: return unit;
        case Fill::kZeros: return unit < 0 ? -0.0f : 0.0f;
        case Fill::kLarge: return unit * 0x1p60f;  // squares still fit f32
        case Fill::kDenormal: return unit * 0x1p-130f;
        case Fill::kWide: return std::ldexp(unit, static_cast<int>(rng.next_below(80)) - 40);
    }
    return 0;
}

inline std::vector<float> filled(Fill fill, size_t n, Rng& rng) {
    std::vector<float> x(n);
    for (float& v : x) v = draw(fill, rng);
    return x;
}

// Equal bits, or both NaN: the sign and payload of a NaN are nobody's promise.
inline bool same(float a, float b) {
    if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
    return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

inline testing::AssertionResult same(std::span<const float> a, std::span<const float> b) {
    if (a.size() != b.size()) return testing::AssertionFailure() << "sizes differ";
    for (size_t i = 0; i < a.size(); ++i)
        if (!same(a[i], b[i]))
            return testing::AssertionFailure() << "[" << i << "] " << a[i] << " and " << b[i];
    return testing::AssertionSuccess();
}

}  // namespace baleen::elementwise_test
