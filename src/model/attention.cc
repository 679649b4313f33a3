// Hybrid attention of one layer (report 2.3; spec 4): window rows, and compressed entries where
// the layer has them. The kinds differ in what collect_rows() finds; attend() never hears of them.
#include <algorithm>

#include "kernels/norm.h"
#include "kernels/rope.h"
#include "model/forward.h"
#include "quant/quant.h"

namespace baleen {
namespace {

// Whether the entries of a layer of this compress_ratio are left out altogether.
bool is_ablated(int64_t ratio, Ablation ablation) {
    return ablation == Ablation::kWindowOnly || (ablation == Ablation::kNoHca && ratio != 4);
}

}  // namespace

void Forward::attention(size_t layer_idx, const LayerWeights& layer) {
    const AttentionWeights& w = layer.attention;
    project_inputs(layer_idx, w);
    finish_inputs(layer_idx, w);
    project_queries(layer_idx, w);
    if (w.compressor) compress(layer_idx, w);
    if (w.indexer) select_entries(layer_idx);
    attend_rows(layer_idx, w);
    project_output(w);
    keep_window(layer_idx);
}

// Everything that reads x.
void Forward::project_inputs(size_t, const AttentionWeights& w) {
    const size_t m = rows_.size();
    std::vector<LinearJob>& jobs = s_.jobs;
    jobs.clear();
    jobs.push_back(linear_job(w.wq_a, s_.x_fp8, m, s_.q_lora.data(), rounding_));
    jobs.push_back(linear_job(w.wkv, s_.x_fp8, m, s_.kv.data(), rounding_));
    const auto compressor_jobs = [&](const CompressorWeights& c, float* kv, float* gate) {
        jobs.push_back(linear_job(c.wkv, s_.x_plain, m, kv, Rounding::kNone));
        jobs.push_back(linear_job(c.wgate, s_.x_plain, m, gate, Rounding::kNone));
    };
    if (w.compressor)
        compressor_jobs(*w.compressor, s_.compressor_kv.data(), s_.compressor_gate.data());
    if (w.indexer) {
        compressor_jobs(w.indexer->compressor, s_.index_compressor_kv.data(),
                        s_.index_compressor_gate.data());
        jobs.push_back(
            linear_job(w.indexer->weights_proj, s_.x_plain, m, s_.index_weights.data(), rounding_));
    }
    linears(jobs);
}

// Norms, RoPE and encoding of the window row; position bias of the gates.
void Forward::finish_inputs(size_t layer_idx, const AttentionWeights& w) {
    const float eps = static_cast<float>(config_.rms_norm_eps);
    const KvRowFormat& format = layout_.spec.row;
    const size_t rank = w.wq_a.rows;
    const auto add_bias = [&](const CompressorWeights& c, Buffer<float>& gate, size_t row) {
        const size_t cols = c.wgate.rows;
        const int64_t ratio = layout_.layers[layer_idx].ratio;
        const float* bias = c.ape.data() + static_cast<size_t>(rows_[row].position % ratio) * cols;
        const std::span<float> g = gate.row(row, cols);
        for (size_t i = 0; i < cols; ++i) g[i] += bias[i];
    };
    for_rows([&](size_t row, size_t) {
        const std::span<float> q_lora = s_.q_lora.row(row, rank);
        rms_norm(impl_, q_lora, w.q_norm, eps, rounding_, q_lora);
        s_.q_lora_fp8.set_row(impl_, row, q_lora, quantised_);
        const std::span<float> kv = s_.kv.row(row, head_dim_);
        rms_norm(impl_, kv, w.kv_norm, eps, rounding_, kv);
        rope_rotate(cos_sin(layer_idx, row), RopeDirection::kForward, rounding_,
                    kv.last(rope_dim_));
        format.encode(kv, s_.window_rows.row(row, format.row_bytes()).data());
        if (w.compressor) add_bias(*w.compressor, s_.compressor_gate, row);
        if (w.indexer) add_bias(w.indexer->compressor, s_.index_compressor_gate, row);
    });
    if (tracing()) {
        std::vector<float> decoded(rows_.size() * head_dim_);
        for (size_t row = 0; row < rows_.size(); ++row)
            format.decode(s_.window_rows.row(row, format.row_bytes()).data(),
                          std::span(decoded).subspan(row * head_dim_, head_dim_));
        trace(".attn.kv_row", decoded, {head_dim_});
    }
}

void Forward::project_queries(size_t layer_idx, const AttentionWeights& w) {
    const size_t m = rows_.size();
    const size_t index_heads = w.indexer ? w.indexer->weights_proj.rows : 0;
    const size_t index_dim = layout_.spec.index_key.dim;
    s_.jobs.clear();
    s_.jobs.push_back(linear_job(w.wq_b, s_.q_lora_fp8, m, s_.q.data(), rounding_));
    if (w.indexer)
        s_.jobs.push_back(
            linear_job(w.indexer->wq_b, s_.q_lora_fp8, m, s_.index_q.data(), rounding_));
    linears(s_.jobs);
    const IndexShape shape{layout_.spec.index_key, index_heads, rounding_};
    // w = weights_proj . x * (dim * heads)^-0.5 (spec 6)
    const float weight_scale =
        1.0f / std::sqrt(static_cast<float>(index_dim * std::max<size_t>(index_heads, 1)));
    for_rows([&](size_t row, size_t) {
        const std::span<const float> angles = cos_sin(layer_idx, row);
        for (size_t h = 0; h < heads_; ++h) {
            const std::span<float> q = s_.q.row(row * heads_ + h, head_dim_);
            head_norm(impl_, q, static_cast<float>(config_.rms_norm_eps), rounding_);
            rope_rotate(angles, RopeDirection::kForward, rounding_, q.last(rope_dim_));
        }
        if (!w.indexer) return;
        for (size_t h = 0; h < index_heads; ++h) {
            const std::span<float> q = s_.index_q.row(row * index_heads + h, index_dim);
            rope_rotate(angles, RopeDirection::kForward, rounding_, q.last(rope_dim_));
            hadamard(q);
            if (rounding_ == Rounding::kBf16)
                for (float& v : q) v = round_bf16(v);
        }
        const std::span<float> weights = s_.index_weights.row(row, index_heads);
        for (float& v : weights) {
            v *= weight_scale;
            if (rounding_ == Rounding::kBf16) v = round_bf16(v);
        }
        prepare_index_query(impl_, shape, s_.index_q.row(row, index_heads * index_dim), weights,
                            s_.index_queries[row]);
    });
    if (tracing()) trace(".attn.q", s_.q.span().first(m * heads_ * head_dim_), {heads_, head_dim_});
}

// Encoded rows that the query of `row` sees: window oldest first, then entries ascending.
void Forward::collect_rows(size_t layer_idx, size_t row, std::vector<const uint8_t*>& rows) const {
    const BatchSequence& sequence = sequences_[rows_[row].sequence_idx];
    const int64_t position = rows_[row].position;
    const size_t row_bytes = layout_.spec.row.row_bytes();
    rows.clear();
    for (int64_t p = std::max<int64_t>(0, position - config_.sliding_window + 1); p <= position;
         ++p) {
        if (p < sequence.first_position) {
            rows.push_back(std::as_const(*sequence.kv).ring_row(layer_idx, p));
        } else {
            const size_t chunk_row =
                sequence.first_row + static_cast<size_t>(p - sequence.first_position);
            rows.push_back(s_.window_rows.data() + chunk_row * row_bytes);
        }
    }
    const int64_t ratio = layout_.layers[layer_idx].ratio;
    if (ratio == 0 || is_ablated(ratio, model_.options_.ablation)) return;
    const KvCache& kv = *sequence.kv;
    const int64_t visible = (position + 1) / ratio;  // blocks whose last token is <= position
    if (ratio == 4 && visible > config_.index_topk) {
        for (int32_t entry : s_.selected[row]) rows.push_back(kv.row(layer_idx, entry));
        return;
    }
    for (int64_t entry = 0; entry < visible; ++entry) rows.push_back(kv.row(layer_idx, entry));
}

void Forward::attend_rows(size_t layer_idx, const AttentionWeights& w) {
    // With few rows the heads of one row are split over the threads; heads are independent.
    const size_t threads = model_.pool_.num_threads();
    const size_t splits = rows_.size() >= 2 * threads ? 1 : std::min(threads, (heads_ + 15) / 16);
    const size_t heads_per_item = (heads_ + splits - 1) / splits;
    const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim_));
    model_.pool_.parallel_for(rows_.size() * splits, [&](size_t item, size_t thread_idx) {
        const size_t row = item / splits;
        const size_t head_begin = item % splits * heads_per_item;
        if (head_begin >= heads_) return;
        const size_t num_heads = std::min(heads_per_item, heads_ - head_begin);
        ThreadScratch& thread = s_.threads[thread_idx];
        collect_rows(layer_idx, row, thread.rows);
        float* out = s_.attention_out.data() + (row * heads_ + head_begin) * head_dim_;
        attend(impl_,
               {.format = layout_.spec.row,
                .rows = thread.rows,
                .num_heads = num_heads,
                .q = s_.q.data() + (row * heads_ + head_begin) * head_dim_,
                .sink = w.attn_sink.data() + head_begin,
                .scale = scale,
                .rounding = rounding_,
                .out = out},
               thread.attention);
        // The value carries its key's rotation; turning back leaves relative distance only.
        for (size_t h = 0; h < num_heads; ++h)
            rope_rotate(cos_sin(layer_idx, row), RopeDirection::kInverse, rounding_,
                        {out + h * head_dim_ + head_dim_ - rope_dim_, rope_dim_});
    });
    if (model_.counts_ != nullptr)
        for (size_t row = 0; row < rows_.size(); ++row) {
            collect_rows(layer_idx, row, s_.threads[0].rows);
            model_.counts_->core_attention += 2 * heads_ * head_dim_ * s_.threads[0].rows.size();
            model_.counts_->kv_bytes += s_.threads[0].rows.size() * layout_.spec.row.row_bytes();
        }
}

