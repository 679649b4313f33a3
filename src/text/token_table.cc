#include "text/token_table.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "base/check.h"

namespace baleen {

TokenTable::TokenTable(std::span<const std::string> token_bytes,
                       const std::vector<bool>& findable) {
    CHECK_EQ(token_bytes.size(), findable.size());
    ends_.push_back(0);
    for (const std::string& bytes : token_bytes) {
        text_ += bytes;
        CHECK_LT(text_.size(), size_t{UINT32_MAX});
        ends_.push_back(static_cast<uint32_t>(text_.size()));
    }
    slots_.assign(std::bit_ceil(2 * token_bytes.size() + 2), Slot{0, -1});
    for (size_t id = 0; id < token_bytes.size(); ++id) {
        if (!findable[id]) continue;
        longest_ = std::max(longest_, token_bytes[id].size());
        const size_t hash = std::hash<std::string_view>()(token_bytes[id]);
        size_t at = hash & (slots_.size() - 1);
        while (slots_[at].id >= 0) at = (at + 1) & (slots_.size() - 1);
        slots_[at] = {static_cast<uint32_t>(hash >> 32), static_cast<TokenId>(id)};
    }
}

TokenId TokenTable::find(std::string_view wanted) const {
    if (wanted.size() > longest_) return -1;
    const size_t hash = std::hash<std::string_view>()(wanted);
    const auto tag = static_cast<uint32_t>(hash >> 32);
    for (size_t at = hash & (slots_.size() - 1); slots_[at].id >= 0;
         at = (at + 1) & (slots_.size() - 1))
        if (slots_[at].tag == tag && bytes(slots_[at].id) == wanted) return slots_[at].id;
    return -1;
}

}  // namespace baleen
