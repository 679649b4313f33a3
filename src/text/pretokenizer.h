// The three cuts of spec/tokenizer.md, section "Encoding", step 2, as a hand-written scanner: one
// pass, no back-tracking beyond one run of white space, so long runs stay linear. The patterns it
// stands for are kPreTokenizerPatterns; the loader checks that a tokenizer.json names exactly
// these. Immutable after construction, usable from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace baleen {

// Numbers in threes; runs of Han and kana; words, punctuation and blanks.
inline constexpr std::array<std::string_view, 3> kPreTokenizerPatterns = {
    R"(\p{N}{1,3})", "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+",
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+)"
    "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*"
    "|\\s*[\r\n]+"
    R"(|\s+(?!\S)|\s+)"};

class PreTokenizer {
  public:
    PreTokenizer();

    // Appends the end offset of each piece of text to piece_ends (the first piece starts at 0, the
    // last one ends at text.size(); empty text has none). Returns how many characters it looked at,
    // which tests hold to a multiple of the length.
    // REQUIRES: text is valid UTF-8 of less than 4 GiB.
    size_t cut(std::string_view text, std::vector<uint32_t>& piece_ends) const;

  private:
    std::vector<uint8_t> traits_;  // [0x110000] bits of the code point, see pretokenizer.cc
};

}  // namespace baleen
