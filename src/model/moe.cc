// DeepSeekMoE (report 2.1; spec 8): hash or learned routing, routed experts run expert by expert
// over all rows that chose them, one shared expert.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/swiglu.h"
#include "model/forward.h"
#include "quant/quant.h"

namespace baleen {
namespace {

constexpr size_t kExpertsPerTokenMax = 64;

// sqrt(softplus(z)); above 20 softplus is the identity, as in the reference's library.
float sqrt_softplus(float z) {
    return std::sqrt(z > 20.0f ? z : std::log1p(std::exp(z)));
}

// Ids of the k largest values, ascending; ties go to the lowest id.
void top_experts(std::span<const float> scores, std::span<const float> bias,
                 std::span<int32_t> ids) {
    size_t found = 0;
    std::array<float, kExpertsPerTokenMax> best;  // of ids, descending
    for (size_t e = 0; e < scores.size(); ++e) {
        const float value = scores[e] + bias[e];
        size_t at = found;
        while (at > 0 && value > best[at - 1]) --at;
        if (at == ids.size()) continue;
        found = std::min(found + 1, ids.size());
        for (size_t i = found - 1; i > at; --i) {
            best[i] = best[i - 1];
            ids[i] = ids[i - 1];
        }
        best[at] = value;
        ids[at] = static_cast<int32_t>(e);
    }
    std::ranges::sort(ids);
}

}  // namespace

void Forward::moe(size_t layer_idx, const MoeWeights& w) {
    const size_t m = rows_.size();
    CHECK_LE(static_cast<size_t>(config_.num_experts_per_tok), kExpertsPerTokenMax);
    s_.jobs.clear();
    s_.jobs.push_back(linear_job(w.gate, s_.x_plain, m, s_.router_scores.data(), Rounding::kNone));
    s_.jobs.push_back(
        linear_job(w.shared_expert.w1, s_.x_fp8, m, s_.shared_gate.data(), rounding_));
    s_.jobs.push_back(linear_job(w.shared_expert.w3, s_.x_fp8, m, s_.shared_up.data(), rounding_));
    linears(s_.jobs);
    for_rows([&](size_t row, size_t) { route(row, layer_idx, w); });
    sort_pairs();
    run_experts(w);
    if (tracing()) {
        std::vector<float> ids(s_.row_experts.begin(), s_.row_experts.end());
        const size_t k = static_cast<size_t>(config_.num_experts_per_tok);
        trace(".ffn.topk_ids", std::span(ids).first(m * k), {k});
    }
}

// Experts of one row, ascending by id, and their weights. Selection uses the biased scores (or the
// token's row of the hash table), weights the unbiased ones.
void Forward::route(size_t row, size_t layer_idx, const MoeWeights& w) {
    const size_t k = static_cast<size_t>(config_.num_experts_per_tok);
    const std::span<float> scores =
        s_.router_scores.row(row, static_cast<size_t>(config_.n_routed_experts));
    for (float& s : scores) s = sqrt_softplus(s);
    const std::span<int32_t> ids = std::span(s_.row_experts).subspan(row * k, k);
    if (config_.uses_hash_routing(static_cast<int64_t>(layer_idx))) {
        for (size_t i = 0; i < k; ++i) {
            int64_t id;
            const size_t entry = static_cast<size_t>(rows_[row].token) * k + i;
            std::memcpy(&id, w.tid2eid.data() + entry * 8, 8);
            ids[i] = static_cast<int32_t>(id);
        }
        std::ranges::sort(ids);
    } else {
        top_experts(scores, w.gate_bias, ids);
    }
    float sum = 0;
    for (int32_t id : ids) sum += scores[static_cast<size_t>(id)];
    const float scale = static_cast<float>(config_.routed_scaling_factor);
    for (size_t i = 0; i < k; ++i)
        s_.row_weights[row * k + i] = scores[static_cast<size_t>(ids[i])] / sum * scale;
}

// Counting sort of all (row, expert) pairs by expert, stable in the row.
void Forward::sort_pairs() {
    const size_t k = static_cast<size_t>(config_.num_experts_per_tok);
    const size_t pairs = rows_.size() * k;
    std::vector<int32_t>& begin = s_.expert_begin;
    std::ranges::fill(begin, 0);
    for (size_t i = 0; i < pairs; ++i) ++begin[static_cast<size_t>(s_.row_experts[i]) + 1];
    for (size_t e = 1; e < begin.size(); ++e) begin[e] += begin[e - 1];
    // begin[e] walks to begin[e + 1] while placing; shifted back below.
    for (size_t i = 0; i < pairs; ++i) {
        const int32_t pair = begin[static_cast<size_t>(s_.row_experts[i])]++;
        s_.row_pairs[i] = pair;
        s_.pair_row[static_cast<size_t>(pair)] = static_cast<int32_t>(i / k);
        s_.pair_weight[static_cast<size_t>(pair)] = s_.row_weights[i];
    }
    for (size_t e = begin.size() - 1; e > 0; --e) begin[e] = begin[e - 1];
    begin[0] = 0;
}

void Forward::run_experts(const MoeWeights& w) {
    const size_t m = rows_.size();
    const size_t k = static_cast<size_t>(config_.num_experts_per_tok);
    const size_t inter = static_cast<size_t>(config_.moe_intermediate_size);
    const float limit = static_cast<float>(config_.swiglu_limit);
    // Experts outermost: one expert's weights are read once for all rows that chose it.
    const auto expert_job = [&](size_t e, const WeightMatrix& weight, const LinearInput& input,
                                const int32_t* input_rows, float* out) {
        const size_t first = static_cast<size_t>(s_.expert_begin[e]);
        const size_t count = static_cast<size_t>(s_.expert_begin[e + 1]) - first;
        LinearJob job = linear_job(weight, input, count, out + first * weight.rows, rounding_);
        job.input_rows = input_rows + first;
        if (count > 0) s_.jobs.push_back(job);
    };
    s_.jobs.clear();
    for (size_t e = 0; e < w.routed_experts.size(); ++e) {
        expert_job(e, w.routed_experts[e].w1, s_.x_fp8, s_.pair_row.data(), s_.expert_gate.data());
        expert_job(e, w.routed_experts[e].w3, s_.x_fp8, s_.pair_row.data(), s_.expert_up.data());
    }
    linears(s_.jobs);
    model_.pool_.parallel_for(m * k + m, [&](size_t item, size_t) {
        const bool routed = item < m * k;
        const size_t i = routed ? item : item - m * k;
        const std::span<float> gate = (routed ? s_.expert_gate : s_.shared_gate).row(i, inter);
        swiglu(impl_, gate, (routed ? s_.expert_up : s_.shared_up).row(i, inter), limit,
               routed ? s_.pair_weight[i] : 1.0f, rounding_, gate);
        (routed ? s_.expert_hidden_fp8 : s_.shared_hidden_fp8).set_row(impl_, i, gate, quantised_);
    });
    s_.jobs.clear();
    s_.jobs.push_back(
        linear_job(w.shared_expert.w2, s_.shared_hidden_fp8, m, s_.shared_out.data(), rounding_));
    for (size_t e = 0; e < w.routed_experts.size(); ++e)
        expert_job(e, w.routed_experts[e].w2, s_.expert_hidden_fp8, s_.iota.data(),
                   s_.expert_out.data());
    linears(s_.jobs);
    // Ascending expert id, then the shared expert, one rounding (spec 8.3).
    for_rows([&](size_t row, size_t) {
        const std::span<float> y = s_.y.row(row, d_model_);
        std::ranges::fill(y, 0.0f);
        for (size_t i = 0; i < k; ++i) {
            const size_t pair = static_cast<size_t>(s_.row_pairs[row * k + i]);
            const std::span<const float> out = s_.expert_out.row(pair, d_model_);
            for (size_t d = 0; d < d_model_; ++d) y[d] += out[d];
        }
        const std::span<const float> shared = s_.shared_out.row(row, d_model_);
        for (size_t d = 0; d < d_model_; ++d) {
            y[d] += shared[d];
            if (rounding_ == Rounding::kBf16) y[d] = round_bf16(y[d]);
        }
    });
}

}  // namespace baleen
