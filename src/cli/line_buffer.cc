#include "cli/line_buffer.h"

#include <algorithm>
#include <array>
#include <utility>

namespace baleen::cli {
namespace {

constexpr char kEscape = '\x1b';
constexpr std::string_view kPasteBegins = "\x1b[200~", kPasteEnds = "\x1b[201~";
constexpr std::string_view kLineEndSign = "\u23CE";
constexpr size_t kSequenceBytesMax = 32;

bool is_continuation(char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

// Bytes of the character that begins with this one.
size_t character_bytes(char first) {
    const auto byte = static_cast<unsigned char>(first);
    return byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

uint32_t code_point(std::string_view character) {
    const auto first = static_cast<unsigned char>(character[0]);
    uint32_t code = character.size() == 1 ? first : first & (0x7Fu >> character.size());
    for (const char byte : character.substr(1)) code = code << 6 | (byte & 0x3F);
    return code;
}

std::optional<Key> control_key(char byte) {
    switch (byte) {
        case '\r': return Key::kEnter;
        case '\n': return Key::kNewline;
        case 'A' & 0x1F: return Key::kHome;
        case 'B' & 0x1F: return Key::kLeft;
        case 'C' & 0x1F: return Key::kInterrupt;
        case 'D' & 0x1F: return Key::kEndOfInput;
        case 'E' & 0x1F: return Key::kEnd;
        case 'F' & 0x1F: return Key::kRight;
        case 'H' & 0x1F:
        case 0x7F: return Key::kBackspace;
        case 'K' & 0x1F: return Key::kKillToEnd;
        case 'L' & 0x1F: return Key::kClear;
        case 'N' & 0x1F: return Key::kDown;
        case 'P' & 0x1F: return Key::kUp;
        case 'U' & 0x1F: return Key::kKillToStart;
        case 'W' & 0x1F: return Key::kKillWord;
        default: return std::nullopt;
    }
}

constexpr std::array<std::pair<std::string_view, Key>, 20> kSequences = {{
    {"[A", Key::kUp},           {"[B", Key::kDown},        {"[C", Key::kRight},
    {"[D", Key::kLeft},         {"[H", Key::kHome},        {"[F", Key::kEnd},
    {"OA", Key::kUp},           {"OB", Key::kDown},        {"OC", Key::kRight},
    {"OD", Key::kLeft},         {"OH", Key::kHome},        {"OF", Key::kEnd},
    {"[1~", Key::kHome},        {"[4~", Key::kEnd},        {"[3~", Key::kDelete},
    {"[1;5C", Key::kWordRight}, {"[1;5D", Key::kWordLeft}, {"b", Key::kWordLeft},
    {"f", Key::kWordRight},     {"\r", Key::kNewline},
}};

// An escape sequence is complete: ESC x, ESC O x, or ESC [ ... with a final byte.
bool is_complete(std::string_view sequence) {
    if (sequence.size() < 2) return false;
    if (sequence[1] == 'O') return sequence.size() == 3;
    if (sequence[1] != '[') return true;
    return sequence.size() > 2 && sequence.back() >= '@' && sequence.back() <= '~';
}

}  // namespace

size_t column_width(uint32_t code) {
    const auto within = [code](uint32_t first, uint32_t last) {
        return code >= first && code <= last;
    };
    if (within(0x300, 0x36F) || within(0x200B, 0x200F) || within(0xFE00, 0xFE0F) ||
        within(0x20D0, 0x20FF))
        return 0;
    const bool is_wide =
        within(0x1100, 0x115F) || within(0x2E80, 0xA4CF) || within(0xAC00, 0xD7A3) ||
        within(0xF900, 0xFAFF) || within(0xFE30, 0xFE6F) || within(0xFF00, 0xFF60) ||
        within(0xFFE0, 0xFFE6) || within(0x1F300, 0x1F64F) || within(0x1F680, 0x1F6FF) ||
        within(0x1F900, 0x1F9FF) || within(0x20000, 0x3FFFD);
    return is_wide ? 2 : 1;
}

// ---- KeyDecoder ----

std::optional<KeyPress> KeyDecoder::push(char byte) {
    if (!pending_.empty() && pending_[0] == kEscape) return escaped(byte);
    if (byte == kEscape) {
        pending_.assign(1, byte);
        return std::nullopt;
    }
    return plain(byte);
}

std::optional<KeyPress> KeyDecoder::plain(char byte) {
    const bool is_second_half = std::exchange(after_return_, false) && byte == '\n';
    if (in_paste_ && (byte == '\r' || byte == '\n')) {
        after_return_ = byte == '\r';
        if (is_second_half) return std::nullopt;
        return KeyPress{.key = Key::kNewline, .text = ""};
    }
    if (in_paste_ && byte == '\t') return KeyPress{.key = Key::kText, .text = "\t"};
    if (static_cast<unsigned char>(byte) < 0x20 || byte == 0x7F) {
        pending_.clear();
        const auto key = in_paste_ ? std::nullopt : control_key(byte);
        if (byte == '\t') return KeyPress{.key = Key::kText, .text = "\t"};
        return key ? std::optional(KeyPress{.key = *key, .text = ""}) : std::nullopt;
    }
    if (!is_continuation(byte)) pending_.clear();  // what was unfinished stays so
    pending_ += byte;
    if (is_continuation(pending_[0])) pending_.clear();
    if (pending_.empty() || pending_.size() < character_bytes(pending_[0])) return std::nullopt;
    return KeyPress{.key = Key::kText, .text = std::exchange(pending_, std::string())};
}

std::optional<KeyPress> KeyDecoder::escaped(char byte) {
    pending_ += byte;
    if (pending_.size() > kSequenceBytesMax) pending_.clear();
    if (!is_complete(pending_)) return std::nullopt;
    const std::string sequence = std::exchange(pending_, std::string());
    if (sequence == kPasteBegins || sequence == kPasteEnds) {
        in_paste_ = sequence == kPasteBegins;
        return std::nullopt;
    }
    const auto known = std::ranges::find(kSequences, std::string_view(sequence).substr(1),
                                         &std::pair<std::string_view, Key>::first);
    if (in_paste_ || known == kSequences.end()) return std::nullopt;
    return KeyPress{.key = known->second, .text = ""};
}

// ---- LineBuffer ----

void LineBuffer::set(std::string text) {
    text_ = std::move(text);
    cursor_ = text_.size();
}

void LineBuffer::insert(std::string_view text) {
    text_.insert(cursor_, text);
    cursor_ += text.size();
}

size_t LineBuffer::before(size_t at) const {
    if (at > 0) --at;
    while (at > 0 && is_continuation(text_[at])) --at;
    return at;
}

size_t LineBuffer::after(size_t at) const {
    if (at < text_.size()) ++at;
    while (at < text_.size() && is_continuation(text_[at])) ++at;
    return at;
}

size_t LineBuffer::word_before(size_t at) const {
    const auto is_blank = [this](size_t i) { return text_[i] == ' ' || text_[i] == '\n'; };
    while (at > 0 && is_blank(at - 1)) --at;
    while (at > 0 && !is_blank(at - 1)) --at;
    return at;
}

size_t LineBuffer::word_after(size_t at) const {
    const auto is_blank = [this](size_t i) { return text_[i] == ' ' || text_[i] == '\n'; };
    while (at < text_.size() && is_blank(at)) ++at;
    while (at < text_.size() && !is_blank(at)) ++at;
    return at;
}

bool LineBuffer::apply(Key key) {
    const auto erase = [this](size_t from, size_t to) {
        text_.erase(from, to - from);
        cursor_ = from;
    };
    switch (key) {
        case Key::kNewline: text_.insert(cursor_++, 1, '\n'); return true;
        case Key::kBackspace: erase(before(cursor_), cursor_); return true;
        case Key::kDelete: erase(cursor_, after(cursor_)); return true;
        case Key::kLeft: cursor_ = before(cursor_); return true;
        case Key::kRight: cursor_ = after(cursor_); return true;
        case Key::kWordLeft: cursor_ = word_before(cursor_); return true;
        case Key::kWordRight: cursor_ = word_after(cursor_); return true;
        case Key::kHome: cursor_ = 0; return true;
        case Key::kEnd: cursor_ = text_.size(); return true;
        case Key::kKillToEnd: erase(cursor_, text_.size()); return true;
        case Key::kKillToStart: erase(0, cursor_); return true;
        case Key::kKillWord: erase(word_before(cursor_), cursor_); return true;
        default: return false;
    }
}

LineBuffer::View LineBuffer::view(size_t columns) const {
    const auto shown = [this](size_t at) -> std::pair<std::string_view, size_t> {
        if (text_[at] == '\n') return {kLineEndSign, 1};
        if (text_[at] == '\t') return {" ", 1};
        const auto character = std::string_view(text_).substr(at, after(at) - at);
        return {character, column_width(code_point(character))};
    };
    // Left of the cursor as much as fits, with a column kept for the cursor itself.
    View view;
    size_t begin = cursor_;
    while (begin > 0) {
        const size_t width = shown(before(begin)).second;
        if (view.cursor_column + width + 1 > columns) break;
        view.cursor_column += width;
        begin = before(begin);
    }
    size_t used = 0;
    for (size_t at = begin; at < text_.size(); at = after(at)) {
        const auto [text, width] = shown(at);
        if (used + width > columns) break;
        used += width;
        view.text += text;
    }
    return view;
}

}  // namespace baleen::cli
