#include "sandbox/log/normalise.h"

#include <algorithm>
#include <array>

namespace baleen::sandbox {
namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool is_word(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// A place in a line and what can be read from there. Each take_* either moves behind what it names
// or stays.
class Cursor {
  public:
    Cursor(std::string_view line, size_t at) : line_(line), at_(at) {}
    size_t at() const { return at_; }
    char peek(size_t ahead = 0) const {
        return at_ + ahead < line_.size() ? line_[at_ + ahead] : '\0';
    }
    bool at_word_end() const { return !is_word(peek()); }

    template <typename Kind>
    size_t count(const Kind& kind) const {
        size_t n = 0;
        while (at_ + n < line_.size() && kind(line_[at_ + n])) ++n;
        return n;
    }
    bool take(char c) {
        if (peek() != c || at_ >= line_.size()) return false;
        ++at_;
        return true;
    }
    bool take_word(std::string_view word) {
        for (size_t i = 0; i < word.size(); ++i)
            if (lower(peek(i)) != word[i]) return false;
        at_ += word.size();
        return true;
    }
    // From min to max digits and no more behind them.
    bool take_digits(size_t min, size_t max) {
        const size_t n = count(is_digit);
        if (n < min || n > max) return false;
        at_ += n;
        return true;
    }
    void take_all(char c) {
        while (take(c)) {
        }
    }
    void skip(size_t n) { at_ += n; }

  private:
    std::string_view line_;
    size_t at_;
};

// ---- times -------------------------------------------------------------------------------------

bool take_fraction(Cursor& cursor) {
    Cursor next = cursor;
    if (!next.take('.') && !next.take(',')) return false;
    if (!next.take_digits(1, 12)) return false;
    cursor = next;
    return true;
}

bool take_clock(Cursor& cursor) {
    Cursor next = cursor;
    if (!next.take_digits(1, 2) || !next.take(':') || !next.take_digits(2, 2)) return false;
    Cursor seconds = next;
    if (seconds.take(':') && seconds.take_digits(2, 2)) {
        take_fraction(seconds);
        next = seconds;
    }
    cursor = next;
    return true;
}

void take_zone(Cursor& cursor) {
    Cursor next = cursor;
    if (next.take('Z')) {
        cursor = next;
    } else if ((next.take('+') || next.take('-')) && next.take_digits(2, 4)) {
        if (next.take(':')) next.take_digits(2, 2);
        cursor = next;
    }
}

bool take_date(Cursor& cursor) {
    Cursor next = cursor;
    if (!next.take_digits(4, 4)) return false;
    const char separator = next.peek();
    if ((separator != '-' && separator != '/') || !next.take(separator)) return false;
    if (!next.take_digits(2, 2) || !next.take(separator) || !next.take_digits(2, 2)) return false;
    Cursor clock = next;
    if ((clock.take('T') || clock.take(' ')) && take_clock(clock)) {
        take_zone(clock);
        next = clock;
    }
    cursor = next;
    return next.at_word_end();
}

bool take_month_day(Cursor& cursor) {
    constexpr std::array<std::string_view, 12> kMonths = {"jan", "feb", "mar", "apr", "may", "jun",
                                                          "jul", "aug", "sep", "oct", "nov", "dec"};
    Cursor next = cursor;
    const auto is_next = [&](std::string_view month) { return next.take_word(month); };
    if (std::ranges::none_of(kMonths, is_next) || next.peek() != ' ') return false;
    next.take_all(' ');
    if (!next.take_digits(1, 2) || !next.at_word_end()) return false;
    cursor = next;
    return true;
}

bool take_unit(Cursor& cursor) {
    // Longer ones first, where one begins like another.
    constexpr std::array<std::string_view, 17> kUnits = {
        "nanoseconds", "microseconds", "milliseconds", "seconds", "second", "secs",
        "sec",         "minutes",      "minute",       "mins",    "min",    "ms",
        "us",          "\xC2\xB5s",    "ns",           "s",       "h"};
    for (const std::string_view unit : kUnits) {
        Cursor next = cursor;
        if (!next.take_word(unit) || !next.at_word_end()) continue;
        cursor = next;
        return true;
    }
    return false;
}

// 0.03s, 12 ms, 1m2.5s.
bool take_duration(Cursor& cursor) {
    Cursor next = cursor;
    if (!next.take_digits(1, 12)) return false;
    Cursor minutes = next;
    if (minutes.take('m') && minutes.take_digits(1, 12)) {
        take_fraction(minutes);
        if (minutes.take('s') && minutes.at_word_end()) {
            cursor = minutes;
            return true;
        }
    }
    take_fraction(next);
    next.take(' ');
    if (!take_unit(next)) return false;
    cursor = next;
    return true;
}

// Since 1970, of the years 2001 to 2033.
bool take_epoch(Cursor& cursor) {
    Cursor next = cursor;
    const size_t digits = next.count(is_digit);
    if (next.peek() != '1' || (digits != 10 && digits != 13 && digits != 16 && digits != 19))
        return false;
    next.skip(digits);
    take_fraction(next);
    if (!next.at_word_end()) return false;
    cursor = next;
    return true;
}

bool take_time(Cursor& cursor) {
    if (take_date(cursor) || take_month_day(cursor) || take_duration(cursor) || take_epoch(cursor))
        return true;
    Cursor next = cursor;
    if (!take_clock(next) || !next.at_word_end()) return false;
    cursor = next;
    return true;
}

// ---- addresses, temporary names ----------------------------------------------------------------

bool take_address(Cursor& cursor) {
    Cursor next = cursor;
    const bool has_prefix = next.take('0') && (next.take('x') || next.take('X'));
    if (!has_prefix) next = cursor;
    const size_t digits = next.count(is_hex);
    if (has_prefix ? digits < 4 || digits > 16 : digits != 12 && digits != 16) return false;
    bool has_decimal = has_prefix;
    for (size_t i = 0; i < digits; ++i) has_decimal |= is_digit(next.peek(i));
    next.skip(digits);
    if (!has_decimal || !next.at_word_end()) return false;
    cursor = next;
    return true;
}

bool is_name_character(char c) {
    return is_word(c) || c == '.' || c == '-';
}

// tmp and at least six characters that are not all small letters, as mkstemp and its kin make.
bool take_temporary_name(Cursor& cursor) {
    Cursor next = cursor;
    if (!next.take('t') || !next.take('m') || !next.take('p')) return false;
    if (!next.take('.') && !next.take('-')) next.take('_');
    const size_t length = next.count(is_word);
    bool looks_random = false;
    for (size_t i = 0; i < length; ++i)
        looks_random |= !(next.peek(i) >= 'a' && next.peek(i) <= 'z');
    if (length < 6 || !looks_random) return false;
    next.skip(length);
    cursor = next;
    return true;
}

// ---- putting it together -----------------------------------------------------------------------

bool ends_with_word(std::string_view text, std::string_view word) {
    if (text.size() < word.size()) return false;
    for (size_t i = 0; i < word.size(); ++i)
        if (lower(text[text.size() - word.size() + i]) != word[i]) return false;
    return text.size() == word.size() || !is_word(text[text.size() - word.size() - 1]);
}

// What stands before a number says that it is a process.
bool announces_pid(std::string_view before, char after) {
    if (before.ends_with("/proc/")) return true;
    if (after == ']' && before.size() >= 2 && before.back() == '[')
        return is_word(before[before.size() - 2]);
    if (before.size() >= 4 && before.front() == '[' && before.ends_with("] ") &&
        std::ranges::all_of(before.substr(1, before.size() - 3), is_digit))
        return true;
    const size_t end = before.find_last_not_of(" :=#");
    if (end == std::string_view::npos || end + 1 == before.size()) return false;
    const std::string_view words = before.substr(0, end + 1);
    return ends_with_word(words, "pid") || ends_with_word(words, "process");
}

class LineNormaliser {
  public:
    LineNormaliser(std::string_view line, const Normalisers& normalisers)
        : line_(line), normalisers_(normalisers) {}

    std::string run() {
        while (at_ < line_.size())
            if (!replace_one()) out_ += line_[at_++];
        return has_time_ ? without_padding() : std::move(out_);
    }

  private:
    bool replace_one() {
        const std::string_view before = line_.substr(0, at_);
        if (normalisers_.temporary_names &&
            (before.ends_with("/tmp/") &&
             (at_ == 5 || before.ends_with("/var/tmp/") || !is_name_character(line_[at_ - 6]))))
            if (const size_t n = Cursor(line_, at_).count(is_name_character); n > 0)
                return put("<temp>", at_ + n);
        // The rest begins where a word begins.
        if (at_ > 0 && is_word(line_[at_ - 1])) return false;
        Cursor cursor(line_, at_);
        if (normalisers_.temporary_names && take_temporary_name(cursor))
            return put("<temp>", cursor.at());
        if (normalisers_.pids && cursor.take_digits(1, 10)) {
            if (cursor.at_word_end() && announces_pid(before, cursor.peek()))
                return put("<pid>", cursor.at());
            cursor = Cursor(line_, at_);
        }
        if (normalisers_.times && take_time(cursor)) {
            has_time_ = true;
            return put("<time>", cursor.at());
        }
        if (normalisers_.addresses && take_address(cursor)) return put("<address>", cursor.at());
        return false;
    }

    bool put(std::string_view name, size_t end) {
        out_ += name;
        at_ = end;
        return true;
    }

    std::string without_padding() const {
        std::string out;
        for (const char c : out_)
            if (out.empty() || out.back() != c ||
                std::string_view(" =-_").find(c) == std::string_view::npos)
                out += c;
        return out;
    }

    std::string_view line_;
    const Normalisers& normalisers_;
    size_t at_ = 0;
    std::string out_;
    bool has_time_ = false;
};

}  // namespace

Result<Normalisers> parse_normalisers(const std::vector<std::string>& names) {
    Normalisers normalisers;
    for (const std::string& name : names) {
        if (name == "times")
            normalisers.times = true;
        else if (name == "pids")
            normalisers.pids = true;
        else if (name == "temporary_names")
            normalisers.temporary_names = true;
        else if (name == "addresses")
            normalisers.addresses = true;
        else
            return make_error(ErrorCode::kInvalidArgument,
                              "normaliser '{}', known are times, pids, temporary_names, addresses",
                              name);
    }
    return normalisers;
}

std::string normalise(std::string_view text, const Normalisers& normalisers) {
    std::string out;
    while (!text.empty()) {
        const size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
        out += LineNormaliser(text.substr(0, end), normalisers).run();
        text.remove_prefix(end);
    }
    return out;
}

}  // namespace baleen::sandbox
