// Highway version of kernels/index_score.h, f32 throughout: packed values are small integers, whose
// products and sums over 32 dims f32 holds exactly.
//
// Heads are lanes. A tile is 8 keys x 1 vector of heads (8 accumulators; a step of one dim is 1
// load of q and 8 broadcasts). Packed keys are decoded 32 dims at a time into 1 KB that all heads
// share. Every key passes through the same operations wherever it stands in the block, so a
// score's bits depend on its key, its query and the target only.
#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "kernels/index_score.h"
#include "kernels/index_score_layout.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/index_score_simd.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef BALEEN_KERNELS_INDEX_SCORE_SIMD_ONCE
#define BALEEN_KERNELS_INDEX_SCORE_SIMD_ONCE
namespace baleen {
namespace {

constexpr size_t kTileKeys = 8;
// Heads whose dot products are kept at a time, 4 KB.
constexpr size_t kChunkGroups = 8;

// Twice the values of a byte's two nibbles.
constexpr std::array<std::array<float, 2>, 256> kE2m1Pairs = [] {
    std::array<std::array<float, 2>, 256> pairs{};
    for (size_t byte = 0; byte < pairs.size(); ++byte)
        pairs[byte] = {2 * kE2m1Values[byte & 15], 2 * kE2m1Values[byte >> 4]};
    return pairs;
}();

// The same run of up to 32 dims of every key of a tile.
struct KeySlice {
    const float* values[kTileKeys];  // packed: twice the value
    float scales[kTileKeys];         // packed only
    size_t num_dims;
};

// Dims [32 * block, 32 * (block + 1)) of the keys; where there are fewer than 8, the last one
// stands in for the rest. `decoded` [8][32] is filled for packed keys.
template <KvEncoding E>
KeySlice load_slice(const IndexKeyFormat& format, const IndexKeyBlock& keys, size_t block,
                    float* decoded) {
    KeySlice slice;
    slice.num_dims = std::min(kFp4Block, format.dim - block * kFp4Block);
    for (size_t i = 0; i < kTileKeys; ++i) {
        const size_t key = std::min(i, keys.count - 1);
        const uint8_t* values = keys.values + key * format.value_bytes();
        if constexpr (E == KvEncoding::kF32) {
            slice.values[i] = reinterpret_cast<const float*>(values) + block * kFp4Block;
        } else {
            const uint8_t* codes = values + block * kFp4Block / 2;
            float* out = decoded + i * kFp4Block;
            for (size_t j = 0; j < kFp4Block / 2; ++j)
                std::memcpy(out + 2 * j, kE2m1Pairs[codes[j]].data(), 2 * sizeof(float));
            slice.values[i] = out;
            slice.scales[i] = f32_from_ue8m0(keys.scales[key * format.scale_bytes() + block]);
        }
    }
    return slice;
}

}  // namespace
}  // namespace baleen
#endif

