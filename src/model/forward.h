// One pass over a batch: what every part of the forward pass reads. Private to model/.
// The parts are member functions, one file per report section.
#pragma once

#include <span>
#include <string>

#include "model/model.h"
#include "model/scratch.h"

namespace baleen {

class Forward {
  public:
    Forward(Model& model, std::span<const BatchRow> rows, std::span<const BatchSequence> sequences);

    void run_layers(const SequenceStep* steps);
    void run_mtp_layer(std::span<const MtpStep> steps);

    // Notes the rows whose logits a step wants; then computes those of all.
    void want_logits(const BatchSequence& sequence, LogitsOf wanted, float* logits);
    void write_logits(const HyperConnectionWeights& hc_head, const NormWeight& norm);

  private:
    // hyper_connection.cc
    void embed();
    void hc_enter(const HyperConnectionWeights& hc, const NormWeight& norm);
    void hc_leave();

    // attention.cc
    void attention(size_t layer_idx, const LayerWeights& layer);
    void project_inputs(size_t layer_idx, const AttentionWeights& w);
    void finish_inputs(size_t layer_idx, const AttentionWeights& w);
    void project_queries(size_t layer_idx, const AttentionWeights& w);
    void attend_rows(size_t layer_idx, const AttentionWeights& w);
    void collect_rows(size_t layer_idx, size_t row, std::vector<const uint8_t*>& rows) const;
    void project_output(const AttentionWeights& w);
    void keep_window(size_t layer_idx);

    // compressor.cc
    void compress(size_t layer_idx, const AttentionWeights& w);

    // indexer.cc
    void select_entries(size_t layer_idx);
    void draw_entries(size_t layer_idx);
    void score_tile(size_t layer_idx, size_t row_begin, size_t row_end, size_t stride);

    // moe.cc
    void moe(size_t layer_idx, const MoeWeights& w);
    void route(size_t row, size_t layer_idx, const MoeWeights& w);
    void sort_pairs();
    void run_experts(const MoeWeights& w);

    void run_block(size_t layer_idx, const LayerWeights& layer, const std::string& name);
    void linears(std::span<const LinearJob> jobs);
    template <typename Body>
    void for_rows(const Body& body) {
        model_.pool_.parallel_for(rows_.size(), body);
    }
    // Hands trace_prefix_ + suffix to the sink; values are [rows, row_shape...].
    void trace(const char* suffix, std::span<const float> values,
               std::initializer_list<size_t> row_shape) const;
    bool tracing() const { return static_cast<bool>(model_.trace_); }
    // Every attended entry of a row, for the trace: -1 padded to `width`.
    void trace_selection(size_t layer_idx) const;

    std::span<const float> cos_sin(size_t layer_idx, size_t row) const;
    const std::vector<float>& frequencies(size_t layer_idx) const;

    Model& model_;
    const Config& config_;
    const KvLayout& layout_;
    Scratch& s_;
    std::span<const BatchRow> rows_;
    std::span<const BatchSequence> sequences_;
    Impl impl_;
    Rounding rounding_;          // of activations
    ActivationQuant plain_;      // inputs that stay bf16
    ActivationQuant quantised_;  // inputs of FP8 and FP4 linears
    std::string trace_prefix_;   // "layers.3"
    size_t d_model_, hc_, heads_, head_dim_, rope_dim_;
};

}  // namespace baleen
