#include "model/model.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/hyper_connection.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "model/forward.h"
#include "model/kv_spec.h"

namespace baleen {

Model::Model(std::shared_ptr<const Weights> weights, ThreadPool& pool, const ModelOptions& options)
    : weights_(std::move(weights)),
      pool_(pool),
      options_(options),
      kv_layout_(std::make_shared<KvLayout>(
          kv_spec(weights_->config, options.numerics == Numerics::kOfficial ? KvEncoding::kPacked
                                                                            : KvEncoding::kF32))) {
    const Config& c = config();
    frequencies_window_ = rope_frequencies(c.qk_rope_head_dim, c.rope_theta, nullptr);
    if (c.rope_scaling) {
        const YarnArgs yarn{.factor = c.rope_scaling->factor,
                            .original_context = static_cast<double>(
                                c.rope_scaling->original_max_position_embeddings),
                            .beta_fast = c.rope_scaling->beta_fast,
                            .beta_slow = c.rope_scaling->beta_slow};
        frequencies_compressed_ =
            rope_frequencies(c.qk_rope_head_dim, c.compress_rope_theta, &yarn);
    } else {
        frequencies_compressed_ =
            rope_frequencies(c.qk_rope_head_dim, c.compress_rope_theta, nullptr);
    }
    scratch_ = std::make_unique<Scratch>(c, options_, *kv_layout_, pool_.num_threads());
}

Model::~Model() = default;

Result<void> Model::forward(std::span<const SequenceStep> steps) {
    Scratch& s = *scratch_;
    s.rows.clear();
    s.sequences.clear();
    for (const SequenceStep& step : steps) {
        CHECK(!step.tokens.empty());
        const int64_t position = step.kv->length();
        s.sequences.push_back({step.kv, s.rows.size(), step.tokens.size(), position});
        for (size_t i = 0; i < step.tokens.size(); ++i) {
            CHECK_GE(step.tokens[i], 0);
            CHECK_LT(step.tokens[i], config().vocab_size);
            s.rows.push_back(
                {step.tokens[i], position + static_cast<int64_t>(i), s.sequences.size() - 1});
        }
    }
    CHECK_LE(s.rows.size(), options_.rows_max);
    for (const SequenceStep& step : steps)
        TRY(step.kv->prepare(static_cast<int64_t>(step.tokens.size())));
    Forward(*this, s.rows, s.sequences).run_layers(steps.data());
    for (const SequenceStep& step : steps)
        step.kv->advance(static_cast<int64_t>(step.tokens.size()));
    return {};
}

void Model::forward_mtp(std::span<const MtpStep> steps) {
    CHECK(has_mtp());
    Scratch& s = *scratch_;
    s.rows.clear();
    s.sequences.clear();
    for (const MtpStep& step : steps) {
        CHECK_LE(step.first_position + static_cast<int64_t>(step.next_tokens.size()),
                 step.kv->length());
        s.sequences.push_back(
            {step.kv, s.rows.size(), step.next_tokens.size(), step.first_position});
        for (size_t i = 0; i < step.next_tokens.size(); ++i)
            s.rows.push_back({step.next_tokens[i], step.first_position + static_cast<int64_t>(i),
                              s.sequences.size() - 1});
    }
    CHECK_LE(s.rows.size(), options_.rows_max);
    Forward(*this, s.rows, s.sequences).run_mtp_layer(steps);
}

Forward::Forward(Model& model, std::span<const BatchRow> rows,
                 std::span<const BatchSequence> sequences)
    : model_(model),
      config_(model.config()),
      layout_(*model.kv_layout_),
      s_(*model.scratch_),
      rows_(rows),
      sequences_(sequences),
      impl_(model.options_.impl),
      d_model_(static_cast<size_t>(config_.hidden_size)),
      hc_(static_cast<size_t>(config_.hc_mult)),
      heads_(static_cast<size_t>(config_.num_attention_heads)),
      head_dim_(static_cast<size_t>(config_.head_dim)),
      rope_dim_(static_cast<size_t>(config_.qk_rope_head_dim)) {
    s_.head_rows.clear();
    s_.head_out.clear();
    const bool official = model.options_.numerics == Numerics::kOfficial;
    rounding_ = official ? Rounding::kBf16 : Rounding::kNone;
    plain_ = official ? ActivationQuant::kBf16 : ActivationQuant::kNone;
    quantised_ = official ? ActivationQuant::kFp8 : ActivationQuant::kNone;
    for_rows([&](size_t row, size_t) {
        rope_angles(model.frequencies_window_, rows_[row].position,
                    s_.cos_sin_window.row(row, rope_dim_));
        rope_angles(model.frequencies_compressed_, rows_[row].position,
                    s_.cos_sin_compressed.row(row, rope_dim_));
    });
}

// The contents page of report section 2.
void Forward::run_layers(const SequenceStep* steps) {
    const Weights& w = *model_.weights_;
    embed();
    for (size_t l = 0; l < w.layers.size(); ++l)
        run_block(l, w.layers[l], fmt::format("layers.{}", l));
    trace_prefix_ = "final";
    for (size_t i = 0; i < sequences_.size(); ++i)
        if (steps[i].streams != nullptr)
            std::copy_n(s_.streams.data() + sequences_[i].first_row * hc_ * d_model_,
                        sequences_[i].num_rows * hc_ * d_model_, steps[i].streams);
    for (size_t i = 0; i < sequences_.size(); ++i)
        want_logits(sequences_[i], steps[i].wanted, steps[i].logits);
    write_logits(w.hc_head, w.norm);
}

void Forward::run_block(size_t layer_idx, const LayerWeights& layer, const std::string& name) {
    trace_prefix_ = name;
    const std::span<const float> streams = s_.streams.span().first(rows_.size() * hc_ * d_model_);
    hc_enter(layer.hc_attn, layer.attn_norm);
    attention(layer_idx, layer);
    hc_leave();
    trace(".attn_out_streams", streams, {hc_, d_model_});
    hc_enter(layer.hc_ffn, layer.ffn_norm);
    moe(layer_idx, layer.moe);
    hc_leave();
    trace(".ffn_out_streams", streams, {hc_, d_model_});
}

void Forward::want_logits(const BatchSequence& sequence, LogitsOf wanted, float* logits) {
    if (wanted == LogitsOf::kNone) return;
    const size_t count = wanted == LogitsOf::kAll ? sequence.num_rows : 1;
    for (size_t i = 0; i < count; ++i) {
        s_.head_rows.push_back(
            static_cast<int32_t>(sequence.first_row + sequence.num_rows - count + i));
        s_.head_out.push_back(logits + i * model_.weights_->head.rows);
    }
}

// Collapse, final norm and head (spec 3.5) of the rows wanted, all in one reading of the head.
void Forward::write_logits(const HyperConnectionWeights& hc_head, const NormWeight& norm) {
    const float eps = static_cast<float>(config_.rms_norm_eps);
    const size_t vocab = model_.weights_->head.rows;
    const size_t num_rows = s_.head_rows.size();
    if (num_rows == 0) return;
    const LinearInput streams =
        LinearInput::borrow(s_.streams.data(), rows_.size(), hc_ * d_model_);
    LinearJob mix = linear_job(hc_head.fn, streams, num_rows, s_.mixes.data(), Rounding::kNone);
    mix.input_rows = s_.head_rows.data();
    linears({&mix, 1});
    model_.pool_.parallel_for(num_rows, [&](size_t i, size_t) {
        const std::span<float> x =
            s_.streams.row(static_cast<size_t>(s_.head_rows[i]), hc_ * d_model_);
        const float rstd = 1.0f / std::sqrt(mean_square(impl_, x) + eps);
        const std::span<float> mixes = s_.mixes.row(i, hc_);
        for (float& v : mixes) v *= rstd;
        const std::span<float> weights = s_.pre.row(i, hc_);
        hc_head_weights(mixes, hc_head.base, hc_head.scale[0], static_cast<float>(config_.hc_eps),
                        weights);
        const std::span<float> y = s_.x.row(i, d_model_);
        hc_collapse(impl_, x, weights, rounding_, y);
        rms_norm(impl_, y, norm, eps, rounding_, y);
        s_.x_plain.set_row(impl_, i, y, plain_);
    });
    // Rows of one sequence lie together; those of several do not.
    bool together = true;
    for (size_t i = 1; i < num_rows; ++i)
        together = together && s_.head_out[i] == s_.head_out[i - 1] + vocab;
    float* const logits = together ? s_.head_out.front() : s_.head_logits.data();
    const LinearJob head =
        linear_job(model_.weights_->head, s_.x_plain, num_rows, logits, Rounding::kNone);
    linears({&head, 1});
    if (!together)
        model_.pool_.parallel_for(num_rows, [&](size_t i, size_t) {
            std::copy_n(logits + i * vocab, vocab, s_.head_out[i]);
        });
    if (tracing() && num_rows == rows_.size())
        trace(".logits", {logits, num_rows * vocab}, {vocab});
}

void Forward::linears(std::span<const LinearJob> jobs) {
    run_linears(impl_, model_.pool_, jobs, s_.linear, model_.counts_);
}

void Forward::trace(const char* suffix, std::span<const float> values,
                    std::initializer_list<size_t> row_shape) const {
    if (!tracing()) return;
    std::vector<size_t> shape = {rows_.size()};
    shape.insert(shape.end(), row_shape);
    model_.trace_(trace_prefix_ + suffix, values, shape);
}

std::span<const float> Forward::cos_sin(size_t layer_idx, size_t row) const {
    const Buffer<float>& table =
        layout_.layers[layer_idx].ratio == 0 ? s_.cos_sin_window : s_.cos_sin_compressed;
    return table.row(row, rope_dim_);
}

const std::vector<float>& Forward::frequencies(size_t layer_idx) const {
    return layout_.layers[layer_idx].ratio == 0 ? model_.frequencies_window_
                                                : model_.frequencies_compressed_;
}

}  // namespace baleen
