// KvCache: all that a sequence leaves behind in the model: pages of compressed entries, the
// sliding-window rings and the compressors' partial blocks.
//
// Copying one is how sessions fork and snapshots are taken: pages and hot state are shared until
// one of the copies is extended. Used from the engine thread; the parallel loops of a forward pass
// write disjoint rows between prepare() and advance().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "kv/layout.h"
#include "kv/page_pool.h"
#include "tensor/buffer.h"

namespace baleen {

class KvCache {
  public:
    // An empty sequence. pool pages have layout->page_bytes.
    KvCache(std::shared_ptr<const KvLayout> layout, std::shared_ptr<PagePool> pool);

    int64_t length() const { return length_; }  // tokens whose KV is complete
    const KvLayout& layout() const { return *layout_; }

    // Makes room for tokens [length(), length() + num_tokens) and makes everything they will write
    // this cache's own. kExhausted leaves the cache as it was.
    Result<void> prepare(int64_t num_tokens);
    // Pages that prepare(num_tokens) would take from the pool.
    size_t pages_needed(int64_t num_tokens) const;
    // Makes the hot state this cache's own, for writes beside a pass (MTP rings).
    void own_hot();
    // The prepared tokens are complete.
    void advance(int64_t num_tokens) {
        length_ += num_tokens;
        can_drop_last_ = num_tokens > 0;
    }

    // ---- compressed entries; entry e of a layer covers tokens [e * ratio, (e+1) * ratio) ----

    // Entries before this token were complete before a replay (begin_replay): they stay as they
    // are and must not be written again.
    bool is_frozen(int64_t end_token) const { return end_token <= frozen_tokens_; }
    uint8_t* row(size_t layer_idx, int64_t entry);
    const uint8_t* row(size_t layer_idx, int64_t entry) const;
    // Index keys of one page, `entries_per_page` of them.
    uint8_t* key_values(size_t layer_idx, size_t page) const;
    uint8_t* key_scales(size_t layer_idx, size_t page) const;

    // ---- hot state ----

    uint8_t* ring_row(size_t layer_idx, int64_t position);
    const uint8_t* ring_row(size_t layer_idx, int64_t position) const;
    std::span<float> state(size_t offset, size_t size) {
        return hot_->state.span().subspan(offset, size);
    }
    const float* state_at(size_t offset) const { return hot_->state.data() + offset; }

    // ---- going back ----

    // Drops the last token, exactly: what follows gets the bits of the token never having been
    // there. Once after each advance(): a second token in a row would need what the rings have
    // overwritten. REQUIRES: can_drop_last().
    void drop_last();
    bool can_drop_last() const { return can_drop_last_ && !is_replaying(); }

    // Cuts the sequence to `tokens` and makes the cache ready to run tokens [from, tokens) again,
    // with the entries before `tokens` frozen. from is a multiple of kPageTokens, or 0. Until
    // length() reaches `tokens` again the outputs of the replayed tokens mean nothing (their
    // window reaches before `from`); after the model's receptive field of them, everything that
    // the next token needs is exact.
    void begin_replay(int64_t from, int64_t tokens);

    // A replay is not through: outputs mean nothing yet.
    bool is_replaying() const { return length_ < frozen_tokens_; }
    int64_t replay_end() const { return frozen_tokens_; }

    std::span<const PageRef> pages() const { return pages_; }
    // Bytes held: whole pages (shared ones counted in full) and hot state.
    size_t bytes() const { return pages_.size() * layout_->page_bytes + layout_->hot_bytes(); }

    // Fills [length(), tokens) of the pages with deterministic, well-formed entries and sets the
    // length: a benchmark's stand-in for a long prefill. The rings keep what they hold.
    Result<void> fill_synthetic(int64_t tokens, uint64_t seed);

  private:
    struct Hot {
        explicit Hot(const KvLayout& layout)
            : rings(layout.ring_bytes), state(layout.state_floats) {}
        Buffer<uint8_t> rings;
        Buffer<float> state;
    };
    Result<void> own_page(size_t page);
    void reset_gates();

    std::shared_ptr<const KvLayout> layout_;
    std::shared_ptr<PagePool> pool_;  // before pages_: outlives them
    std::vector<PageRef> pages_;
    std::shared_ptr<Hot> hot_;
    int64_t length_ = 0;
    int64_t frozen_tokens_ = 0;
    bool can_drop_last_ = false;
};

}  // namespace baleen
