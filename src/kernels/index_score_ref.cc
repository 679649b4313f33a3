#include <algorithm>

#include "base/check.h"
#include "kernels/index_score.h"
#include "quant/quant.h"

namespace baleen {
namespace {

// q[h] . k for packed operands: exact int32 per 32 dims, then f32 over the scaled partials.
float packed_dot(const IndexShape& shape, const IndexQuery& query, size_t head,
                 std::span<const uint8_t> values, std::span<const uint8_t> scales) {
    const size_t dim = shape.format.dim;
    float dot = 0;
    for (size_t block = 0; block < dim / kFp4Block; ++block) {
        int32_t partial = 0;  // of 2q * 2k
        for (size_t i = block * kFp4Block; i < (block + 1) * kFp4Block; ++i)
            partial += query.values2[head * dim + i] *
                       static_cast<int32_t>(2 * kE2m1Values[e2m1_unpack(values, i)]);
        const float scale =
            query.scales[head * (dim / kFp4Block) + block] * f32_from_ue8m0(scales[block]) * 0.25f;
        dot += static_cast<float>(partial) * scale;
    }
    return dot;
}

float f32_dot(const IndexShape& shape, const IndexQuery& query, size_t head, const float* key) {
    float dot = 0;
    for (size_t i = 0; i < shape.format.dim; ++i)
        dot += query.values[head * shape.format.dim + i] * key[i];
    return dot;
}

float score_one(const IndexShape& shape, const IndexQuery& query, const IndexKeyBlock& keys,
                size_t key_idx) {
    const IndexKeyFormat& format = shape.format;
    const uint8_t* values = keys.values + key_idx * format.value_bytes();
    float sum = 0;
    for (size_t head = 0; head < shape.num_heads; ++head) {
        const float dot =
            format.encoding == KvEncoding::kPacked
                ? packed_dot(shape, query, head, {values, format.value_bytes()},
                             {keys.scales + key_idx * format.scale_bytes(), format.scale_bytes()})
                : f32_dot(shape, query, head, reinterpret_cast<const float*>(values));
        if (shape.rounding == Rounding::kBf16)
            sum += round_bf16(std::max(round_bf16(dot), 0.0f) * query.weights[head]);
        else
            sum += std::max(dot, 0.0f) * query.weights[head];
    }
    return shape.rounding == Rounding::kBf16 ? round_bf16(sum) : sum;
}

void quantize_query(std::span<const float> q, IndexQuery& query) {
    query.values2.resize(q.size());
    query.scales.resize(q.size() / kFp4Block);
    for (size_t block = 0; block < q.size() / kFp4Block; ++block) {
        uint8_t packed[kFp4Block / 2];
        uint8_t scale;
        fp4_encode(q.subspan(block * kFp4Block, kFp4Block), packed, {&scale, 1});
        query.scales[block] = f32_from_ue8m0(scale);
        for (size_t i = 0; i < kFp4Block; ++i)
            query.values2[block * kFp4Block + i] =
                static_cast<int8_t>(2 * kE2m1Values[e2m1_unpack(packed, i)]);
    }
}

}  // namespace

void prepare_index_query(Impl impl, const IndexShape& shape, std::span<const float> q,
                         std::span<const float> w, IndexQuery& query) {
    const size_t dim = shape.format.dim;
    CHECK_EQ(q.size(), shape.num_heads * dim);
    CHECK_EQ(w.size(), shape.num_heads);
    query.weights.assign(w.begin(), w.end());
    if (shape.format.encoding == KvEncoding::kF32)
        query.values.assign(q.begin(), q.end());
    else
        quantize_query(q, query);
    if (impl == Impl::kSimd) pack_index_query_simd(shape, query);
    if (impl == Impl::kAvx512) pack_index_query_avx512(shape, query);
}

void score_index_keys_ref(const IndexShape& shape, std::span<const IndexQuery> queries,
                          const IndexKeyBlock& keys, std::span<float* const> scores) {
    for (size_t i = 0; i < queries.size(); ++i)
        for (size_t j = 0; j < keys.count; ++j)
            scores[i][j] = score_one(shape, queries[i], keys, j);
}

void score_index_keys(Impl impl, const IndexShape& shape, std::span<const IndexQuery> queries,
                      const IndexKeyBlock& keys, std::span<float* const> scores) {
    CHECK_EQ(queries.size(), scores.size());
    switch (impl) {
        case Impl::kRef: return score_index_keys_ref(shape, queries, keys, scores);
        case Impl::kSimd: return score_index_keys_simd(shape, queries, keys, scores);
        case Impl::kAvx512: return score_index_keys_avx512(shape, queries, keys, scores);
    }
}

}  // namespace baleen
