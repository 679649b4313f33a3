// Finding added tokens in text (spec/tokenizer.md, "Encoding", step 1): leftmost first, longest
// first at the same place. Immutable after construction, usable from any thread.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/token.h"

namespace baleen {

struct AddedToken {
    std::string text;  // not empty
    TokenId id;
};

// Longest text of an added token; bounds the work per character of input.
inline constexpr size_t kAddedTokenBytesMax = 256;

class AddedTokens {
  public:
    struct Match {
        size_t begin;  // byte offset; text.size() when nothing was found
        size_t size;
        TokenId id;
    };

    // REQUIRES: texts are distinct and of 1 to kAddedTokenBytesMax bytes.
    explicit AddedTokens(std::vector<AddedToken> tokens);

    // The first occurrence at or after `from`.
    Match find(std::string_view text, size_t from) const;

    // The token whose text is exactly this, or -1.
    TokenId exactly(std::string_view text) const;

  private:
    Match longest_at(std::string_view text, size_t begin) const;

    std::vector<AddedToken> tokens_;  // sorted by text
    std::array<bool, 256> starts_{};  // bytes that some token starts with
};

}  // namespace baleen
