// The line editor without its terminal: bytes from a keyboard become keys, keys change a line, the
// line becomes what fits on the screen. Values; no threads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace baleen::cli {

enum class Key : uint8_t {
    kText,     // KeyPress::text: one character
    kEnter,    // carriage return
    kNewline,  // Ctrl-J or Alt-Enter: a line end inside the text
    kBackspace,
    kDelete,
    kLeft,
    kRight,
    kWordLeft,
    kWordRight,
    kUp,
    kDown,
    kHome,
    kEnd,
    kKillToEnd,    // Ctrl-K
    kKillToStart,  // Ctrl-U
    kKillWord,     // Ctrl-W
    kClear,        // Ctrl-L
    kInterrupt,    // Ctrl-C
    kEndOfInput,   // Ctrl-D
};

struct KeyPress {
    Key key = Key::kText;
    std::string text;
};

// Understands UTF-8, the escape sequences of common terminals and bracketed paste; what it does not
// know is swallowed, never typed.
class KeyDecoder {
  public:
    // A key, once this byte completes one.
    std::optional<KeyPress> push(char byte);

  private:
    std::optional<KeyPress> plain(char byte);
    std::optional<KeyPress> escaped(char byte);

    std::string pending_;  // an unfinished character or escape sequence
    bool in_paste_ = false;
    bool after_return_ = false;  // in a paste: "\r\n" is one line end
};

class LineBuffer {
  public:
    const std::string& text() const { return text_; }
    size_t cursor() const { return cursor_; }  // byte offset, at a character's start
    void set(std::string text);                // cursor at the end

    void insert(std::string_view text);
    // Changes the line if the key is about the line alone; false for the other keys.
    bool apply(Key key);

    // What a window of this many columns shows so that the cursor is in sight; line ends are shown
    // as a sign of one column.
    struct View {
        std::string text;
        size_t cursor_column = 0;
    };
    View view(size_t columns) const;

  private:
    size_t before(size_t at) const;  // the start of the character that ends at `at`
    size_t after(size_t at) const;
    size_t word_before(size_t at) const;
    size_t word_after(size_t at) const;

    std::string text_;
    size_t cursor_ = 0;
};

// How many columns a character takes on a terminal: 0, 1 or 2.
size_t column_width(uint32_t code_point);

}  // namespace baleen::cli