HWY_BEFORE_NAMESPACE();
namespace baleen {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, kIndexLanes>;
using DU = hn::RebindToUnsigned<DF>;
using VF = hn::Vec<DF>;

// To the nearest bf16 value, ties to even; NaN stays NaN.
HWY_INLINE VF round_to_bf16(VF x) {
    const DF df;
    const DU du;
    const auto bits = hn::BitCast(du, x);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
    const auto rounded =
        hn::And(hn::Add(hn::Add(bits, hn::Set(du, 0x7FFF)), odd), hn::Set(du, 0xFFFF0000u));
    return hn::IfThenElse(hn::IsNaN(x), x, hn::BitCast(df, rounded));
}

// dots [8][16] += q . k over the slice, for the heads of one vector.
template <KvEncoding E>
HWY_INLINE void add_slice(const KeySlice& keys, const float* q, VF q_scale, float* dots) {
    const DF df;
    const auto start = [&](size_t i) HWY_ATTR {
        return E == KvEncoding::kPacked ? hn::Zero(df) : hn::Load(df, dots + i * kIndexLanes);
    };
    // Named one by one: vectors of scalable targets cannot be array elements.
    VF c0 = start(0), c1 = start(1), c2 = start(2), c3 = start(3);
    VF c4 = start(4), c5 = start(5), c6 = start(6), c7 = start(7);
    for (size_t d = 0; d < keys.num_dims; ++d) {
        const VF q_d = hn::LoadU(df, q + d * kIndexLanes);
        c0 = hn::MulAdd(hn::Set(df, keys.values[0][d]), q_d, c0);
        c1 = hn::MulAdd(hn::Set(df, keys.values[1][d]), q_d, c1);
        c2 = hn::MulAdd(hn::Set(df, keys.values[2][d]), q_d, c2);
        c3 = hn::MulAdd(hn::Set(df, keys.values[3][d]), q_d, c3);
        c4 = hn::MulAdd(hn::Set(df, keys.values[4][d]), q_d, c4);
        c5 = hn::MulAdd(hn::Set(df, keys.values[5][d]), q_d, c5);
        c6 = hn::MulAdd(hn::Set(df, keys.values[6][d]), q_d, c6);
        c7 = hn::MulAdd(hn::Set(df, keys.values[7][d]), q_d, c7);
    }
    const auto finish = [&](size_t i, VF c) HWY_ATTR {
        float* dot = dots + i * kIndexLanes;
        if constexpr (E == KvEncoding::kPacked) {
            const VF scale = hn::Mul(q_scale, hn::Set(df, keys.scales[i]));
            c = hn::MulAdd(c, scale, hn::Load(df, dot));
        }
        hn::Store(c, df, dot);
    };
    finish(0, c0), finish(1, c1), finish(2, c2), finish(3, c3);
    finish(4, c4), finish(5, c5), finish(6, c6), finish(7, c7);
}

// The sum over the chunk's heads of w * relu(dot), added lane by lane to sums [8][16].
template <Rounding R>
HWY_INLINE void add_heads(const float* dots, const float* weights, size_t groups, float* sums) {
    const DF df;
    for (size_t i = 0; i < kTileKeys; ++i) {
        VF sum = hn::Load(df, sums + i * kIndexLanes);
        for (size_t head = 0; head < groups * kIndexLanes; head += hn::Lanes(df)) {
            const size_t group = head / kIndexLanes;
            VF dot =
                hn::Load(df, dots + (group * kTileKeys + i) * kIndexLanes + head % kIndexLanes);
            if constexpr (R == Rounding::kBf16) dot = round_to_bf16(dot);
            // Not Max, which need not keep a NaN.
            const VF positive = hn::IfThenElse(hn::Lt(dot, hn::Zero(df)), hn::Zero(df), dot);
            VF term = hn::Mul(positive, hn::LoadU(df, weights + head));
            if constexpr (R == Rounding::kBf16) term = round_to_bf16(term);
            sum = hn::Add(sum, term);
        }
        hn::Store(sum, df, sums + i * kIndexLanes);
    }
}

// Dot products of a tile's keys and the heads of groups [begin, begin + n): dots [n][8][16].
template <KvEncoding E>
HWY_INLINE void dot_tile(const IndexShape& shape, const IndexLayoutSimd& query,
                         const IndexKeyBlock& keys, size_t begin, size_t n, float* dots) {
    const DF df;
    const size_t dim = shape.format.dim;
    const size_t blocks = (dim + kFp4Block - 1) / kFp4Block;
    std::fill_n(dots, n * kTileKeys * kIndexLanes, 0.0f);
    for (size_t block = 0; block < blocks; ++block) {
        float decoded[kTileKeys * kFp4Block];
        const KeySlice slice = load_slice<E>(shape.format, keys, block, decoded);
        for (size_t head = 0; head < n * kIndexLanes; head += hn::Lanes(df)) {
            const size_t group = head / kIndexLanes;
            const size_t lane = head % kIndexLanes;
            const float* q = query.q + ((begin + group) * dim + block * kFp4Block) * kIndexLanes;
            const VF scale =
                E == KvEncoding::kPacked
                    ? hn::LoadU(df, query.scales +
                                        ((begin + group) * blocks + block) * kIndexLanes + lane)
                    : hn::Zero(df);
            add_slice<E>(slice, q + lane, scale, dots + group * kTileKeys * kIndexLanes + lane);
        }
    }
}

// Scores of 1 to 8 keys by one query.
template <KvEncoding E, Rounding R>
HWY_INLINE void score_tile(const IndexShape& shape, const IndexLayoutSimd& query,
                           const IndexKeyBlock& keys, float* scores) {
    const DF df;
    const size_t groups = (shape.num_heads + kIndexLanes - 1) / kIndexLanes;
    HWY_ALIGN float dots[kChunkGroups * kTileKeys * kIndexLanes];
    HWY_ALIGN float sums[kTileKeys * kIndexLanes] = {};
    for (size_t begin = 0; begin < groups; begin += kChunkGroups) {
        const size_t n = std::min(kChunkGroups, groups - begin);
        dot_tile<E>(shape, query, keys, begin, n, dots);
        add_heads<R>(dots, query.weights + begin * kIndexLanes, n, sums);
    }
    for (size_t i = 0; i < keys.count; ++i) {
        const VF sum = hn::SumOfLanes(df, hn::Load(df, sums + i * kIndexLanes));
        scores[i] = hn::GetLane(R == Rounding::kBf16 ? round_to_bf16(sum) : sum);
    }
}

template <KvEncoding E, Rounding R>
HWY_INLINE void score_keys(const IndexShape& shape, std::span<const IndexQuery> queries,
                           const IndexKeyBlock& keys, std::span<float* const> scores) {
    for (size_t i = 0; i < queries.size(); ++i) {
        const IndexLayoutSimd query = index_layout_simd(shape, queries[i]);
        for (size_t key = 0; key < keys.count; key += kTileKeys) {
            const IndexKeyBlock tile = {.values = keys.values + key * shape.format.value_bytes(),
                                        .scales = keys.scales + key * shape.format.scale_bytes(),
                                        .count = std::min(kTileKeys, keys.count - key)};
            score_tile<E, R>(shape, query, tile, scores[i] + key);
        }
    }
}

void ScoreIndexKeys(const IndexShape& shape, std::span<const IndexQuery> queries,
                    const IndexKeyBlock& keys, std::span<float* const> scores) {
    constexpr auto kPacked = KvEncoding::kPacked;
    constexpr auto kF32 = KvEncoding::kF32;
    const bool is_bf16 = shape.rounding == Rounding::kBf16;
    if (shape.format.encoding == kPacked && is_bf16)
        return score_keys<kPacked, Rounding::kBf16>(shape, queries, keys, scores);
    if (shape.format.encoding == kPacked)
        return score_keys<kPacked, Rounding::kNone>(shape, queries, keys, scores);
    if (is_bf16) return score_keys<kF32, Rounding::kBf16>(shape, queries, keys, scores);
    return score_keys<kF32, Rounding::kNone>(shape, queries, keys, scores);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace baleen
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baleen {
HWY_EXPORT(ScoreIndexKeys);

void score_index_keys_simd(const IndexShape& shape, std::span<const IndexQuery> queries,
                           const IndexKeyBlock& keys, std::span<float* const> scores) {
    CHECK_EQ(queries.size(), scores.size());
    HWY_DYNAMIC_DISPATCH(ScoreIndexKeys)(shape, queries, keys, scores);
}

}  // namespace baleen
#endif
