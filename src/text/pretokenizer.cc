#include "text/pretokenizer.h"

#include "text/unicode_ranges.h"
#include "text/utf8.h"

namespace baleen {
namespace {

// Traits of a code point, as the patterns need them.
constexpr uint8_t kNumber = 1;              // \p{N}
constexpr uint8_t kHanOrKana = 2;           // second pattern; in addition to the others
constexpr uint8_t kLetterOrMark = 4;        // [\p{L}\p{M}]
constexpr uint8_t kPunctuation = 8;         // [\p{P}\p{S}]
constexpr uint8_t kSpace = 16;              // \s
constexpr uint8_t kNewline = 32;            // [\r\n]
constexpr uint8_t kWordPrefix = 64;         // [^\r\n\p{L}\p{P}\p{S}]
constexpr uint8_t kAsciiPunctuation = 128;  // what may start the first alternative of pattern 3

constexpr size_t kNumCodePoints = 0x110000;

uint8_t traits_of_kind(char kind) {
    switch (kind) {
        case 'L': return kLetterOrMark;
        case 'M': return kLetterOrMark | kWordPrefix;
        case 'N': return kNumber;
        case 'S':
        case 'P': return kPunctuation;
        case 'W': return kSpace | kWordPrefix;
    }
    return kWordPrefix;
}

bool is_han_or_kana(char32_t code) {
    return (code >= 0x4E00 && code <= 0x9FA5) || (code >= 0x3040 && code <= 0x30FF);
}

bool is_ascii_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Walks one text. Every function takes an offset and says where the match that starts there ends;
// no match: the offset itself.
class Scanner {
  public:
    Scanner(std::string_view text, const uint8_t* traits, std::vector<uint32_t>& piece_ends)
        : text_(text), traits_(traits), piece_ends_(piece_ends) {}

    // Patterns 1 and 2; what lies between their matches goes to pattern 3.
    size_t run() {
        size_t at = 0;
        while (at < text_.size()) {
            const uint8_t traits = look(at).traits;
            if ((traits & kNumber) != 0) {
                at = number(at);
                add_piece(at);
            } else if ((traits & kHanOrKana) != 0) {
                at = run_of(kHanOrKana, at, text_.size());
                cut_words(at);
            } else {
                at = run_of_neither(at);
                cut_words(at);
            }
        }
        return num_looks_;
    }

  private:
    struct Look {
        uint8_t traits;
        uint32_t size;
    };

    Look look(size_t at) {
        ++num_looks_;
        const Utf8Char c = decode_valid_utf8(text_.data() + at);
        return {traits_[c.code], c.size};
    }

    void add_piece(size_t end) {
        piece_ends_.push_back(static_cast<uint32_t>(end));
        done_ = end;
    }

    size_t run_of(uint8_t trait, size_t at, size_t limit) {
        while (at < limit) {
            const Look c = look(at);
            if ((c.traits & trait) == 0) break;
            at += c.size;
        }
        return at;
    }

    size_t run_of_neither(size_t at) {
        while (at < text_.size()) {
            const Look c = look(at);
            if ((c.traits & (kNumber | kHanOrKana)) != 0) break;
            at += c.size;
        }
        return at;
    }

    // \p{N}{1,3}
    size_t number(size_t at) {
        for (int i = 0; i < 3 && at < text_.size(); ++i) {
            const Look c = look(at);
            if ((c.traits & kNumber) == 0) break;
            at += c.size;
        }
        return at;
    }

    // Pattern 3 on the text from the last piece to limit. Characters that nothing matches gather in
    // one piece up to the next match.
    void cut_words(size_t limit) {
        size_t at = done_;
        while (at < limit) {
            const Look c = look(at);
            const size_t end = match(at, c, limit);
            if (end == at) {
                at += c.size;
                continue;
            }
            if (done_ < at) add_piece(at);
            add_piece(end);
            at = end;
        }
        if (done_ < limit) add_piece(limit);
    }

    // The first alternative of pattern 3 that matches at c.
    size_t match(size_t at, Look c, size_t limit) {
        const size_t next = at + c.size;
        if ((c.traits & kAsciiPunctuation) != 0 && next < limit && is_ascii_letter(text_[next]))
            return ascii_letters(next, limit);
        // [^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+: a mark may be the prefix or the word, same end.
        if ((c.traits & kLetterOrMark) != 0) return run_of(kLetterOrMark, next, limit);
        if ((c.traits & kWordPrefix) != 0) {
            const size_t end = run_of(kLetterOrMark, next, limit);
            if (end > next) return end;
        }
        if (const size_t end = punctuation(at, c, limit); end > at) return end;
        if ((c.traits & kSpace) != 0) return blanks(at, limit);
        return at;
    }

    size_t ascii_letters(size_t at, size_t limit) const {
        while (at < limit && is_ascii_letter(text_[at])) ++at;
        return at;
    }

    // ` ?[\p{P}\p{S}]+[\r\n]*`
    size_t punctuation(size_t at, Look c, size_t limit) {
        const bool starts_with_space = text_[at] == ' ';
        if (!starts_with_space && (c.traits & kPunctuation) == 0) return at;
        const size_t begin = starts_with_space ? at + 1 : at;
        const size_t end = run_of(kPunctuation, begin, limit);
        if (end == begin) return at;
        return run_of(kNewline, end, limit);
    }

    // `\s*[\r\n]+|\s+(?!\S)|\s+` on the run of white space at `at`: up to its last line break; or
    // all of it at the end of the text; or all but its last blank, unless that is all there is.
    size_t blanks(size_t at, size_t limit) {
        size_t end = at;
        size_t last_blank = at;
        size_t after_newline = at;
        while (end < limit) {
            const Look c = look(end);
            if ((c.traits & kSpace) == 0) break;
            last_blank = end;
            end += c.size;
            if ((c.traits & kNewline) != 0) after_newline = end;
        }
        if (after_newline > at) return after_newline;
        if (end == limit || last_blank == at) return end;
        return last_blank;
    }

    std::string_view text_;
    const uint8_t* traits_;
    std::vector<uint32_t>& piece_ends_;
    size_t done_ = 0;  // end of the last piece
    size_t num_looks_ = 0;
};

}  // namespace

PreTokenizer::PreTokenizer() : traits_(kNumCodePoints, traits_of_kind(0)) {
    for (const UnicodeRange& range : unicode_ranges())
        for (char32_t code = range.first; code <= range.last; ++code)
            traits_[code] = traits_of_kind(range.kind);
    for (char32_t code = 0; code < kNumCodePoints; ++code)
        if (is_han_or_kana(code)) traits_[code] |= kHanOrKana;
    for (const char32_t code : {U'\r', U'\n'}) traits_[code] = kSpace | kNewline;
    for (char32_t code = 0; code < 0x80; ++code)
        if ((traits_[code] & kPunctuation) != 0) traits_[code] |= kAsciiPunctuation;
}

size_t PreTokenizer::cut(std::string_view text, std::vector<uint32_t>& piece_ends) const {
    return Scanner(text, traits_.data(), piece_ends).run();
}

}  // namespace baleen
