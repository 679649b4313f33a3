// The multi-token-prediction block (report 2.1; spec 9): a full window-only block over the main
// model's residual streams and the next token's embedding.
#include "kernels/norm.h"
#include "kernels/quantize.h"
#include "model/forward.h"
#include "quant/quant.h"

namespace baleen {

void Forward::run_mtp_layer(std::span<const MtpStep> steps) {
    const MtpWeights& w = *model_.weights_->mtp;
    const size_t m = rows_.size();
    const float eps = static_cast<float>(config_.rms_norm_eps);
    for (size_t i = 0; i < steps.size(); ++i)
        std::copy_n(steps[i].streams, sequences_[i].num_rows * hc_ * d_model_,
                    s_.streams.data() + sequences_[i].first_row * hc_ * d_model_);
    for_rows([&](size_t row, size_t) {
        const std::span<float> e = s_.x.row(row, d_model_);
        decode_weight_row(model_.weights_->embed, static_cast<size_t>(rows_[row].token), e);
        rms_norm(impl_, e, w.enorm, eps, rounding_, e);
        s_.mtp_embed_fp8.set_row(impl_, row, e, quantised_);
        for (size_t j = row * hc_; j < (row + 1) * hc_; ++j) {  // one norm per stream
            const std::span<float> h = s_.mtp_hidden.row(j, d_model_);
            rms_norm(impl_, s_.streams.row(j, d_model_), w.hnorm, eps, rounding_, h);
            s_.mtp_hidden_fp8.set_row(impl_, j, h, quantised_);
        }
    });
    const LinearJob jobs[] = {
        linear_job(w.e_proj, s_.mtp_embed_fp8, m, s_.mtp_embed_out.data(), rounding_),
        linear_job(w.h_proj, s_.mtp_hidden_fp8, m * hc_, s_.streams.data(), rounding_)};
    linears(jobs);
    for_rows([&](size_t row, size_t) {
        const std::span<const float> e = s_.mtp_embed_out.row(row, d_model_);
        for (size_t j = row * hc_; j < (row + 1) * hc_; ++j) {
            const std::span<float> stream = s_.streams.row(j, d_model_);
            for (size_t d = 0; d < d_model_; ++d) {
                stream[d] += e[d];
                if (rounding_ == Rounding::kBf16) stream[d] = round_bf16(stream[d]);
            }
        }
    });
    run_block(static_cast<size_t>(config_.num_hidden_layers), w.layer, "mtp.0");
    for (size_t i = 0; i < steps.size(); ++i)
        want_logits(sequences_[i], steps[i].wanted, steps[i].logits);
    write_logits(w.hc_head, w.norm);
}

}  // namespace baleen
