#include "kv/page_pool.h"

#include <algorithm>

#include "base/check.h"

namespace baleen {
namespace {

constexpr size_t kSlabBytes = size_t{32} << 20;

}  // namespace

PageRef::PageRef(const PageRef& other) : pool_(other.pool_), page_idx_(other.page_idx_) {
    if (pool_ != nullptr) ++pool_->references_[page_idx_];
}

PageRef::~PageRef() {
    if (pool_ != nullptr) pool_->release(page_idx_);
}

uint8_t* PageRef::data() const {
    return pool_->data(page_idx_);
}

bool PageRef::is_shared() const {
    return pool_->references_[page_idx_] > 1;
}

PagePool::PagePool(size_t page_bytes, size_t pages_max)
    : page_bytes_(page_bytes),
      pages_max_(std::min<size_t>(pages_max, UINT32_MAX)),
      pages_per_slab_(std::clamp<size_t>(kSlabBytes / std::max<size_t>(page_bytes, 1), 1, 4096)) {}

Result<PageRef> PagePool::allocate() {
    if (pages_in_use_ >= pages_max_)
        return make_error(ErrorCode::kExhausted,
                          "KV cache is full: all {} pages of {} bytes are in use", pages_max_,
                          page_bytes_);
    if (free_.empty()) {
        const size_t first = references_.size();
        slabs_.emplace_back(pages_per_slab_ * page_bytes_);
        references_.resize(first + pages_per_slab_, 0);
        free_.reserve(references_.size());
        for (size_t i = references_.size(); i > first; --i)
            free_.push_back(static_cast<uint32_t>(i - 1));
    }
    const uint32_t page_idx = free_.back();
    free_.pop_back();
    references_[page_idx] = 1;
    ++pages_in_use_;
    return PageRef(this, page_idx);
}

void PagePool::release(uint32_t page_idx) {
    CHECK_GT(references_[page_idx], 0u);
    if (--references_[page_idx] > 0) return;
    free_.push_back(page_idx);
    --pages_in_use_;
}

}  // namespace baleen
