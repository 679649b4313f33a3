#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "kernels/attention.h"
#include "quant/quant.h"

namespace baleen {
namespace {

struct RunningSoftmax {
    float max = -std::numeric_limits<float>::infinity();
    float sum = 0;
};

// One head over one block of decoded rows [n, dim]; updates acc [dim].
void attend_block(const AttentionArgs& args, std::span<const float> q, std::span<const float> rows,
                  RunningSoftmax& state, std::span<float> acc) {
    const size_t dim = q.size();
    const size_t n = rows.size() / dim;
    float scores[kAttentionBlock];
    float block_max = state.max;
    for (size_t j = 0; j < n; ++j) {
        float dot = 0;
        for (size_t i = 0; i < dim; ++i) dot += q[i] * rows[j * dim + i];
        scores[j] = dot * args.scale;
        block_max = std::max(block_max, scores[j]);
    }
    const float rescale = std::exp(state.max - block_max);  // 0 for the first block
    for (float& value : acc) value *= rescale;
    state.sum *= rescale;
    state.max = block_max;
    for (size_t j = 0; j < n; ++j) {
        const float p = std::exp(scores[j] - block_max);
        state.sum += p;
        const float weight = args.rounding == Rounding::kBf16 ? round_bf16(p) : p;
        for (size_t i = 0; i < dim; ++i) acc[i] += weight * rows[j * dim + i];
    }
}

}  // namespace

void attend_ref(const AttentionArgs& args, AttentionScratch&) {
    const size_t dim = args.format.dim();
    CHECK(!args.rows.empty());
    std::vector<float> acc(args.num_heads * dim, 0.0f);
    std::vector<RunningSoftmax> states(args.num_heads);
    std::vector<float> decoded(kAttentionBlock * dim);
    for (size_t begin = 0; begin < args.rows.size(); begin += kAttentionBlock) {
        const size_t n = std::min(kAttentionBlock, args.rows.size() - begin);
        for (size_t j = 0; j < n; ++j)
            args.format.decode(args.rows[begin + j], std::span(decoded).subspan(j * dim, dim));
        for (size_t h = 0; h < args.num_heads; ++h)
            attend_block(args, {args.q + h * dim, dim}, std::span(decoded).first(n * dim),
                         states[h], std::span(acc).subspan(h * dim, dim));
    }
    for (size_t h = 0; h < args.num_heads; ++h) {
        const float sum = states[h].sum + std::exp(args.sink[h] - states[h].max);
        for (size_t i = 0; i < dim; ++i) {
            const float value = acc[h * dim + i] / sum;
            args.out[h * dim + i] = args.rounding == Rounding::kBf16 ? round_bf16(value) : value;
        }
    }
}

uint8_t* AttentionScratch::reserve(size_t num_bytes) {
    constexpr size_t kAlignment = 64;
    if (bytes_.size() < num_bytes + kAlignment)
        bytes_ = std::vector<uint8_t>(num_bytes + kAlignment);
    const auto address = reinterpret_cast<uintptr_t>(bytes_.data());
    return bytes_.data() + (round_up(address, kAlignment) - address);
}

void attend(Impl impl, const AttentionArgs& args, AttentionScratch& scratch) {
    switch (impl) {
        case Impl::kRef: return attend_ref(args, scratch);
        case Impl::kSimd: return attend_simd(args, scratch);
        case Impl::kAvx512: return attend_avx512(args, scratch);
    }
}

}  // namespace baleen
