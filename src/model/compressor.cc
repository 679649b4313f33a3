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

    // Where a ratio-4 token's lane 0, its part of the "previous" block, lies in the state; and any
    // other lane, its part of its own block (spec 5.3). The token before the first block of a
    // sequence has a slot too: its gates are -inf.
    size_t state_offset(int64_t token, size_t lane) const {
        const int64_t slots = lane + 1 < layout.lanes ? 2 * ratio : ratio;
        return static_cast<size_t>((token + slots) % slots) * layout.width;
    }
    size_t kv_begin(size_t lane) const {
        return lane + 1 < layout.lanes ? layout.previous_kv : layout.current_kv;
    }
    size_t gate_begin(size_t lane) const {
        return lane + 1 < layout.lanes ? layout.previous_gate : layout.current_gate;
    }

    void item(int64_t token, size_t lane, const float*& kv_item, const float*& gate_item) const {
        if (in_batch(token)) {
            const size_t offset = batch_offset(token) + lane * layout.width;
            kv_item = kv + offset;
            gate_item = gate + offset;
            return;
        }
        const size_t offset = state_offset(token, lane);
        kv_item = sequence.kv->state_at(kv_begin(lane) + offset);
        gate_item = sequence.kv->state_at(gate_begin(lane) + offset);
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

    // Carries the newest tokens over to the next batch, as many as the rings hold: those of the
    // block that is open, of the one before it, and enough to drop the last token.
    void keep_state() const {
        const int64_t end = sequence.end_position();
        for (size_t lane = 0; lane < layout.lanes; ++lane) {
            const int64_t slots = lane + 1 < layout.lanes ? 2 * ratio : ratio;
            for (int64_t token = std::max(sequence.first_position, end - slots); token < end;
                 ++token) {
                const size_t from = batch_offset(token) + lane * layout.width;
                const size_t to = state_offset(token, lane);
                std::copy_n(kv + from, layout.width,
                            sequence.kv->state(kv_begin(lane) + to, layout.width).begin());
                std::copy_n(gate + from, layout.width,
                            sequence.kv->state(gate_begin(lane) + to, layout.width).begin());
            }
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
