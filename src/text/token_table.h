// The bytes of every token, and the way back from bytes to base tokens. Immutable after
// construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/token.h"

namespace baleen {

class TokenTable {
  public:
    // findable: which ids find() may return; their bytes are distinct.
    TokenTable(std::span<const std::string> token_bytes, const std::vector<bool>& findable);

    size_t size() const { return ends_.size() - 1; }
    std::string_view bytes(TokenId id) const {  // REQUIRES: 0 <= id < size()
        const auto at = static_cast<size_t>(id);
        return std::string_view(text_).substr(ends_[at], ends_[at + 1] - ends_[at]);
    }
    size_t longest() const { return longest_; }

    // The findable token that stands for exactly these bytes, or -1.
    TokenId find(std::string_view bytes) const;

  private:
    struct Slot {
        uint32_t tag;  // upper half of the hash: spares most comparisons of bytes
        TokenId id;    // -1: free
    };

    std::string text_;            // all tokens, one after the other
    std::vector<uint32_t> ends_;  // [size() + 1] offsets in text_, from 0
    std::vector<Slot> slots_;     // open addressing, size a power of two, at most half full
    size_t longest_ = 0;          // bytes of the longest findable token
};

}  // namespace baleen
