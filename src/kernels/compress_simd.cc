#include "kernels/compress.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/compress_simd.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace baleen {
namespace HWY_NAMESPACE {

// One vector of channels at a time, all items of it: the softmax never leaves the registers. The
// second walk over the gates (128 lines of cache at most) finds them close by.
void CompressWindow(std::span<const float* const> kv, const float* const* gate,
                    std::span<float> entry) {
    for_each_vector(entry.size(), [&](auto d, size_t i) HWY_ATTR {
        auto max = hn::LoadU(d, gate[0] + i);
        for (size_t j = 1; j < kv.size(); ++j) {
            const auto g = hn::LoadU(d, gate[j] + i);
            max = hn::IfThenElse(hn::Lt(max, g), g, max);
        }
        auto sum = hn::Zero(d), pooled = hn::Zero(d);
        for (size_t j = 0; j < kv.size(); ++j) {
            const auto p = exp_lanes(d, hn::Sub(hn::LoadU(d, gate[j] + i), max));
            sum = hn::Add(sum, p);
            pooled = hn::MulAdd(p, hn::LoadU(d, kv[j] + i), pooled);
        }
        hn::StoreU(hn::Div(pooled, sum), d, entry.data() + i);
    });
}

}  // namespace HWY_NAMESPACE
}  // namespace baleen
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baleen {

HWY_EXPORT(CompressWindow);

void compress_window_simd(std::span<const float* const> kv, std::span<const float* const> gate,
                          std::span<float> entry) {
    HWY_DYNAMIC_DISPATCH(CompressWindow)(kv, gate.data(), entry);
}

}  // namespace baleen
#endif
