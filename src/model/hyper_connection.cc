// Hyper-connections around every sub-layer (report 2.2; spec 3.1, 3.3, 3.4).
#include "kernels/hyper_connection.h"

#include <cmath>

#include "kernels/norm.h"
#include "kernels/quantize.h"
#include "model/forward.h"

namespace baleen {

// The token's row copied into every stream.
void Forward::embed() {
    const WeightMatrix& table = model_.weights_->embed;
    for_rows([&](size_t row, size_t) {
        const std::span<float> streams = s_.streams.row(row, hc_ * d_model_);
        const std::span<float> first = streams.first(d_model_);
        decode_weight_row(table, static_cast<size_t>(rows_[row].token), first);
        for (size_t j = 1; j < hc_; ++j)
            std::copy(first.begin(), first.end(),
                      streams.begin() + static_cast<long>(j * d_model_));
    });
}

// Streams -> x, the normed input of the sub-layer, in every form that linears read; post and comb
// are kept for hc_leave.
void Forward::hc_enter(const HyperConnectionWeights& hc, const NormWeight& norm) {
    const size_t num_mixes = hc_ * (hc_ + 2);
    const LinearInput streams =
        LinearInput::borrow(s_.streams.data(), rows_.size(), hc_ * d_model_);
    const LinearJob job =
        linear_job(hc.fn, streams, rows_.size(), s_.mixes.data(), Rounding::kNone);
    linears({&job, 1});
    for_rows([&](size_t row, size_t) {
        const std::span<const float> x = s_.streams.row(row, hc_ * d_model_);
        const float rstd =
            1.0f / std::sqrt(mean_square(impl_, x) + static_cast<float>(config_.rms_norm_eps));
        const std::span<float> mixes = s_.mixes.row(row, num_mixes);
        for (float& m : mixes) m *= rstd;
        hc_split({.mixes = mixes,
                  .base = hc.base,
                  .scale = hc.scale,
                  .eps = static_cast<float>(config_.hc_eps),
                  .sinkhorn_iters = config_.hc_sinkhorn_iters},
                 s_.pre.row(row, hc_), s_.post.row(row, hc_), s_.comb.row(row, hc_ * hc_));
        const std::span<float> u = s_.x.row(row, d_model_);
        hc_collapse(impl_, x, s_.pre.row(row, hc_), rounding_, u);
        rms_norm(impl_, u, norm, static_cast<float>(config_.rms_norm_eps), rounding_, u);
        s_.x_plain.set_row(impl_, row, u, plain_);
        s_.x_fp8.set_row(impl_, row, u, quantised_);
    });
}

// y back into the streams.
void Forward::hc_leave() {
    for_rows([&](size_t row, size_t) {
        hc_update(impl_, s_.y.row(row, d_model_), s_.post.row(row, hc_),
                  s_.comb.row(row, hc_ * hc_), rounding_, s_.streams.row(row, hc_ * d_model_));
    });
}

}  // namespace baleen
