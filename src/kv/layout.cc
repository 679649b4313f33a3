#include "kv/layout.h"

#include <utility>

#include "base/check.h"

namespace baleen {
namespace {

// Appends `count` units to `end` and returns where they begin.
size_t take(size_t& end, size_t count) {
    return std::exchange(end, end + count);
}

CompressorLayout compressor_layout(int64_t ratio, size_t width, size_t& end) {
    const size_t items = static_cast<size_t>(ratio);
    CompressorLayout c{.width = width, .lanes = ratio == 4 ? size_t{2} : size_t{1}};
    if (ratio == 4) {
        c.previous_kv = take(end, 2 * items * width);
        c.previous_gate = take(end, 2 * items * width);
    }
    c.current_kv = take(end, items * width);
    c.current_gate = take(end, items * width);
    return c;
}

}  // namespace

KvLayout::KvLayout(KvSpec s) : spec(std::move(s)) {
    const size_t row_bytes = spec.row.row_bytes();
    const size_t window = static_cast<size_t>(spec.sliding_window);
    for (int64_t ratio : spec.compress_ratios) {
        LayerKvLayout layer;
        layer.ratio = ratio;
        layer.ring_offset = take(ring_bytes, window * row_bytes);
        if (ratio != 0) {
            CHECK_EQ(kPageTokens % ratio, 0);
            layer.entries_per_page = static_cast<size_t>(kPageTokens / ratio);
            layer.rows_offset = take(page_bytes, layer.entries_per_page * row_bytes);
            layer.compressor = compressor_layout(ratio, spec.row.dim(), state_floats);
        }
        if (ratio == 4) {
            const IndexKeyFormat& key = spec.index_key;
            layer.key_values_offset = take(page_bytes, layer.entries_per_page * key.value_bytes());
            layer.key_scales_offset = take(page_bytes, layer.entries_per_page * key.scale_bytes());
            layer.indexer_compressor = compressor_layout(ratio, key.dim, state_floats);
        }
        layers.push_back(layer);
    }
    page_bytes = round_up(page_bytes, 64);
}

}  // namespace baleen
