#include "text/utf8.h"

#include <gtest/gtest.h>

namespace baleen {
namespace {

std::string repaired(std::string bytes) {
    std::string out;
    drain_utf8(bytes, out);
    if (!bytes.empty()) out += kReplacementCharacter;
    return out;
}

TEST(Utf8, EveryScalarValueSurvives) {
    for (char32_t code = 0; code < 0x110000; ++code) {
        if (code >= 0xD800 && code < 0xE000) continue;
        std::string text;
        append_utf8(code, text);
        ASSERT_EQ(first_invalid_utf8(text), text.npos) << static_cast<uint32_t>(code);
        const Utf8Char c = decode_valid_utf8(text.data());
        ASSERT_EQ(c.code, code);
        ASSERT_EQ(c.size, text.size());
        ASSERT_EQ(repaired(text), text);
        // Every proper front part is incomplete, and one U+FFFD when nothing follows.
        for (size_t size = 1; size < text.size(); ++size) {
            ASSERT_EQ(utf8_step(text.substr(0, size)).kind, Utf8Step::Kind::kIncomplete);
            ASSERT_EQ(repaired(text.substr(0, size)), kReplacementCharacter);
        }
    }
}

TEST(Utf8, SurrogatesOverlongsAndBeyondAreInvalid) {
    for (const char* bytes :
         {"\xED\xA0\x80", "\xED\xBF\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE0\x9F\xBF",
          "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF",
          "\x80", "\xBF"}) {
        EXPECT_EQ(first_invalid_utf8(bytes), 0u) << bytes;
        EXPECT_EQ(first_invalid_utf8(std::string("0123456789") + bytes), 10u);
    }
}

// The examples of the Unicode Standard, section 3.9, "maximal subparts".
TEST(Utf8, OneReplacementPerMaximalSubpart) {
    const std::string r(kReplacementCharacter);
    EXPECT_EQ(repaired("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
              r + r + r + r + r + r + r + r + "A");
    EXPECT_EQ(repaired("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"),
              r + r + r + r + r + r + r + r + "A");
    EXPECT_EQ(repaired("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
              r + r + r + r + r + "A" + r + r + "B");
    EXPECT_EQ(repaired("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), r + r + r + r + "A");
}

}  // namespace
}  // namespace baleen
