#include "cli/line_buffer.h"

#include <gtest/gtest.h>

#include <vector>

namespace baleen::cli {
namespace {

// Types bytes as a terminal sends them; keys that are not about the line are listed.
struct Typed {
    LineBuffer line;
    std::vector<Key> others;

    explicit Typed(std::string_view bytes) {
        KeyDecoder decoder;
        for (const char byte : bytes) {
            const auto press = decoder.push(byte);
            if (!press) continue;
            if (press->key == Key::kText)
                line.insert(press->text);
            else if (!line.apply(press->key))
                others.push_back(press->key);
        }
    }
};

std::string typed(std::string_view bytes) {
    return Typed(bytes).line.text();
}

TEST(LineBufferTest, TypesCharactersOfAnyLength) {
    EXPECT_EQ(typed("a\u00E9\u6F22\U0001F40B!"), "a\u00E9\u6F22\U0001F40B!");
}

TEST(LineBufferTest, BackspaceRemovesWholeCharacters) {
    EXPECT_EQ(typed("a\u6F22\u00E9\x7F"), "a\u6F22");
    EXPECT_EQ(typed("a\u6F22\u00E9\x7F\x08"), "a");
    EXPECT_EQ(typed("a\x7F\x7F\x7F"), "");
}

TEST(LineBufferTest, ArrowsAndHomeAndEndMoveByCharacters) {
    EXPECT_EQ(typed("\u6F22\u5B57\x1b[DX"), "\u6F22X\u5B57");
    EXPECT_EQ(typed("bc\x1b[Ha\x1b[Fd"), "abcd");
    EXPECT_EQ(typed("bc\x01"
                    "a\x05"
                    "d"),
              "abcd");
    EXPECT_EQ(typed("ad\x1b[D\x1b[D\x1b[D\x1b[Cbc"), "abcd");
    EXPECT_EQ(typed("\u6F22x\x1b[H\x1b[3~"), "x");
}

TEST(LineBufferTest, KillsToEitherEndAndWords) {
    EXPECT_EQ(typed("one two\x1b[D\x1b[D\x0b"), "one t");
    EXPECT_EQ(typed("one two\x1b[D\x1b[D\x15"), "wo");
    EXPECT_EQ(typed("one two  \x17"), "one ");
    EXPECT_EQ(typed("one two\x1b[1;5D\x1b[1;5DX"), "Xone two");
    EXPECT_EQ(typed("one two\x01\x1b"
                    "fX"),
              "oneX two");
}

TEST(LineBufferTest, OtherKeysAreHandedOut) {
    const Typed keys("a\x03\x04\r\x1b[A\x1b[B\x0c");
    EXPECT_EQ(keys.line.text(), "a");
    EXPECT_EQ(keys.others, (std::vector{Key::kInterrupt, Key::kEndOfInput, Key::kEnter, Key::kUp,
                                        Key::kDown, Key::kClear}));
}

TEST(LineBufferTest, LineEndsComeByCtrlJAltEnterAndPaste) {
    EXPECT_EQ(typed("a\nb\x1b\rc"), "a\nb\nc");
    const Typed pasted("\x1b[200~one\rtwo\r\n\tthree\x03\x1b[A\nfour\x1b[201~\r");
    EXPECT_EQ(pasted.line.text(), "one\ntwo\n\tthree\nfour");
    EXPECT_EQ(pasted.others, std::vector{Key::kEnter});
}

TEST(LineBufferTest, UnknownSequencesTypeNothingAndEndlessOnesAreGivenUp) {
    EXPECT_EQ(typed("a\x1b[15~b\x1b[1;3Pc\x1bOQd\x1bxe\x1b[?62;4cf"), "abcdef");
    EXPECT_EQ(typed("a\x1b[" + std::string(100, '1') + "b"), "a" + std::string(69, '1') + "b");
}

TEST(LineBufferTest, BrokenUtf8TypesNothing) {
    EXPECT_EQ(typed("a\xE6\xBC"
                    "b\x80"
                    "c\xFF\xC3\xA9"),
              "abc\u00E9");
}

TEST(LineBufferTest, ViewKeepsTheCursorInSight) {
    LineBuffer line;
    line.set("abcdefgh");
    EXPECT_EQ(line.view(20).text, "abcdefgh");
    EXPECT_EQ(line.view(20).cursor_column, 8u);
    EXPECT_EQ(line.view(5).text, "efgh");
    EXPECT_EQ(line.view(5).cursor_column, 4u);
    line.apply(Key::kHome);
    EXPECT_EQ(line.view(5).text, "abcde");
    EXPECT_EQ(line.view(5).cursor_column, 0u);
}

TEST(LineBufferTest, ViewCountsColumns) {
    LineBuffer line;
    line.set("\u6F22e\u0301\nx");  // two columns, one with its accent, a sign, one
    EXPECT_EQ(line.view(80).text, "\u6F22e\u0301\u23CEx");
    EXPECT_EQ(line.view(80).cursor_column, 5u);
    EXPECT_EQ(line.view(5).text, "e\u0301\u23CEx");
}

}  // namespace
}  // namespace baleen::cli
