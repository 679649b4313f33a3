#include "kernels/index_score_layout.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"

namespace baleen {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kQuads = kFp4Block / 4;

struct Sizes {
    size_t dim;
    size_t blocks;  // of 32 dims; f32 keys have none
    size_t groups;
};

Sizes sizes_of(const IndexShape& shape) {
    CHECK_GT(shape.num_heads, size_t{0});
    CHECK_GT(shape.format.dim, size_t{0});
    const bool packed = shape.format.encoding == KvEncoding::kPacked;
    if (packed) CHECK_EQ(shape.format.dim % kFp4Block, size_t{0});
    return {.dim = shape.format.dim,
            .blocks = packed ? shape.format.dim / kFp4Block : 0,
            .groups = (shape.num_heads + kIndexLanes - 1) / kIndexLanes};
}

// Bytes from the first part, q, to the others and to the end: multiples of 64.
struct Offsets {
    size_t biases;
    size_t scales;
    size_t weights;
    size_t end;
};

Offsets offsets_simd(const Sizes& s) {
    const size_t lanes = s.groups * kIndexLanes * sizeof(float);
    const size_t q_end = lanes * s.dim;
    const size_t scales_end = q_end + lanes * s.blocks;
    return {.biases = q_end, .scales = q_end, .weights = scales_end, .end = scales_end + lanes};
}

Offsets offsets_avx512(const Sizes& s) {
    const size_t lanes = s.groups * kIndexLanes * sizeof(float);
    const size_t q_end = lanes / sizeof(float) * s.dim;
    const size_t biases_end = q_end + lanes * s.blocks;
    const size_t scales_end = biases_end + lanes * s.blocks;
    return {.biases = q_end,
            .scales = biases_end,
            .weights = scales_end,
            .end = scales_end + round_up(s.groups, 2) * kIndexLanes * sizeof(float)};
}

// The first byte of the layout says how far behind it q begins, so that a copy at another address
// is read right as well.
uint8_t* reserve_layout(IndexQuery& query, const Offsets& offsets) {
    query.layout.resize(offsets.end + kAlignment);
    const auto address = std::bit_cast<uintptr_t>(query.layout.data());
    query.layout[0] = static_cast<uint8_t>(kAlignment - address % kAlignment);
    return query.layout.data() + query.layout[0];
}

const uint8_t* layout_begin(const IndexQuery& query, const Offsets& offsets) {
    // Else it was prepared for another shape or implementation.
    CHECK_EQ(query.layout.size(), offsets.end + kAlignment);
    return query.layout.data() + query.layout[0];
}

// Twice the e2m1 value, or q itself; 0 for padding heads.
template <typename T>
T value_or_zero(const std::vector<T>& values, size_t head, size_t stride, size_t i) {
    const size_t idx = head * stride + i;
    return idx < values.size() ? values[idx] : T{0};
}

template <typename T>
void transpose_q(const std::vector<T>& values, const Sizes& s, float* out) {
    for (size_t group = 0; group < s.groups; ++group)
        for (size_t d = 0; d < s.dim; ++d)
            for (size_t lane = 0; lane < kIndexLanes; ++lane)
                *out++ =
                    static_cast<float>(value_or_zero(values, group * kIndexLanes + lane, s.dim, d));
}

// Sixteen heads' scales of one block, times the 1/4 that undoes the doubling of q and of the key.
void copy_scales(const IndexQuery& query, const Sizes& s, size_t group, size_t block, float* out) {
    for (size_t lane = 0; lane < kIndexLanes; ++lane)
        out[lane] =
            0.25f * value_or_zero(query.scales, group * kIndexLanes + lane, s.blocks, block);
}

// Sixteen heads' values of one block as quads of dims, quad_stride bytes apart, and their biases.
void copy_block(const IndexQuery& query, const Sizes& s, size_t group, size_t block,
                size_t quad_stride, int8_t* out, int32_t* biases) {
    for (size_t lane = 0; lane < kIndexLanes; ++lane) {
        int32_t sum = 0;
        for (size_t quad = 0; quad < kQuads; ++quad)
            for (size_t i = 0; i < 4; ++i) {
                const size_t nth = quad % (kQuads / 2) * 4 + i;  // of the even or the odd dims
                const size_t d = block * kFp4Block + 2 * nth + (quad < kQuads / 2 ? 0 : 1);
                const int8_t value =
                    value_or_zero(query.values2, group * kIndexLanes + lane, s.dim, d);
                out[quad * quad_stride + lane * 4 + i] = value;
                sum += value;
            }
        biases[lane] = -kIndexKeyBias * sum;
    }
}

// Heads of a pair of groups: 0, 1, .. 31 (kNone) or 0, 2, .. 30, 1, 3, .. 31 (kBf16).
void copy_weights(const IndexShape& shape, const IndexQuery& query, size_t groups, float* out) {
    constexpr size_t kPair = 2 * kIndexLanes;
    for (size_t i = 0; i < round_up(groups, 2) * kIndexLanes; ++i) {
        size_t head = i;
        if (shape.rounding == Rounding::kBf16)
            head = i / kPair * kPair + i % kIndexLanes * 2 + i % kPair / kIndexLanes;
        out[i] = value_or_zero(query.weights, head, 1, 0);
    }
}

}  // namespace

