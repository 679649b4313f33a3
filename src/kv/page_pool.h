// The memory of all KV pages of one model: fixed-size pages with reference counts, cut from large
// slabs. A page is shared by every session that has the same history in it.
// Owned by the engine and used from its one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/result.h"
#include "tensor/buffer.h"

namespace baleen {

class PagePool;

// A counted reference to one page. Copying shares the page.
class PageRef {
  public:
    PageRef() = default;
    PageRef(const PageRef& other);
    PageRef(PageRef&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)), page_idx_(other.page_idx_) {}
    PageRef& operator=(PageRef other) noexcept {
        std::swap(pool_, other.pool_);
        std::swap(page_idx_, other.page_idx_);
        return *this;
    }
    ~PageRef();

    uint8_t* data() const;
    bool is_shared() const;  // another reference exists
    size_t page_idx() const { return page_idx_; }

  private:
    friend class PagePool;
    PageRef(PagePool* pool, uint32_t page_idx) : pool_(pool), page_idx_(page_idx) {}
    PagePool* pool_ = nullptr;
    uint32_t page_idx_ = 0;
};

class PagePool {
  public:
    // At most pages_max pages ever. REQUIRES: outlives all its PageRefs.
    PagePool(size_t page_bytes, size_t pages_max);
    PagePool(const PagePool&) = delete;
    PagePool& operator=(const PagePool&) = delete;

    // A page of unspecified content; kExhausted when pages_max are in use.
    Result<PageRef> allocate();

    size_t page_bytes() const { return page_bytes_; }
    size_t pages_in_use() const { return pages_in_use_; }
    size_t pages_free() const { return pages_max_ - pages_in_use_; }
    size_t pages_max() const { return pages_max_; }

  private:
    friend class PageRef;
    void release(uint32_t page_idx);
    uint8_t* data(uint32_t page_idx) {
        return slabs_[page_idx / pages_per_slab_].data() + page_idx % pages_per_slab_ * page_bytes_;
    }

    size_t page_bytes_;
    size_t pages_max_;
    size_t pages_per_slab_;
    size_t pages_in_use_ = 0;
    std::vector<Buffer<uint8_t>> slabs_;  // [pages_per_slab, page_bytes] each
    std::vector<uint32_t> references_;    // per page
    std::vector<uint32_t> free_;          // page indices, last in first out
};

}  // namespace baleen
