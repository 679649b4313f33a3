#include "text/added_tokens.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace baleen {

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
    std::sort(tokens_.begin(), tokens_.end(),
              [](const AddedToken& a, const AddedToken& b) { return a.text < b.text; });
    for (const AddedToken& token : tokens_) {
        CHECK(!token.text.empty());
        CHECK_LE(token.text.size(), kAddedTokenBytesMax);
        starts_[static_cast<uint8_t>(token.text[0])] = true;
    }
}

AddedTokens::Match AddedTokens::find(std::string_view text, size_t from) const {
    for (size_t at = from; at < text.size(); ++at) {
        if (!starts_[static_cast<uint8_t>(text[at])]) continue;
        if (const Match match = longest_at(text, at); match.size > 0) return match;
    }
    return {text.size(), 0, -1};
}

TokenId AddedTokens::exactly(std::string_view text) const {
    const auto it = std::lower_bound(
        tokens_.begin(), tokens_.end(), text,
        [](const AddedToken& token, std::string_view wanted) { return token.text < wanted; });
    return it != tokens_.end() && it->text == text ? it->id : -1;
}

// Narrows the range of tokens that share their first `depth` bytes with the text; the token that
// ends there, if any, is the first of the range.
AddedTokens::Match AddedTokens::longest_at(std::string_view text, size_t begin) const {
    Match longest{begin, 0, -1};
    auto first = tokens_.begin();
    auto last = tokens_.end();
    for (size_t depth = 0; begin + depth < text.size() && first != last; ++depth) {
        const auto wanted = static_cast<uint8_t>(text[begin + depth]);
        const auto byte_at = [depth](const AddedToken& token) {  // -1: ends here, sorts first
            return depth < token.text.size() ? static_cast<uint8_t>(token.text[depth]) : -1;
        };
        first = std::partition_point(first, last,
                                     [&](const AddedToken& t) { return byte_at(t) < wanted; });
        last = std::partition_point(first, last,
                                    [&](const AddedToken& t) { return byte_at(t) == wanted; });
        if (first != last && first->text.size() == depth + 1)
            longest = {begin, depth + 1, first->id};
    }
    return longest;
}

}  // namespace baleen
