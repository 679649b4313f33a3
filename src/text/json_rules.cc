#include "text/json_rules.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"

namespace baleen {
namespace {

// Leads from `from` over one of the letters to `to`.
void add_one_of(Automaton& rule, uint32_t from, std::string_view letters, uint32_t to) {
    for (const char c : letters)
        rule.add_edge(from, static_cast<uint8_t>(c), static_cast<uint8_t>(c), to);
}

void add_hex(Automaton& rule, uint32_t from, uint32_t to) {
    rule.add_edge(from, '0', '9', to);
    rule.add_edge(from, 'a', 'f', to);
    rule.add_edge(from, 'A', 'F', to);
}

uint32_t add_hex(Automaton& rule, uint32_t from, int digits) {
    for (; digits > 0; --digits) {
        const uint32_t to = rule.add_state();
        add_hex(rule, from, to);
        from = to;
    }
    return from;
}

// \uXXXX after the backslash: any character but U+0000 to U+001F, which have other forms here, and
// lone surrogates.
void add_unicode_escapes(Automaton& rule, uint32_t backslash, uint32_t to) {
    const uint32_t u = rule.add_letter(backslash, 'u');
    const auto add = [&](std::string_view first, std::string_view second) {
        const uint32_t one = rule.add_state();
        const uint32_t two = rule.add_state();
        add_one_of(rule, u, first, one);
        add_one_of(rule, one, second, two);
        return add_hex(rule, two, 2);
    };
    rule.add_epsilon(add("0", "123456789abcdefABCDEF"), to);
    const uint32_t zeros = rule.add_text(u, "00");
    const uint32_t third = rule.add_state();
    add_one_of(rule, zeros, "23456789abcdefABCDEF", third);
    rule.add_epsilon(add_hex(rule, third, 1), to);
    rule.add_epsilon(add("123456789abcefABCEF", "0123456789abcdefABCDEF"), to);
    rule.add_epsilon(add("dD", "01234567"), to);
    const uint32_t high = rule.add_letter(rule.add_letter(add("dD", "89abAB"), '\\'), 'u');
    const uint32_t d = rule.add_state();
    const uint32_t low = rule.add_state();
    add_one_of(rule, high, "dD", d);
    add_one_of(rule, d, "cdefCDEF", low);
    rule.add_epsilon(add_hex(rule, low, 2), to);
}

constexpr std::string_view kShortEscapes = "\"\\\b\f\n\r\t";
constexpr std::string_view kShortEscapeLetters = "\"\\bfnrt";

// One byte of a string's value, in the way that JSON writes it.
void add_value_byte(Automaton& rule, uint32_t from, uint8_t byte, uint32_t to) {
    const size_t at = kShortEscapes.find(static_cast<char>(byte));
    if (at == std::string_view::npos && byte >= 0x20) {
        rule.add_edge(from, byte, byte, to);
        return;
    }
    const uint32_t backslash = rule.add_letter(from, '\\');
    if (at != std::string_view::npos) {
        add_one_of(rule, backslash, kShortEscapeLetters.substr(at, 1), to);
        return;
    }
    const uint32_t zeros = rule.add_text(backslash, byte < 0x10 ? "u000" : "u001");
    add_one_of(rule, zeros, std::string_view("0123456789abcdef").substr(byte % 16, 1), to);
}

// Bytes that stand for themselves: the parts of first..last without the escaped ones.
void add_value_bytes(Automaton& rule, uint32_t from, const Automaton::Edge& edge, uint32_t to) {
    const auto is_plain = [](Letter b) { return b >= 0x20 && b != '"' && b != '\\'; };
    for (Letter b = edge.first; b <= edge.last; ++b) {
        if (!is_plain(b)) {
            add_value_byte(rule, from, static_cast<uint8_t>(b), to);
            continue;
        }
        const Letter begin = b;
        while (b < edge.last && is_plain(b + 1)) ++b;
        rule.add_edge(from, begin, b, to);
    }
}

// -?(0|[1-9][0-9]*), bounded; the returned state has read a whole number. "-0" only if allowed.
uint32_t add_digits(Automaton& rule, bool minus_zero) {
    const uint32_t end = rule.add_state();
    const uint32_t minus = rule.add_letter(0, '-');
    rule.add_edge(0, '0', '0', end);
    if (minus_zero) rule.add_edge(minus, '0', '0', end);
    uint32_t at = rule.add_state();
    rule.add_edge(0, '1', '9', at);
    rule.add_edge(minus, '1', '9', at);
    for (int i = 1; i < JsonRules::kIntegerDigitsMax; ++i) {
        rule.add_epsilon(at, end);
        const uint32_t next = rule.add_state();
        rule.add_edge(at, '0', '9', next);
        at = next;
    }
    rule.add_epsilon(at, end);
    return end;
}

Automaton number_rule() {
    Automaton rule;
    const uint32_t whole = add_digits(rule, true);
    rule.accept(whole);
    const uint32_t end = rule.add_state();
    uint32_t at = rule.add_letter(whole, '.');
    for (int i = 0; i < JsonRules::kFractionDigitsMax; ++i) {
        const uint32_t next = rule.add_state();
        rule.add_edge(at, '0', '9', next);
        rule.add_epsilon(next, end);
        at = next;
    }
    rule.accept(end);
    const uint32_t e = rule.add_state();
    for (const uint32_t from : {whole, end}) add_one_of(rule, from, "eE", e);
    const uint32_t sign = rule.add_state();
    rule.add_epsilon(e, sign);
    add_one_of(rule, e, "+-", sign);
    // At most two digits: within the double range whatever stands before.
    const uint32_t first = rule.add_state();
    const uint32_t second = rule.add_state();
    rule.add_edge(sign, '0', '9', first);
    rule.add_edge(first, '0', '9', second);
    rule.accept(first);
    rule.accept(second);
    return rule;
}

// Whether what was written so far is the beginning of a bound.
struct Tight {
    bool min, max;
};

// Writes numbers between two bounds, digit by digit.
class NumberWriter {
  public:
    NumberWriter(Automaton& rule, const NumberBound& min, const NumberBound& max)
        : rule_(rule), min_(min), max_(max) {}