void pack_index_query_simd(const IndexShape& shape, IndexQuery& query) {
    const Sizes s = sizes_of(shape);
    const Offsets offsets = offsets_simd(s);
    uint8_t* begin = reserve_layout(query, offsets);
    auto* q = reinterpret_cast<float*>(begin);
    if (shape.format.encoding == KvEncoding::kF32)
        transpose_q(query.values, s, q);
    else
        transpose_q(query.values2, s, q);
    auto* scales = reinterpret_cast<float*>(begin + offsets.scales);
    for (size_t group = 0; group < s.groups; ++group)
        for (size_t block = 0; block < s.blocks; ++block)
            copy_scales(query, s, group, block, scales + (group * s.blocks + block) * kIndexLanes);
    auto* weights = reinterpret_cast<float*>(begin + offsets.weights);
    for (size_t i = 0; i < s.groups * kIndexLanes; ++i)
        weights[i] = value_or_zero(query.weights, i, 1, 0);
}

void pack_index_query_avx512(const IndexShape& shape, IndexQuery& query) {
    if (shape.format.encoding == KvEncoding::kF32) return pack_index_query_simd(shape, query);
    const Sizes s = sizes_of(shape);
    const Offsets offsets = offsets_avx512(s);
    uint8_t* begin = reserve_layout(query, offsets);
    auto* biases = reinterpret_cast<int32_t*>(begin + offsets.biases);
    auto* scales = reinterpret_cast<float*>(begin + offsets.scales);
    for (size_t group = 0; group < s.groups; ++group) {
        const size_t chunk = group / kIndexChunk * kIndexChunk;
        const size_t width = std::min(kIndexChunk, s.groups - chunk);
        for (size_t block = 0; block < s.blocks; ++block) {
            // In units of [g][16].
            const size_t row = chunk * s.blocks + block * width + (group - chunk);
            const size_t quad = chunk * s.blocks * kQuads + block * kQuads * width + group - chunk;
            copy_block(query, s, group, block, width * kIndexLanes * 4,
                       reinterpret_cast<int8_t*>(begin) + quad * kIndexLanes * 4,
                       biases + row * kIndexLanes);
            copy_scales(query, s, group, block, scales + row * kIndexLanes);
        }
    }
    copy_weights(shape, query, s.groups, reinterpret_cast<float*>(begin + offsets.weights));
}

IndexLayoutSimd index_layout_simd(const IndexShape& shape, const IndexQuery& query) {
    const Offsets offsets = offsets_simd(sizes_of(shape));
    const uint8_t* begin = layout_begin(query, offsets);
    return {.q = reinterpret_cast<const float*>(begin),
            .scales = reinterpret_cast<const float*>(begin + offsets.scales),
            .weights = reinterpret_cast<const float*>(begin + offsets.weights)};
}

IndexLayoutAvx512 index_layout_avx512(const IndexShape& shape, const IndexQuery& query) {
    const Offsets offsets = offsets_avx512(sizes_of(shape));
    const uint8_t* begin = layout_begin(query, offsets);
    return {.q = reinterpret_cast<const int8_t*>(begin),
            .biases = reinterpret_cast<const int32_t*>(begin + offsets.biases),
            .scales = reinterpret_cast<const float*>(begin + offsets.scales),
            .weights = reinterpret_cast<const float*>(begin + offsets.weights)};
}

}  // namespace baleen
