#include "text/added_tokens.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace baleen {
namespace {

// The definition: the leftmost place where any token starts, there the longest.
AddedTokens::Match found_by_definition(const std::vector<AddedToken>& tokens, std::string_view text,
                                       size_t from) {
    for (size_t begin = from; begin < text.size(); ++begin) {
        AddedTokens::Match longest{begin, 0, -1};
        for (const AddedToken& token : tokens)
            if (text.substr(begin).starts_with(token.text) && token.text.size() > longest.size)
                longest = {begin, token.text.size(), token.id};
        if (longest.size > 0) return longest;
    }
    return {text.size(), 0, -1};
}

std::string random_string(Rng& rng, size_t size) {
    std::string text(size, ' ');
    for (char& c : text) c = "ab\xFF"[rng.next_below(3)];
    return text;
}

TEST(AddedTokens, MatchesTheDefinitionOnRandomTokens) {
    Rng rng(6);
    for (int round = 0; round < 500; ++round) {
        std::vector<AddedToken> tokens;
        for (uint64_t n = rng.next_below(12); n > 0; --n) {
            const std::string text = random_string(rng, 1 + rng.next_below(5));
            const auto same = [&](const AddedToken& t) { return t.text == text; };
            if (std::none_of(tokens.begin(), tokens.end(), same))
                tokens.push_back({text, static_cast<TokenId>(tokens.size())});
        }
        const AddedTokens added(tokens);
        const std::string text = random_string(rng, 30);
        for (size_t from = 0; from <= text.size(); ++from) {
            const auto found = added.find(text, from);
            const auto expected = found_by_definition(tokens, text, from);
            ASSERT_EQ(found.begin, expected.begin);
            ASSERT_EQ(found.size, expected.size);
            ASSERT_EQ(found.id, expected.id);
        }
        for (const AddedToken& token : tokens) EXPECT_EQ(added.exactly(token.text), token.id);
        EXPECT_EQ(added.exactly(""), -1);
        EXPECT_EQ(added.exactly("abababab"), -1);
    }
}

}  // namespace
}  // namespace baleen