    // Whole parts from min to max, both of this many digits; on_end(state, tight).
    template <typename OnEnd>
    void add_whole(uint32_t from, const std::string& min, const std::string& max,
                   const OnEnd& on_end) {
        std::array<uint32_t, 4> states = four_states();
        rule_.add_epsilon(from, states[3]);
        for (size_t i = 0; i < min.size(); ++i) states = add_digit(states, min[i], max[i]);
        for (uint32_t code = 0; code < 4; ++code) on_end(states[code], tight_of(code));
    }

    // After the whole part: the number may end, or a fraction follows.
    void add_fraction(uint32_t from, Tight tight, bool with_fractions) {
        if (may_end(0, tight)) rule_.accept(from);
        if (!with_fractions) return;
        std::array<uint32_t, 4> states = four_states();
        rule_.add_edge(from, '.', '.', states[code_of(tight)]);
        for (size_t i = 0; i < JsonRules::kFractionDigitsMax; ++i) {
            states = add_digit(states, digit(min_, i), digit(max_, i));
            for (uint32_t code = 0; code < 4; ++code)
                if (may_end(i + 1, tight_of(code))) rule_.accept(states[code]);
        }
    }

  private:
    static Tight tight_of(uint32_t code) { return {(code & 1) != 0, (code & 2) != 0}; }
    static uint32_t code_of(Tight tight) { return (tight.min ? 1u : 0u) | (tight.max ? 2u : 0u); }
    static char digit(const NumberBound& bound, size_t i) {
        return i < bound.fraction.size() ? bound.fraction[i] : '0';
    }
    static bool is_zero_from(const NumberBound& bound, size_t i) {
        return bound.fraction.find_first_not_of('0', i) == std::string::npos;
    }
    std::array<uint32_t, 4> four_states() {
        return {rule_.add_state(), rule_.add_state(), rule_.add_state(), rule_.add_state()};
    }

