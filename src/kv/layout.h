// Where everything of a session's KV lies (docs/formats.md).
//
// Compressed entries and index keys live in pages of 128 tokens that hold all layers; they are
// written once and never change, so pages can be shared between sessions, spilled and reloaded.
// Everything that changes with each token (the sliding-window rings and the compressors' partial
// blocks) is the "hot" part, of constant size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "quant/kv_row.h"

namespace baleen {

inline constexpr int64_t kPageTokens = 128;

struct KvSpec {
    std::vector<int64_t> compress_ratios;  // all layers, MTP stages included; 0: window only
    int64_t sliding_window = 128;
    KvRowFormat row;
    IndexKeyFormat index_key;  // of ratio-4 layers
};

// Incremental state of one compressor (spec 5.5): f32 offsets into the hot state. c is the width
// of an entry. Both parts are rings by token, so that a new token overwrites nothing that the one
// before it needs: dropping the last token is exact (KvCache::drop_last).
struct CompressorLayout {
    size_t width = 0;        // c
    size_t lanes = 1;        // 2 for ratio 4
    size_t previous_kv = 0;  // [2 * ratio, c] as part of the previous block, ratio 4 only
    size_t previous_gate = 0;
    size_t current_kv = 0;  // [ratio, c] as part of its own block
    size_t current_gate = 0;
};

struct LayerKvLayout {
    int64_t ratio = 0;
    size_t ring_offset = 0;               // bytes into the rings: [window, row_bytes]
    size_t entries_per_page = 0;          // 128 / ratio
    size_t rows_offset = 0;               // bytes into a page: [entries_per_page, row_bytes]
    size_t key_values_offset = 0;         // bytes into a page: [entries_per_page, value_bytes]
    size_t key_scales_offset = 0;         // bytes into a page: [entries_per_page, scale_bytes]
    CompressorLayout compressor;          // ratio != 0
    CompressorLayout indexer_compressor;  // ratio == 4
};

struct KvLayout {
    KvSpec spec;
    std::vector<LayerKvLayout> layers;
    size_t page_bytes = 0;  // multiple of 64
    size_t ring_bytes = 0;
    size_t state_floats = 0;

    explicit KvLayout(KvSpec spec);

    size_t hot_bytes() const { return ring_bytes + state_floats * 4; }
    // Bytes of a session at `tokens` tokens, tail page included.
    size_t session_bytes(int64_t tokens) const {
        return static_cast<size_t>((tokens + kPageTokens - 1) / kPageTokens) * page_bytes +
               hot_bytes();
    }
};

}  // namespace baleen
