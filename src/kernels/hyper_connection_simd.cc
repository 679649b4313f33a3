// Products and sums are separate and in the reference's order, so every target gives the
// reference's bits; the kernels wait for memory, not for the multiplier.
#include "kernels/hyper_connection_simd.h"

#include "kernels/hyper_connection.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/hyper_connection_simd.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace baleen {
namespace HWY_NAMESPACE {

// u [D] := sum_j pre[j] * streams[j]
template <Rounding kRounding>
HWY_INLINE void collapse(const float* streams, std::span<const float> pre, std::span<float> u) {
    const size_t width = u.size();
    for_each_vector(width, [&](auto d, size_t i) HWY_ATTR {
        auto sum = hn::Zero(d);
        for (size_t j = 0; j < pre.size(); ++j)
            sum = hn::Add(sum, hn::Mul(hn::Set(d, pre[j]), hn::LoadU(d, streams + j * width + i)));
        hn::StoreU(rounded<kRounding>(d, sum), d, u.data() + i);
    });
}

void HcCollapse(const float* streams, std::span<const float> pre, Rounding rounding,
                std::span<float> u) {
    if (rounding == Rounding::kBf16)
        collapse<Rounding::kBf16>(streams, pre, u);
    else
        collapse<Rounding::kNone>(streams, pre, u);
}

// Any n: the mixed lanes wait on the stack until every stream has been read.
template <Rounding kRounding>
HWY_INLINE void update(std::span<const float> y, std::span<const float> post, const float* comb,
                       float* streams) {
    const size_t n = post.size();
    const size_t width = y.size();
    for_each_vector(width, [&](auto d, size_t i) HWY_ATTR {
        HWY_ALIGN float mixed[kHcStreamsMax * hn::MaxLanes(d)];
        for (size_t k = 0; k < n; ++k) {
            auto sum = hn::Mul(hn::Set(d, post[k]), hn::LoadU(d, y.data() + i));
            for (size_t j = 0; j < n; ++j)
                sum = hn::Add(sum, hn::Mul(hn::Set(d, comb[j * n + k]),
                                           hn::LoadU(d, streams + j * width + i)));
            hn::Store(rounded<kRounding>(d, sum), d, mixed + k * hn::Lanes(d));
        }
        for (size_t k = 0; k < n; ++k)
            hn::StoreU(hn::Load(d, mixed + k * hn::Lanes(d)), d, streams + k * width + i);
    });
}

// n = 4, what V4 has: the four streams stay in registers. Per vector five loads and four stores.
template <Rounding kRounding>
HWY_INLINE void update4(std::span<const float> y, std::span<const float> post, const float* comb,
                        float* streams) {
    const size_t width = y.size();
    for_each_vector(width, [&](auto d, size_t i) HWY_ATTR {
        float* s = streams + i;
        const auto in = hn::LoadU(d, y.data() + i);
        const auto s0 = hn::LoadU(d, s), s1 = hn::LoadU(d, s + width);
        const auto s2 = hn::LoadU(d, s + 2 * width), s3 = hn::LoadU(d, s + 3 * width);
        const auto mix = [&](size_t k) HWY_ATTR {
            auto sum = hn::Mul(hn::Set(d, post[k]), in);
            sum = hn::Add(sum, hn::Mul(hn::Set(d, comb[k]), s0));
            sum = hn::Add(sum, hn::Mul(hn::Set(d, comb[4 + k]), s1));
            sum = hn::Add(sum, hn::Mul(hn::Set(d, comb[8 + k]), s2));
            sum = hn::Add(sum, hn::Mul(hn::Set(d, comb[12 + k]), s3));
            return rounded<kRounding>(d, sum);
        };
        const auto m0 = mix(0), m1 = mix(1), m2 = mix(2), m3 = mix(3);
        hn::StoreU(m0, d, s);
        hn::StoreU(m1, d, s + width);
        hn::StoreU(m2, d, s + 2 * width);
        hn::StoreU(m3, d, s + 3 * width);
    });
}

void HcUpdate(std::span<const float> y, std::span<const float> post, const float* comb,
              Rounding rounding, float* streams) {
    const bool four = post.size() == 4;
    if (rounding == Rounding::kBf16)
        four ? update4<Rounding::kBf16>(y, post, comb, streams)
             : update<Rounding::kBf16>(y, post, comb, streams);
    else
        four ? update4<Rounding::kNone>(y, post, comb, streams)
             : update<Rounding::kNone>(y, post, comb, streams);
}

}  // namespace HWY_NAMESPACE
}  // namespace baleen
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baleen {

HWY_EXPORT(HcCollapse);
HWY_EXPORT(HcUpdate);

void hc_collapse_simd(std::span<const float> streams, std::span<const float> pre, Rounding rounding,
                      std::span<float> u) {
    HWY_DYNAMIC_DISPATCH(HcCollapse)(streams.data(), pre, rounding, u);
}
void hc_update_simd(std::span<const float> y, std::span<const float> post,
                    std::span<const float> comb, Rounding rounding, std::span<float> streams) {
    HWY_DYNAMIC_DISPATCH(HcUpdate)(y, post, comb.data(), rounding, streams.data());
}

}  // namespace baleen
#endif