    std::array<uint32_t, 4> add_digit(const std::array<uint32_t, 4>& from, char min, char max) {
        const std::array<uint32_t, 4> to = four_states();
        for (uint32_t code = 0; code < 4; ++code) {
            const Tight tight = tight_of(code);
            const char low = tight.min ? min : '0';
            const char high = tight.max ? max : '9';
            for (char d = low; d <= high; ++d) {
                const Tight next{tight.min && d == min, tight.max && d == max};
                const auto letter = static_cast<uint8_t>(d);
                rule_.add_edge(from[code], letter, letter, to[code_of(next)]);
            }
        }
        return to;
    }

    // With this many digits of the fraction written.
    bool may_end(size_t digits, Tight tight) const {
        const bool is_min = tight.min && is_zero_from(min_, digits);
        const bool is_max = tight.max && is_zero_from(max_, digits);
        if (tight.min && !is_min) return false;
        return !(is_min && min_.is_exclusive) && !(is_max && max_.is_exclusive);
    }

    Automaton& rule_;
    const NumberBound& min_;
    const NumberBound& max_;
};

}  // namespace

void add_numbers_between(Automaton& rule, uint32_t from, const NumberBound& min,
                         const NumberBound& max, bool with_fractions) {
    NumberWriter writer(rule, min, max);
    int64_t shortest = 0;  // of this many digits
    for (int digits = 1; digits <= JsonRules::kIntegerDigitsMax; ++digits) {
        const int64_t longest = shortest == 0 ? 9 : shortest * 10 - 1;
        const int64_t low = std::max(min.whole, shortest);
        const int64_t high = std::min(max.whole, longest);
        if (low <= high)
            writer.add_whole(from, std::to_string(low), std::to_string(high),
                             [&](uint32_t state, Tight tight) {
                                 tight.min = tight.min && low == min.whole;
                                 tight.max = tight.max && high == max.whole;
                                 writer.add_fraction(state, tight, with_fractions);
                             });
        shortest = longest + 1;
    }
}

Result<JsonRules> JsonRules::make(RuleSet& rules, JsonLayout layout,
                                  std::vector<std::string_view> forbidden) {
    JsonRules json(rules, layout);
    json.text_ = TRY(intersection(utf8_text(), without_texts(forbidden)));
    TRY(json.add_rules());
    return json;
}

Result<void> JsonRules::add_rules() {
    string_ = TRY(rules_.add(TRY(quoted(any_bytes()))));
    Automaton integer;
    integer.accept(add_digits(integer, false));
    integer_ = TRY(rules_.add(integer));
    number_ = TRY(rules_.add(number_rule()));
    Automaton space;
    space.accept(0);
    space.accept(space.add_letter(0, ' '));
    uint32_t at = space.add_letter(0, '\n');
    for (int i = 0; i < kIndentMax; ++i) {
        space.accept(at);
        at = space.add_letter(at, ' ');
    }
    space.accept(at);
    space_ = TRY(rules_.add(space));
    any_ = rules_.reserve();
    array_ = TRY(rules_.add(array_rule()));
    object_ = TRY(rules_.add(object_rule()));
    Automaton any;
    any.accept(add_any(any, 0, kAllTypes));
    TRY(rules_.define(any_, any));
    return {};
}

Automaton JsonRules::array_rule() const {
    Automaton rule;
    const uint32_t open = rule.add_letter(0, '[');
    const uint32_t item = add_space(rule, open);
    const uint32_t after = rule.add_call(item, any_);
    rule.add_epsilon(add_comma(rule, after), item);
    const uint32_t end = rule.add_letter(add_space(rule, after), ']');
    rule.add_edge(open, ']', ']', end);
    rule.accept(end);
    return rule;
}

Automaton JsonRules::object_rule() const {
    Automaton rule;
    const uint32_t open = rule.add_letter(0, '{');
    const uint32_t key = add_space(rule, open);
    const uint32_t after = rule.add_call(add_colon(rule, rule.add_call(key, string_)), any_);
    rule.add_epsilon(add_comma(rule, after), key);
    const uint32_t end = rule.add_letter(add_space(rule, after), '}');
    rule.add_edge(open, '}', '}', end);
    rule.accept(end);
    return rule;
}

Result<Automaton> JsonRules::quoted(const Automaton& set) const {
    Automaton rule;
    const uint32_t begin = rule.add_letter(0, '"');
    const auto base = static_cast<uint32_t>(rule.states.size());
    rule.states.resize(base + set.states.size());
    const uint32_t end = rule.add_state();
    rule.accept(end);
    rule.add_epsilon(begin, base);
    for (uint32_t at = 0; at < set.states.size(); ++at) {
        for (const Automaton::Edge& edge : set.states[at].edges)
            add_value_bytes(rule, base + at, edge, base + edge.target);
        if (set.states[at].accepting) rule.add_edge(base + at, '"', '"', end);
    }
    if (set.is_any_bytes()) {
        const uint32_t backslash = rule.add_letter(base, '\\');
        add_one_of(rule, backslash, "/", base);
        add_unicode_escapes(rule, backslash, base);
    }
    return intersection(TRY(determinised(rule)), text_);
}

uint32_t JsonRules::add_any(Automaton& rule, uint32_t from, TypeSet types) const {
    const uint32_t to = rule.add_state();
    if (types & kNullType) rule.add_epsilon(rule.add_text(from, "null"), to);
    if (types & kBooleanType) {
        rule.add_epsilon(rule.add_text(from, "true"), to);
        rule.add_epsilon(rule.add_text(from, "false"), to);
    }
    const auto add_rule = [&](uint32_t called) {
        rule.add_epsilon(rule.add_call(from, called), to);
    };
    if (types & kFractionType)
        add_rule(number_);
    else if (types & kIntegerType)
        add_rule(integer_);
    if (types & kStringType) add_rule(string_);
    if (types & kArrayType) add_rule(array_);
    if (types & kObjectType) add_rule(object_);
    return to;
}

std::optional<uint32_t> JsonRules::add_value(Automaton& rule, uint32_t from,
                                             const Json& value) const {
    if (!value.is_structured()) {
        const std::string text = dump_json(value);
        if (!may_hold(text)) return std::nullopt;
        return rule.add_text(from, text);
    }
    const bool is_object = value.is_object();
    from = rule.add_letter(from, is_object ? '{' : '[');
    bool is_first = true;
    for (const auto& [key, member] : value.items()) {
        from = is_first ? add_space(rule, from) : add_comma(rule, from);
        is_first = false;
        if (is_object) {
            if (!may_hold(key)) return std::nullopt;
            from = add_colon(rule, rule.add_text(from, dump_json(Json(key))));
        }
        const std::optional<uint32_t> after = add_value(rule, from, member);
        if (!after) return std::nullopt;
        from = *after;
    }
    if (!is_first) from = add_space(rule, from);
    return rule.add_letter(from, is_object ? '}' : ']');
}

uint32_t JsonRules::add_space(Automaton& rule, uint32_t from) const {
    if (layout_ == JsonLayout::kIndented) return rule.add_call(from, space_);
    const uint32_t to = rule.add_state();
    rule.add_epsilon(from, to);
    return to;
}

uint32_t JsonRules::add_comma(Automaton& rule, uint32_t from) const {
    const uint32_t comma = rule.add_letter(from, ',');
    if (layout_ == JsonLayout::kIndented) return rule.add_call(comma, space_);
    const uint32_t blank = rule.add_letter(comma, ' ');
    rule.add_epsilon(comma, blank);
    return blank;
}

uint32_t JsonRules::add_colon(Automaton& rule, uint32_t from) const {
    const uint32_t colon = rule.add_letter(from, ':');
    const uint32_t blank = rule.add_letter(colon, ' ');
    rule.add_epsilon(colon, blank);
    return blank;
}

}  // namespace baleen
