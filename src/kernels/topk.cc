#include "kernels/topk.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/topk.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef BALEEN_KERNELS_TOPK_ONCE
#define BALEEN_KERNELS_TOPK_ONCE
namespace baleen {
namespace {

constexpr size_t kTopkUnroll = 4;
// The most scores one step admits, with vectors of at most 16.
constexpr size_t kTopkStep = kTopkUnroll * 16;
// Keys below every score's behind the last one: loops over the buffer take full vectors, in pairs.
constexpr size_t kTopkPadding = 2 * 16;
constexpr int32_t kKeyOfInfinity = 0x7F800000;
constexpr int32_t kKeyOfMinusInfinity = -kKeyOfInfinity - 1;

// Candidates of one call in the scratch's memory, which has room for a step and the padding more.
struct TopkBuffer {
    int32_t* keys;
    int32_t* indices;
    size_t k;
    size_t capacity;  // a multiple of kTopkStep
    size_t size = 0;
};

}  // namespace
}  // namespace baleen
#endif

HWY_BEFORE_NAMESPACE();
namespace baleen {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, 16>;
using DI = hn::RebindToSigned<DF>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;

// f32 bits to an integer of the same order, and back: negative ones have their magnitude flipped.
HWY_INLINE VI flip_negative(VI bits) {
    const DI di;
    const VI magnitude = hn::Set(di, 0x7FFFFFFF);
    return hn::Xor(bits, hn::And(hn::ShiftRight<31>(bits), magnitude));
}
// NaN counts as -infinity; adding zero makes a zero of -0.
HWY_INLINE VI key_of(VF score) {
    const DF df;
    const VF number =
        hn::IfThenElse(hn::IsNaN(score), hn::Set(df, -std::numeric_limits<float>::infinity()),
                       hn::Add(score, hn::Zero(df)));
    return flip_negative(hn::BitCast(DI(), number));
}
HWY_INLINE float score_of(int32_t key) {
    return hn::GetLane(hn::BitCast(DF(), flip_negative(hn::Set(DI(), key))));
}

// Appends the chosen lanes; stores whole vectors.
template <typename Mask>
HWY_INLINE void append(VI keys, VI indices, Mask chosen, TopkBuffer& buffer) {
    const DI di;
    hn::StoreU(hn::Compress(keys, chosen), di, buffer.keys + buffer.size);
    hn::StoreU(hn::Compress(indices, chosen), di, buffer.indices + buffer.size);
    buffer.size += hn::CountTrue(di, chosen);
}

// How many keys are above bound. REQUIRES: padding behind the last key.
HWY_INLINE size_t count_above(const TopkBuffer& buffer, int32_t bound) {
    const DI di;
    const VI limit = hn::Set(di, bound);
    VI count0 = hn::Zero(di);
    VI count1 = hn::Zero(di);
    const size_t lanes = hn::Lanes(di);
    for (size_t i = 0; i < buffer.size; i += 2 * lanes) {
        const auto above0 = hn::Gt(hn::LoadU(di, buffer.keys + i), limit);
        const auto above1 = hn::Gt(hn::LoadU(di, buffer.keys + i + lanes), limit);
        count0 = hn::Sub(count0, hn::VecFromMask(di, above0));
        count1 = hn::Sub(count1, hn::VecFromMask(di, above1));
    }
    return static_cast<size_t>(hn::GetLane(hn::SumOfLanes(di, hn::Add(count0, count1))));
}

struct Bound {
    int32_t key;       // the k best are those above it and ...
    size_t num_equal;  // ... the first num_equal of those equal to it
};

// Bisects the keys' range. REQUIRES: k < buffer.size, padding.
HWY_INLINE Bound find_bound(const TopkBuffer& buffer) {
    int64_t low = kKeyOfMinusInfinity;  // at least k keys are >= low
    int64_t high = kKeyOfInfinity;      // fewer than k keys are > high
    while (low < high) {
        const int64_t middle = (low + high) >> 1;
        const size_t above = count_above(buffer, static_cast<int32_t>(middle));
        // The k-th best may be further up, but an exact cut will do.
        if (above == buffer.k) return {static_cast<int32_t>(middle), 0};
        if (above > buffer.k)
            low = middle + 1;
        else
            high = middle;
    }
    const auto key = static_cast<int32_t>(low);
    return {key, buffer.k - count_above(buffer, key)};
}

// Keeps the k best, in order. Returns the score that a later one must exceed to be among them:
// k earlier ones are at least as large.
HWY_INLINE float compact(TopkBuffer& buffer) {
    const DI di;
    std::fill_n(buffer.keys + buffer.size, kTopkPadding, std::numeric_limits<int32_t>::min());
    const Bound bound = find_bound(buffer);
    size_t equal_end = 0;  // equal keys count before this position
    for (size_t left = bound.num_equal; left > 0; ++equal_end)
        left -= buffer.keys[equal_end] == bound.key;
    const size_t old_size = buffer.size;
    buffer.size = 0;
    for (size_t i = 0; i < old_size; i += hn::Lanes(di)) {
        const VI keys = hn::LoadU(di, buffer.keys + i);
        const auto takes_equal = hn::FirstN(di, equal_end - std::min(i, equal_end));
        const VI limit =
            hn::IfThenElse(takes_equal, hn::Set(di, bound.key - 1), hn::Set(di, bound.key));
        append(keys, hn::LoadU(di, buffer.indices + i), hn::Gt(keys, limit), buffer);
    }
    DCHECK(buffer.size == buffer.k);
    return score_of(bound.key);
}

// Appends all of scores, which start at index `first` of the list.
HWY_INLINE void append_all(std::span<const float> scores, size_t first, TopkBuffer& buffer) {
    const DI di;
    const size_t lanes = hn::Lanes(di);
    for (size_t i = 0; i < scores.size(); i += lanes) {
        const size_t n = std::min(lanes, scores.size() - i);
        float part[16] = {};
        std::copy_n(scores.data() + i, n, part);
        append(key_of(hn::LoadU(DF(), part)), hn::Iota(di, static_cast<int32_t>(first + i)),
               hn::FirstN(di, n), buffer);
    }
}

void SelectTopk(std::span<const float> scores, TopkBuffer& buffer) {
    const DF df;
    const DI di;
    const size_t lanes = hn::Lanes(df);
    const size_t step = kTopkUnroll * lanes;
    size_t i = std::min(scores.size(), buffer.capacity);
    append_all(scores.first(i), 0, buffer);
    if (i < scores.size()) {
        float threshold = compact(buffer);
        for (; i + step <= scores.size(); i += step) {
            const VF limit = hn::Set(df, threshold);
            const float* p = scores.data() + i;
            const auto above0 = hn::Gt(hn::LoadU(df, p), limit);
            const auto above1 = hn::Gt(hn::LoadU(df, p + lanes), limit);
            const auto above2 = hn::Gt(hn::LoadU(df, p + 2 * lanes), limit);
            const auto above3 = hn::Gt(hn::LoadU(df, p + 3 * lanes), limit);
            if (hn::AllFalse(df, hn::Or(hn::Or(above0, above1), hn::Or(above2, above3)))) continue;
            const auto append_above = [&](auto above, size_t offset) HWY_ATTR {
                append(key_of(hn::LoadU(df, p + offset)),
                       hn::Iota(di, static_cast<int32_t>(i + offset)), hn::RebindMask(di, above),
                       buffer);
            };
            append_above(above0, 0);
            append_above(above1, lanes);
            append_above(above2, 2 * lanes);
            append_above(above3, 3 * lanes);
            if (buffer.size >= buffer.capacity) threshold = compact(buffer);
        }
        append_all(scores.subspan(i), i, buffer);
    }
    if (buffer.size > buffer.k) compact(buffer);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace baleen
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baleen {
HWY_EXPORT(SelectTopk);

void select_topk(std::span<const float> scores, size_t k, TopkScratch& scratch,
                 std::vector<int32_t>& out) {
    CHECK_LE(scores.size(), size_t{std::numeric_limits<int32_t>::max()});
    out.resize(std::min(k, scores.size()));
    if (k >= scores.size()) {
        std::iota(out.begin(), out.end(), 0);
        return;
    }
    if (k == 0) return;
    // A full buffer lets 3k scores in before it is compacted again.
    const size_t capacity = (4 * k + kTopkStep - 1) / kTopkStep * kTopkStep;
    const size_t allocated = capacity + kTopkStep + kTopkPadding;
    if (scratch.keys.size() < allocated) {
        scratch.keys.resize(allocated);
        scratch.indices.resize(allocated);
    }
    TopkBuffer buffer{.keys = scratch.keys.data(),
                      .indices = scratch.indices.data(),
                      .k = k,
                      .capacity = capacity};
    HWY_DYNAMIC_DISPATCH(SelectTopk)(scores, buffer);
    std::copy_n(buffer.indices, k, out.begin());
}

}  // namespace baleen
#endif
