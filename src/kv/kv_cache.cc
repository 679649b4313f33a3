#include "kv/kv_cache.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/rng.h"
#include "quant/quant.h"

namespace baleen {
namespace {

size_t pages_of(int64_t tokens) {
    return static_cast<size_t>((tokens + kPageTokens - 1) / kPageTokens);
}

}  // namespace

KvCache::KvCache(std::shared_ptr<const KvLayout> layout, std::shared_ptr<PagePool> pool)
    : layout_(std::move(layout)), pool_(std::move(pool)), hot_(std::make_shared<Hot>(*layout_)) {
    CHECK_EQ(pool_->page_bytes(), layout_->page_bytes);
    reset_gates();
}

// Gates of items that never were are -inf: they take no part in a pool.
void KvCache::reset_gates() {
    constexpr float kNever = -std::numeric_limits<float>::infinity();
    const auto reset = [&](const CompressorLayout& c, int64_t ratio) {
        const size_t items = static_cast<size_t>(ratio);
        if (ratio == 4) std::ranges::fill(state(c.previous_gate, 2 * items * c.width), kNever);
        std::ranges::fill(state(c.current_gate, items * c.width), kNever);
    };
    for (const LayerKvLayout& layer : layout_->layers) {
        if (layer.ratio != 0) reset(layer.compressor, layer.ratio);
        if (layer.ratio == 4) reset(layer.indexer_compressor, layer.ratio);
    }
}

void KvCache::own_hot() {
    if (hot_.use_count() == 1) return;
    auto own = std::make_shared<Hot>(*layout_);
    // Either may be empty: a model without compressors has no state.
    std::ranges::copy(hot_->rings.span(), own->rings.data());
    std::ranges::copy(hot_->state.span(), own->state.data());
    hot_ = std::move(own);
}

Result<void> KvCache::own_page(size_t page) {
    if (!pages_[page].is_shared()) return {};
    PageRef own = TRY(pool_->allocate());
    std::copy_n(pages_[page].data(), layout_->page_bytes, own.data());
    pages_[page] = std::move(own);
    return {};
}

size_t KvCache::pages_needed(int64_t num_tokens) const {
    const size_t pages = pages_of(length_ + num_tokens);
    const size_t tail = static_cast<size_t>(std::max(length_, frozen_tokens_) / kPageTokens);
    const bool copies_tail = tail < pages_.size() && pages_[tail].is_shared();
    return std::max(pages, pages_.size()) - pages_.size() + (copies_tail ? 1 : 0);
}

Result<void> KvCache::prepare(int64_t num_tokens) {
    const size_t pages_before = pages_.size();
    while (pages_.size() < pages_of(length_ + num_tokens)) {
        Result<PageRef> page = pool_->allocate();
        if (!page) {
            pages_.resize(pages_before);
            return std::move(page).error();
        }
        pages_.push_back(std::move(page).value());
    }
    // Only entries after the frozen ones are written; at most one shared page reaches there.
    const int64_t first_written = std::max(length_, frozen_tokens_);
    const size_t tail = static_cast<size_t>(first_written / kPageTokens);
    if (tail < pages_before)
        if (Result<void> owned = own_page(tail); !owned) {
            pages_.resize(pages_before);
            return owned;
        }
    own_hot();
    return {};
}

uint8_t* KvCache::row(size_t layer_idx, int64_t entry) {
    const LayerKvLayout& layer = layout_->layers[layer_idx];
    const size_t e = static_cast<size_t>(entry);
    return pages_[e / layer.entries_per_page].data() + layer.rows_offset +
           e % layer.entries_per_page * layout_->spec.row.row_bytes();
}

const uint8_t* KvCache::row(size_t layer_idx, int64_t entry) const {
    return const_cast<KvCache*>(this)->row(layer_idx, entry);
}

uint8_t* KvCache::key_values(size_t layer_idx, size_t page) const {
    return pages_[page].data() + layout_->layers[layer_idx].key_values_offset;
}

uint8_t* KvCache::key_scales(size_t layer_idx, size_t page) const {
    return pages_[page].data() + layout_->layers[layer_idx].key_scales_offset;
}

uint8_t* KvCache::ring_row(size_t layer_idx, int64_t position) {
    const size_t slot = static_cast<size_t>(position % layout_->spec.sliding_window);
    return hot_->rings.data() + layout_->layers[layer_idx].ring_offset +
           slot * layout_->spec.row.row_bytes();
}

const uint8_t* KvCache::ring_row(size_t layer_idx, int64_t position) const {
    return const_cast<KvCache*>(this)->ring_row(layer_idx, position);
}

void KvCache::drop_last() {
    CHECK(can_drop_last());
    can_drop_last_ = false;
    --length_;
    frozen_tokens_ = std::min(frozen_tokens_, length_);
    pages_.resize(pages_of(length_));
}

void KvCache::begin_replay(int64_t from, int64_t tokens) {
    CHECK_LE(0, from);
    CHECK_LE(from, tokens);
    CHECK_LE(tokens, length_);
    CHECK_EQ(from % kPageTokens, 0);
    pages_.resize(pages_of(tokens));
    hot_ = std::make_shared<Hot>(*layout_);
    reset_gates();
    length_ = from;
    frozen_tokens_ = tokens;
    can_drop_last_ = false;
}

Result<void> KvCache::fill_synthetic(int64_t tokens, uint64_t seed) {
    CHECK_LE(length_, tokens);
    const int64_t first = length_;
    TRY(prepare(tokens - length_));
    Rng rng(seed);
    std::vector<float> values(std::max(layout_->spec.row.dim(), layout_->spec.index_key.dim));
    const auto randomise = [&](size_t n) {
        for (size_t i = 0; i < n; ++i) values[i] = static_cast<float>(rng.next_double() * 4 - 2);
        return std::span<const float>(values.data(), n);
    };
    // A few hundred encoded rows, repeated in random order: encoding each would take minutes.
    constexpr size_t kVariants = 256;
    const KvRowFormat& row_format = layout_->spec.row;
    const IndexKeyFormat& key_format = layout_->spec.index_key;
    std::vector<uint8_t> rows(kVariants * row_format.row_bytes());
    std::vector<uint8_t> key_values(kVariants * key_format.value_bytes());
    std::vector<uint8_t> key_scales(kVariants * key_format.scale_bytes() + 1);
    for (size_t v = 0; v < kVariants; ++v) {
        row_format.encode(randomise(row_format.dim()), rows.data() + v * row_format.row_bytes());
        if (key_format.dim > 0)
            key_format.encode(randomise(key_format.dim),
                              key_values.data() + v * key_format.value_bytes(),
                              key_scales.data() + v * key_format.scale_bytes());
    }
    for (size_t l = 0; l < layout_->layers.size(); ++l) {
        const LayerKvLayout& layer = layout_->layers[l];
        if (layer.ratio == 0) continue;
        for (int64_t entry = first / layer.ratio; entry < tokens / layer.ratio; ++entry) {
            const size_t v = rng.next_below(kVariants);
            std::memcpy(row(l, entry), rows.data() + v * row_format.row_bytes(),
                        row_format.row_bytes());
            if (layer.ratio != 4) continue;
            const size_t e = static_cast<size_t>(entry);
            const size_t page = e / layer.entries_per_page;
            const size_t slot = e % layer.entries_per_page;
            std::memcpy(this->key_values(l, page) + slot * key_format.value_bytes(),
                        key_values.data() + v * key_format.value_bytes(), key_format.value_bytes());
            std::memcpy(this->key_scales(l, page) + slot * key_format.scale_bytes(),
                        key_scales.data() + v * key_format.scale_bytes(), key_format.scale_bytes());
        }
    }
    for (int64_t p = std::max<int64_t>(first, tokens - layout_->spec.sliding_window); p < tokens;
         ++p)
        for (size_t l = 0; l < layout_->layers.size(); ++l)
            std::memcpy(ring_row(l, p),
                        rows.data() + rng.next_below(kVariants) * row_format.row_bytes(),
                        row_format.row_bytes());
    length_ = tokens;
    return {};
}

}  // namespace baleen
