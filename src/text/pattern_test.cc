#include "text/pattern.h"

#include <gtest/gtest.h>

#include <regex>

#include "base/rng.h"

namespace baleen {
namespace {

TEST(Pattern, AgreesWithTheStandardLibrary) {
    const char* patterns[] = {"a",
                              "^a",
                              "a$",
                              "^a$",
                              "^a|b$",
                              "^(a|b)+$",
                              "^(?:ab)*$",
                              "^[a-c]{2,3}$",
                              "^[^ab]+$",
                              "\\d+",
                              "^\\w+-\\d$",
                              "^a?b*c+$",
                              "^.{3}$",
                              "^\\s*$",
                              "(a|b)(c|1)",
                              "^(a(b(c)?)?)?$",
                              "^a{2}$",
                              "^a{2,}b$",
                              "[\\d\\-]",
                              "^$",
                              "",
                              "a||b",
                              "^[\\w.]+@\\w+\\.c$",
                              "^(?:[ab]+?1)+$",
                              "\\x61\\u0062",
                              "[-a]",
                              "[a-]",
                              "^\\S+\\D$",
                              "\\/",
                              "(^a|b)c",
                              "a(b$|1)"};
    Rng rng(4);
    for (const char* pattern : patterns) {
        const auto automaton = pattern_automaton(pattern);
        ASSERT_TRUE(automaton.has_value()) << pattern << ": " << automaton.error().message;
        const std::regex regex(pattern);
        for (int i = 0; i < 3000; ++i) {
            std::string text;
            for (size_t n = rng.next_below(6); n > 0; --n)
                text += "aabbcc112-@. /\n"[rng.next_below(15)];
            ASSERT_EQ(automaton->accepts(text), std::regex_search(text, regex))
                << pattern << " on " << text;
        }
    }
}

TEST(Pattern, CharactersAreUnicode) {
    const auto matches = [](std::string_view pattern, std::string_view text) {
        return pattern_automaton(pattern).value().accepts(text);
    };
    EXPECT_TRUE(matches("^.$", "\U0001F600"));
    EXPECT_TRUE(matches("^[\u00E0-\u4E00]$", "\u3000"));
    EXPECT_FALSE(matches("^[\u00E0-\u4E00]$", "\u4E01"));
    EXPECT_TRUE(matches("^[^a]$", "\uFFFD"));
    EXPECT_TRUE(matches("^\\u00e9\\u{1F600}\\uD83D\\uDE00$", "\u00E9\U0001F600\U0001F600"));
    EXPECT_FALSE(matches("^.$", "\u2028"));
    EXPECT_TRUE(matches("^\\s$", "\u3000"));
}

TEST(Pattern, WhatIsLeftOutIsNamed) {
    for (const char* pattern : {"(?=a)b", "(?!a)b", "(?<=a)b", "\\bword", "(a)\\1", "\\p{L}",
                                "(?i)a", "a{2000}", "\\cA"}) {
        const auto result = pattern_automaton(pattern);
        ASSERT_FALSE(result.has_value()) << pattern;
        EXPECT_EQ(result.error().code, ErrorCode::kUnsupported) << pattern;
    }
    for (const char* pattern : {"(", ")", "[a", "*a", "a**", "a{2,1}", "[b-a]", "\\", "\\x1",
                                "\\u12", "a{1", "^*", "\xFF"}) {
        const auto result = pattern_automaton(pattern);
        ASSERT_FALSE(result.has_value()) << pattern;
        EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument) << pattern;
    }
    const auto too_large = pattern_automaton("(a|b)*a((a|b){30}){30}");
    ASSERT_FALSE(too_large.has_value());
    EXPECT_EQ(too_large.error().code, ErrorCode::kExhausted);
    EXPECT_FALSE(pattern_automaton(std::string(200, '(') + std::string(200, ')')).has_value());
}

}  // namespace
}  // namespace baleen
