#include "text/automaton.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "text/utf8.h"

namespace baleen {
namespace {

std::string random_bytes(Rng& rng, std::string_view letters, size_t length_max) {
    std::string text;
    for (size_t length = rng.next_below(length_max + 1); length > 0; --length)
        text += letters[rng.next_below(letters.size())];
    return text;
}

TEST(Automaton, Utf8TextIsWhatTheCheckerAccepts) {
    const Automaton utf8 = utf8_text();
    Rng rng(1);
    // Bytes around every boundary of well-formed UTF-8.
    const std::string letters =
        "a\x7F\x80\x8F\x90\x9F\xA0\xBF\xC1\xC2\xDF\xE0\xE1\xEC\xED\xEE\xEF\xF0\xF1\xF3\xF4\xF5";
    size_t valid = 0;
    for (int i = 0; i < 200'000; ++i) {
        const std::string text = random_bytes(rng, letters, 5);
        const bool is_valid = first_invalid_utf8(text) == text.npos;
        valid += is_valid ? 1 : 0;
        ASSERT_EQ(utf8.accepts(text), is_valid) << testing::PrintToString(text);
    }
    EXPECT_GT(valid, 1000u);
}

TEST(Automaton, WithoutTextsRefusesThemAnywhere) {
    const std::vector<std::string_view> texts = {"abab", "bb", "cab"};
    const Automaton automaton = without_texts(texts);
    Rng rng(2);
    for (int i = 0; i < 50'000; ++i) {
        const std::string text = random_bytes(rng, "abcd", 8);
        const bool is_free = std::none_of(texts.begin(), texts.end(), [&text](auto wanted) {
            return text.find(wanted) != text.npos;
        });
        ASSERT_EQ(automaton.accepts(text), is_free) << text;
    }
}

TEST(Automaton, SetOperations) {
    const std::vector<std::string> names = {"a", "ab", "abc", "b", ""};
    const Automaton some = one_of(names);
    const Automaton others = complement(some);
    const Automaton short_texts = length_between(1, 2);
    const Automaton both = intersection(others, short_texts).value();
    Rng rng(3);
    for (int i = 0; i < 20'000; ++i) {
        const std::string text = random_bytes(rng, "abc", 4);
        const bool is_name = std::find(names.begin(), names.end(), text) != names.end();
        const bool is_short = !text.empty() && text.size() <= 2;
        ASSERT_EQ(some.accepts(text), is_name) << text;
        ASSERT_EQ(others.accepts(text), !is_name) << text;
        ASSERT_EQ(both.accepts(text), !is_name && is_short) << text;
    }
    EXPECT_FALSE(intersection(some, others).value().accepts_anything());
}

TEST(Automaton, LengthsCountCharacters) {
    const Automaton two_or_three = length_between(2, 3);
    EXPECT_FALSE(two_or_three.accepts("\u00E9"));
    EXPECT_TRUE(two_or_three.accepts("\u00E9\U0001F600"));
    EXPECT_TRUE(two_or_three.accepts("a\u4E00\U0001F600"));
    EXPECT_FALSE(two_or_three.accepts("abcd"));
    const Automaton two_or_more = length_between(2, kNoLengthMax);
    EXPECT_FALSE(two_or_more.accepts("a"));
    EXPECT_TRUE(two_or_more.accepts("abcdefgh"));
}

TEST(Automaton, DeterminisedAcceptsTheSame) {
    // (a|ab)(c|bcd)* with epsilons; enumerated by hand.
    Automaton source;
    const uint32_t head = source.add_state();
    source.add_epsilon(source.add_text(0, "a"), head);
    source.add_epsilon(source.add_text(0, "ab"), head);
    source.add_epsilon(source.add_text(head, "c"), head);
    source.add_epsilon(source.add_text(head, "bcd"), head);
    source.accept(head);
    const Automaton result = determinised(source).value();
    for (const char* text : {"a", "ab", "ac", "abc", "abcd", "abbcd", "accbcdc", "abcbcd"})
        EXPECT_TRUE(result.accepts(text)) << text;
    for (const char* text : {"", "b", "abb", "abcdd", "ad", "acb"})
        EXPECT_FALSE(result.accepts(text)) << text;
    for (const Automaton::State& state : result.states) EXPECT_TRUE(state.epsilons.empty());
}

TEST(Automaton, TooManyStatesAreAnError) {
    // The n-th letter from the end is an "a": 2^n states.
    Automaton source;
    source.add_edge(0, 'a', 'b', 0);
    uint32_t at = source.add_letter(0, 'a');
    for (int i = 0; i < 24; ++i) {
        const uint32_t next = source.add_state();
        source.add_edge(at, 'a', 'b', next);
        at = next;
    }
    source.accept(at);
    const auto result = determinised(source);
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().code, ErrorCode::kExhausted);
}

}  // namespace
}  // namespace baleen
