// Lightning indexer (report 2.3.1; spec 6): scores every visible entry of a ratio-4 layer and
// keeps the index_topk best. Where all visible entries fit, nothing is scored.
#include <algorithm>

#include "base/rng.h"
#include "model/forward.h"

namespace baleen {
namespace {

constexpr size_t kPagesPerItem = 16;  // 512 entries of ratio 4
constexpr size_t kRowsPerItem = 8;    // rows that share the decoded keys

// out := k different numbers below n, ascending (Floyd's sampling). REQUIRES: k <= n.
void draw_distinct(size_t n, size_t k, Rng& rng, std::vector<int32_t>& out) {
    out.clear();
    for (size_t last = n - k; last < n; ++last) {
        const auto drawn = static_cast<int32_t>(rng.next_below(last + 1));
        const auto place = std::ranges::lower_bound(out, drawn);
        if (place == out.end() || *place != drawn)
            out.insert(place, drawn);
        else
            out.push_back(static_cast<int32_t>(last));  // larger than all before
    }
}

}  // namespace

void Forward::select_entries(size_t layer_idx) {
    if (model_.options_.ablation == Ablation::kRandomEntries) return draw_entries(layer_idx);
    const auto visible = [&](size_t row) {
        return static_cast<size_t>((rows_[row].position + 1) / 4);
    };
    const size_t topk = static_cast<size_t>(config_.index_topk);
    size_t row = 0;
    while (row < rows_.size()) {
        if (visible(row) <= topk) {
            ++row;
            continue;
        }
        // The longest run of rows whose scores fit the buffer.
        size_t longest = 0;
        size_t end = row;
        while (end < rows_.size()) {
            const size_t page_entries = layout_.layers[layer_idx].entries_per_page;
            const size_t need = round_up(std::max(longest, visible(end)), page_entries);
            if (end > row && need * (end + 1 - row) > s_.index_scores.size()) break;
            longest = need;
            ++end;
        }
        score_tile(layer_idx, row, end, longest);
        model_.pool_.parallel_for(end - row, [&](size_t item, size_t thread_idx) {
            const size_t r = row + item;
            if (visible(r) > topk)
                select_topk({s_.index_scores.data() + item * longest, visible(r)}, topk,
                            s_.threads[thread_idx].topk, s_.selected[r]);
        });
        row = end;
    }
    if (tracing()) trace_selection(layer_idx);
}

// The ablation: as many entries as the indexer would choose, drawn by layer, position and token, so
// that the bits still depend on nothing else.
void Forward::draw_entries(size_t layer_idx) {
    const size_t topk = static_cast<size_t>(config_.index_topk);
    for_rows([&](size_t row, size_t) {
        const size_t visible = static_cast<size_t>((rows_[row].position + 1) / 4);
        if (visible <= topk) return;
        uint64_t state = layer_idx;
        state = split_mix64(state) ^ static_cast<uint64_t>(rows_[row].position);
        state = split_mix64(state) ^ static_cast<uint64_t>(rows_[row].token);
        Rng rng(state);
        draw_distinct(visible, topk, rng, s_.selected[row]);
    });
    if (tracing()) trace_selection(layer_idx);
}

// Scores of rows [row_begin, row_end) against all their entries, stride floats a row. Work items
// are (group of rows of one sequence) x (run of pages).
void Forward::score_tile(size_t layer_idx, size_t row_begin, size_t row_end, size_t stride) {
    const LayerKvLayout& layer = layout_.layers[layer_idx];
    const IndexShape shape{layout_.spec.index_key, static_cast<size_t>(config_.index_n_heads),
                           rounding_};
    const auto group_end = [&](size_t row) {
        const BatchSequence& sequence = sequences_[rows_[row].sequence_idx];
        return std::min({row + kRowsPerItem, row_end, sequence.first_row + sequence.num_rows});
    };
    for (size_t group = row_begin; group < row_end;) {
        // All groups of one sequence in one parallel loop.
        const BatchSequence& sequence = sequences_[rows_[group].sequence_idx];
        const size_t sequence_end = std::min(row_end, sequence.first_row + sequence.num_rows);
        const size_t groups = (sequence_end - group + kRowsPerItem - 1) / kRowsPerItem;
        const size_t entries = static_cast<size_t>((rows_[sequence_end - 1].position + 1) / 4);
        const size_t pages = (entries + layer.entries_per_page - 1) / layer.entries_per_page;
        const size_t runs = (pages + kPagesPerItem - 1) / kPagesPerItem;
        model_.pool_.parallel_for(groups * runs, [&](size_t item, size_t) {
            const size_t first = group + item / runs * kRowsPerItem;
            const size_t num_rows = group_end(first) - first;
            const size_t page_end = std::min((item % runs + 1) * kPagesPerItem, pages);
            for (size_t page = item % runs * kPagesPerItem; page < page_end; ++page) {
                const size_t entry = page * layer.entries_per_page;
                float* scores[kRowsPerItem];
                for (size_t i = 0; i < num_rows; ++i)
                    scores[i] = s_.index_scores.data() + (first - row_begin + i) * stride + entry;
                score_index_keys(impl_, shape, {s_.index_queries.data() + first, num_rows},
                                 {.values = sequence.kv->key_values(layer_idx, page),
                                  .scales = sequence.kv->key_scales(layer_idx, page),
                                  .count = std::min(layer.entries_per_page, entries - entry)},
                                 {scores, num_rows});
            }
        });
        if (model_.counts_ != nullptr)
            for (size_t r = group; r < sequence_end; ++r) {
                const auto scored = static_cast<uint64_t>((rows_[r].position + 1) / 4);
                model_.counts_->index_score += scored * shape.num_heads * shape.format.dim;
                model_.counts_->kv_bytes += scored * shape.format.key_bytes();
            }
        group = sequence_end;
    }
}

void Forward::trace_selection(size_t) const {
    const size_t topk = static_cast<size_t>(config_.index_topk);
    std::vector<float> entries(rows_.size() * topk, -1.0f);
    for (size_t row = 0; row < rows_.size(); ++row) {
        const size_t visible = static_cast<size_t>((rows_[row].position + 1) / 4);
        for (size_t i = 0; i < std::min(visible, topk); ++i)
            entries[row * topk + i] =
                visible <= topk ? static_cast<float>(i) : static_cast<float>(s_.selected[row][i]);
    }
    trace(".attn.topk", entries, {topk});
}

}  // namespace baleen
