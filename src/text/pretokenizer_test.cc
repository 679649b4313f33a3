#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pretokenizer.h"

#include <gtest/gtest.h>
#include <pcre2.h>

#include <memory>
#include <string>

#include "base/check.h"
#include "base/rng.h"
#include "text/utf8.h"

namespace baleen {
namespace {

std::vector<std::string> pieces_of(std::string_view text) {
    static const PreTokenizer pre_tokenizer;
    std::vector<uint32_t> ends;
    pre_tokenizer.cut(text, ends);
    std::vector<std::string> pieces;
    size_t begin = 0;
    for (const uint32_t end : ends) {
        pieces.emplace_back(text.substr(begin, end - begin));
        begin = end;
    }
    EXPECT_EQ(begin, text.size());
    return pieces;
}

// One pattern as PCRE2 reads it: every match and every gap is a piece.
class Splitter {
  public:
    explicit Splitter(std::string_view pattern)
        : code_(compile(pattern), pcre2_code_free),
          match_(pcre2_match_data_create_from_pattern(code_.get(), nullptr),
                 pcre2_match_data_free) {}

    void split(const std::string& text, std::vector<std::string>& pieces) const {
        size_t done = 0;
        size_t from = 0;
        while (from < text.size() && find(text, from)) {
            const size_t* range = pcre2_get_ovector_pointer(match_.get());
            if (done < range[0]) pieces.push_back(text.substr(done, range[0] - done));
            pieces.push_back(text.substr(range[0], range[1] - range[0]));
            done = from = range[1];
        }
        if (done < text.size()) pieces.push_back(text.substr(done));
    }

  private:
    static pcre2_code* compile(std::string_view pattern) {
        int error = 0;
        size_t offset = 0;
        pcre2_code* code =
            pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                          PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
        CHECK(code != nullptr);
        return code;
    }

    bool find(const std::string& text, size_t from) const {
        const int found = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()),
                                      text.size(), from, 0, match_.get(), nullptr);
        CHECK(found > 0 || found == PCRE2_ERROR_NOMATCH);
        return found > 0;
    }

    std::unique_ptr<pcre2_code, void (*)(pcre2_code*)> code_;
    std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> match_;
};

std::vector<std::string> pieces_by_pcre2(const std::string& text) {
    static const std::array<Splitter, 3> splitters = {Splitter(kPreTokenizerPatterns[0]),
                                                      Splitter(kPreTokenizerPatterns[1]),
                                                      Splitter(kPreTokenizerPatterns[2])};
    std::vector<std::string> pieces = {text};
    for (const Splitter& splitter : splitters) {
        std::vector<std::string> finer;
        for (const std::string& piece : pieces) splitter.split(piece, finer);
        pieces = std::move(finer);
    }
    return pieces;
}

// Code points whose class did not change between Unicode 14 (PCRE2 10.42) and 16 (the table).
char32_t random_code_point(Rng& rng) {
    static constexpr char32_t kFavourites[] = {
        U' ',   U' ',   U'\n',  U'\r',  U'\t',   U'a',    U'Z',   U'1',   U'.',   U'-',   U'\'',
        U'$',   U'<',   0x85,   0xA0,   0x2028,  0x3000,  0x301,  0x20DD, 0x3099, 0x30FB, 0x30A0,
        0x3040, 0x4E00, 0x9FA5, 0x9FA6, 0x3007,  0x2160,  0xB2,   0x663,  0xFF13, 0x200B, 0x200D,
        0xFEFF, 0x0,    0x378,  0xE000, 0x1F44D, 0x1F3FD, 0xAC00, 0xFF76, 0x201C, 0x2014, 0x10FFFF};
    static constexpr std::pair<char32_t, char32_t> kRanges[] = {
        {0x0, 0x7F},        {0x0, 0x52F},      {0x900, 0xB6F},   {0x2000, 0x2426},
        {0x3000, 0x30FF},   {0x4E00, 0x9FA5},  {0xAC00, 0xD7A3}, {0xFF00, 0xFFEF},
        {0x1F300, 0x1F64F}, {0xE0000, 0xE01EF}};
    if (rng.next_below(3) > 0) return kFavourites[rng.next_below(std::size(kFavourites))];
    const auto& [first, last] = kRanges[rng.next_below(std::size(kRanges))];
    return first + static_cast<char32_t>(rng.next_below(last - first + 1));
}

TEST(PreTokenizer, RowC10_AgreesWithPcre2OnRandomText) {
    Rng rng(2);
    for (int i = 0; i < 40'000; ++i) {
        std::string text;
        const size_t num_chars = 1 + rng.next_below(24);
        for (size_t c = 0; c < num_chars; ++c) append_utf8(random_code_point(rng), text);
        ASSERT_EQ(pieces_of(text), pieces_by_pcre2(text)) << "text " << i << ": " << text;
    }
}

TEST(PreTokenizer, KnownCuts) {
    using Pieces = std::vector<std::string>;
    EXPECT_EQ(pieces_of(""), Pieces{});
    EXPECT_EQ(pieces_of("1234567"), (Pieces{"123", "456", "7"}));
    EXPECT_EQ(pieces_of("a  b"), (Pieces{"a", " ", " b"}));
    EXPECT_EQ(pieces_of("a  1"), (Pieces{"a", "  ", "1"}));
    EXPECT_EQ(pieces_of("x \n\t y"), (Pieces{"x", " \n", "\t", " y"}));
    EXPECT_EQ(pieces_of("don't"), (Pieces{"don", "'t"}));
    EXPECT_EQ(pieces_of("wow!!\r\n\r\nyes"), (Pieces{"wow", "!!\r\n\r\n", "yes"}));
    EXPECT_EQ(pieces_of("カ・ナab"), (Pieces{"カ", "・", "ナ", "ab"}));
    EXPECT_EQ(pieces_of(std::string("\0\1a", 3)), (Pieces{std::string(1, '\0'), "\1a"}));
}

// The characters looked at, not the time: linear whatever repeats.
TEST(PreTokenizer, WorkOnLongRunsIsBoundedByTheLength) {
    const PreTokenizer pre_tokenizer;
    constexpr size_t kUnits = 200'000;
    for (const std::string unit :
         {"a",    " ",      "\n", " \n",  "\n ", "7",      "!",      "!a", " !",  "\t",
          "\x01", "\u0301", "一", "か・", "😀",   "\u3000", "\u200d", "a ", "  a", "<"}) {
        std::string text;
        for (size_t i = 0; i < kUnits; ++i) text += unit;
        for (const char* end : {"", "x", "\n"}) {
            std::vector<uint32_t> ends;
            EXPECT_LE(pre_tokenizer.cut(text + end, ends), 5 * (text.size() + 1)) << unit << end;
            EXPECT_EQ(ends.back(), (text + end).size());
        }
    }
}

}  // namespace
}  // namespace baleen