// Grouped output projection (spec 4.6): group g reads its heads only.
void Forward::project_output(const AttentionWeights& w) {
    const size_t m = rows_.size();
    const size_t groups = static_cast<size_t>(config_.o_groups);
    const size_t rank = static_cast<size_t>(config_.o_lora_rank);
    for_rows([&](size_t row, size_t) {
        s_.attention_out_plain.set_row(impl_, row, s_.attention_out.row(row, heads_ * head_dim_),
                                       plain_);
    });
    s_.jobs.clear();
    for (size_t g = 0; g < groups; ++g) {
        LinearJob job =
            linear_job(w.wo_a, s_.attention_out_plain, m, s_.o_lora.data() + g * rank, rounding_);
        job.row_begin = g * rank;
        job.row_end = (g + 1) * rank;
        job.input_col_begin = g * w.wo_a.cols;
        job.out_stride = groups * rank;
        s_.jobs.push_back(job);
    }
    linears(s_.jobs);
    for_rows([&](size_t row, size_t) {
        s_.o_lora_fp8.set_row(impl_, row, s_.o_lora.row(row, groups * rank), quantised_);
    });
    const LinearJob job = linear_job(w.wo_b, s_.o_lora_fp8, m, s_.y.data(), rounding_);
    linears({&job, 1});
}

// The last window rows of the chunk into the ring, after all queries have read it.
void Forward::keep_window(size_t layer_idx) {
    const size_t row_bytes = layout_.spec.row.row_bytes();
    for (const BatchSequence& sequence : sequences_) {
        const size_t keep =
            std::min(sequence.num_rows, static_cast<size_t>(config_.sliding_window));
        for (size_t i = sequence.num_rows - keep; i < sequence.num_rows; ++i) {
            const uint8_t* row = s_.window_rows.data() + (sequence.first_row + i) * row_bytes;
            std::copy(row, row + row_bytes,
                      sequence.kv->ring_row(layer_idx,
                                            sequence.first_position + static_cast<int64_t>(i)));
        }
    }
}

}  // namespace baleen
