#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/hyper_connection.h"
#include "kernels/hyper_connection_simd.h"
#include "quant/quant.h"

namespace baleen {
namespace {

float sigmoid(float x) {
    return 1.0f / (1.0f + std::exp(-x));
}

void normalise_rows(std::span<float> comb, size_t n, float eps) {
    for (size_t j = 0; j < n; ++j) {
        float sum = 0;
        for (size_t k = 0; k < n; ++k) sum += comb[j * n + k];
        for (size_t k = 0; k < n; ++k) comb[j * n + k] /= sum + eps;
    }
}

void normalise_columns(std::span<float> comb, size_t n, float eps) {
    for (size_t k = 0; k < n; ++k) {
        float sum = 0;
        for (size_t j = 0; j < n; ++j) sum += comb[j * n + k];
        for (size_t j = 0; j < n; ++j) comb[j * n + k] /= sum + eps;
    }
}

void sinkhorn(std::span<float> comb, size_t n, float eps, int64_t iters) {
    for (size_t j = 0; j < n; ++j) {
        const std::span<float> row = comb.subspan(j * n, n);
        const float max = *std::max_element(row.begin(), row.end());
        for (float& v : row) v = std::exp(v - max);
    }
    normalise_rows(comb, n, 0.0f);  // the softmax itself has no eps in its denominator
    for (float& v : comb) v += eps;
    normalise_columns(comb, n, eps);
    for (int64_t i = 1; i < iters; ++i) {
        normalise_rows(comb, n, eps);
        normalise_columns(comb, n, eps);
    }
}

}  // namespace

void hc_split(const HcSplitArgs& args, std::span<float> pre, std::span<float> post,
              std::span<float> comb) {
    const size_t n = pre.size();
    CHECK_EQ(args.mixes.size(), n * (n + 2));
    CHECK_EQ(args.base.size(), n * (n + 2));
    CHECK_EQ(comb.size(), n * n);
    for (size_t j = 0; j < n; ++j) {
        pre[j] = sigmoid(args.mixes[j] * args.scale[0] + args.base[j]) + args.eps;
        post[j] = 2 * sigmoid(args.mixes[n + j] * args.scale[1] + args.base[n + j]);
    }
    for (size_t i = 0; i < n * n; ++i)
        comb[i] = args.mixes[2 * n + i] * args.scale[2] + args.base[2 * n + i];
    sinkhorn(comb, n, args.eps, args.sinkhorn_iters);
}

void hc_head_weights(std::span<const float> mixes, std::span<const float> base, float scale,
                     float eps, std::span<float> w) {
    CHECK_EQ(mixes.size(), w.size());
    for (size_t j = 0; j < w.size(); ++j) w[j] = sigmoid(mixes[j] * scale + base[j]) + eps;
}

void hc_collapse(Impl impl, std::span<const float> streams, std::span<const float> pre,
                 Rounding rounding, std::span<float> u) {
    CHECK_EQ(streams.size(), pre.size() * u.size());
    if (impl != Impl::kRef) return hc_collapse_simd(streams, pre, rounding, u);
    for (size_t d = 0; d < u.size(); ++d) {
        float sum = 0;
        for (size_t j = 0; j < pre.size(); ++j) sum += pre[j] * streams[j * u.size() + d];
        u[d] = rounding == Rounding::kBf16 ? round_bf16(sum) : sum;
    }
}

void hc_update(Impl impl, std::span<const float> y, std::span<const float> post,
               std::span<const float> comb, Rounding rounding, std::span<float> streams) {
    const size_t n = post.size();
    CHECK_LE(n, kHcStreamsMax);
    CHECK_EQ(streams.size(), n * y.size());
    CHECK_EQ(comb.size(), n * n);
    if (impl != Impl::kRef) return hc_update_simd(y, post, comb, rounding, streams);
    for (size_t d = 0; d < y.size(); ++d) {
        float mixed[kHcStreamsMax];
        for (size_t k = 0; k < n; ++k) {
            mixed[k] = post[k] * y[d];
            for (size_t j = 0; j < n; ++j) mixed[k] += comb[j * n + k] * streams[j * y.size() + d];
        }
        for (size_t k = 0; k < n; ++k)
            streams[k * y.size() + d] =
                rounding == Rounding::kBf16 ? round_bf16(mixed[k]) : mixed[k];
    }
}

}  // namespace baleen
