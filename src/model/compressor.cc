// Gated compression of KV blocks (report 2.3.1, 2.3.2; spec 5): every block that completes inside
// the batch is pooled from the tokens of this batch and the partial block kept in the KV state.
#include <algorithm>

#include "kernels/compress.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "model/forward.h"
#include "quant/quant.h"

namespace baleen {
namespace {

// One compressor of one sequence: where the (kv, gate) of a token are.
struct CompressorSource {
    const CompressorLayout& layout;
    int64_t ratio;
    const BatchSequence& sequence;
    const float* kv;    // [M, lanes*c] of the batch
    const float* gate;  // [M, lanes*c], position bias included

    // Offset of a token's lanes in the batch arrays. REQUIRES: token is in the batch.
    size_t batch_offset(int64_t token) const {
        const size_t row =
            sequence.first_row + static_cast<size_t>(token - sequence.first_position);
        return row * layout.lanes * layout.width;
    }
    bool in_batch(int64_t token) const { return token >= sequence.first_position; }
    int64_t block_start(int64_t token) const { return token / ratio * ratio; }

    // Lane 0 of a ratio-4 token is its part as "previous" block, lane 1 as current (spec 5.3).
    void item(int64_t token, size_t lane, const float*& kv_item, const float*& gate_item) const {
        const size_t lane_offset = lane * layout.width;
        if (in_batch(token)) {
            kv_item = kv + batch_offset(token) + lane_offset;
            gate_item = gate + batch_offset(token) + lane_offset;
            return;
        }
        const KvCache& cache = *sequence.kv;
        const size_t slot = static_cast<size_t>((token + ratio) % ratio);
        if (token >= block_start(sequence.first_position)) {  // partial block kept in the state
            const size_t offset = slot * layout.lanes * layout.width + lane_offset;
            kv_item = cache.state_at(layout.current_kv + offset);
            gate_item = cache.state_at(layout.current_gate + offset);
        } else {  // ratio 4: the block before it; before the first token its gates are -inf
            kv_item = cache.state_at(layout.previous_kv + slot * layout.width);
            gate_item = cache.state_at(layout.previous_gate + slot * layout.width);
        }
    }

    // Items of block b, oldest first.
    void items(int64_t block, std::vector<const float*>& kv_items,
               std::vector<const float*>& gate_items) const {
        kv_items.clear();
        gate_items.clear();
        const auto add = [&](int64_t token, size_t lane) {
            item(token, lane, kv_items.emplace_back(), gate_items.emplace_back());
        };
        if (layout.lanes == 2)
            for (int64_t j = 0; j < ratio; ++j) add((block - 1) * ratio + j, 0);
        for (int64_t j = 0; j < ratio; ++j) add(block * ratio + j, layout.lanes - 1);
    }

    // Carries the last partial block (and, for ratio 4, the lower lanes of the block before it)
    // over to the next batch.
    void keep_state() const {
        KvCache& cache = *sequence.kv;
        const int64_t end = sequence.end_position();
        const int64_t start = block_start(end);
        if (layout.lanes == 2 && start > block_start(sequence.first_position)) {
            for (int64_t token = start - ratio; token < start; ++token) {
                const float *kv_item, *gate_item;
                item(token, 0, kv_item, gate_item);
                const size_t slot = static_cast<size_t>(token % ratio) * layout.width;
                std::copy_n(kv_item, layout.width,
                            cache.state(layout.previous_kv + slot, layout.width).begin());
                std::copy_n(gate_item, layout.width,
                            cache.state(layout.previous_gate + slot, layout.width).begin());
            }
        }
        const size_t cols = layout.lanes * layout.width;
        for (int64_t token = std::max(start, sequence.first_position); token < end; ++token) {
            const size_t slot = static_cast<size_t>(token % ratio) * cols;
            std::copy_n(kv + batch_offset(token), cols,
                        cache.state(layout.current_kv + slot, cols).begin());
            std::copy_n(gate + batch_offset(token), cols,
                        cache.state(layout.current_gate + slot, cols).begin());
        }
    }
};

}  // namespace

void Forward::compress(size_t layer_idx, const AttentionWeights& w) {
    const LayerKvLayout& layer = layout_.layers[layer_idx];
    const int64_t ratio = layer.ratio;
    const float eps = static_cast<float>(config_.rms_norm_eps);
    const auto main_source = [&](const BatchSequence& sequence) {
        return CompressorSource{layer.compressor, ratio, sequence, s_.compressor_kv.data(),
                                s_.compressor_gate.data()};
    };
    const auto index_source = [&](const BatchSequence& sequence) {
        return CompressorSource{layer.indexer_compressor, ratio, sequence,
                                s_.index_compressor_kv.data(), s_.index_compressor_gate.data()};
    };
    // Pools one block up to and including RoPE (spec 5.4), into the thread's entry.
    const auto pool_entry = [&](const CompressorSource& source, const CompressorWeights& c,
                                int64_t block, ThreadScratch& thread) {
        source.items(block, thread.kv_items, thread.gate_items);
        const std::span<float> entry = thread.entry.span().first(source.layout.width);
        compress_window(impl_, thread.kv_items, thread.gate_items, entry);
        if (rounding_ == Rounding::kBf16)
            for (float& v : entry) v = round_bf16(v);
        rms_norm(impl_, entry, c.norm, eps, rounding_, entry);
        rope_angles(frequencies(layer_idx), block * ratio, thread.cos_sin.span());
        rope_rotate(thread.cos_sin.span(), RopeDirection::kForward, rounding_,
                    entry.last(rope_dim_));
        return entry;
    };
    for (const BatchSequence& sequence : sequences_) {
        KvCache& kv = *sequence.kv;
        const int64_t first_block = sequence.first_position / ratio;
        const int64_t end_block = sequence.end_position() / ratio;
        const size_t blocks = static_cast<size_t>(end_block - first_block);
        const size_t kinds = w.indexer ? 2 : 1;
        model_.pool_.parallel_for(blocks * kinds, [&](size_t item, size_t thread_idx) {
            ThreadScratch& thread = s_.threads[thread_idx];
            const int64_t block = first_block + static_cast<int64_t>(item / kinds);
            if (kv.is_frozen((block + 1) * ratio)) return;
            if (item % kinds == 0) {
                const std::span<float> entry =
                    pool_entry(main_source(sequence), *w.compressor, block, thread);
                layout_.spec.row.encode(entry, kv.row(layer_idx, block));
                return;
            }
            const std::span<float> key =
                pool_entry(index_source(sequence), w.indexer->compressor, block, thread);
            hadamard(key);
            if (rounding_ == Rounding::kBf16)
                for (float& v : key) v = round_bf16(v);
            const IndexKeyFormat& format = layout_.spec.index_key;
            const size_t page = static_cast<size_t>(block) / layer.entries_per_page;
            const size_t slot = static_cast<size_t>(block) % layer.entries_per_page;
            format.encode(key, kv.key_values(layer_idx, page) + slot * format.value_bytes(),
                          kv.key_scales(layer_idx, page) + slot * format.scale_bytes());
        });
        main_source(sequence).keep_state();
        if (w.indexer) index_source(sequence).keep_state();
    }
}

}  // namespace baleen
