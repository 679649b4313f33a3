#include "text/pattern.h"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "text/utf8.h"

namespace baleen {
namespace {

// The text is read between these two, so that anchors are letters like any other.
constexpr Letter kTextBegin = kFirstSymbol;
constexpr Letter kTextEnd = kFirstSymbol + 1;

constexpr char32_t kLastCode = 0x10FFFF;

struct Range {
    char32_t first, last;
};
using CharacterSet = std::vector<Range>;

CharacterSet tidied(CharacterSet set) {
    std::sort(set.begin(), set.end(), [](Range a, Range b) { return a.first < b.first; });
    CharacterSet result;
    for (const Range range : set) {
        if (!result.empty() && range.first <= result.back().last + 1)
            result.back().last = std::max(result.back().last, range.last);
        else
            result.push_back(range);
    }
    return result;
}

CharacterSet inverted(const CharacterSet& set) {
    CharacterSet result;
    char32_t next = 0;
    for (const Range range : tidied(set)) {
        if (range.first > next) result.push_back({next, range.first - 1});
        next = range.last + 1;
    }
    if (next <= kLastCode) result.push_back({next, kLastCode});
    return result;
}

const CharacterSet kDigits = {{'0', '9'}};
const CharacterSet kWordCharacters = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const CharacterSet kSpaces = {
    {'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
    {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
const CharacterSet kLineEnds = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

struct Node {
    enum class Kind { kSet, kLetter, kSequence, kChoice, kRepeat };
    Kind kind = Kind::kSequence;
    CharacterSet set;
    Letter letter = 0;
    int min = 0;
    int max = 0;  // -1: no limit
    std::vector<Node> parts;
};

class Parser {
  public:
    explicit Parser(std::string_view text) : rest_(text) {}

    Result<Node> parse() {
        Node node = TRY(choice(0));
        if (!rest_.empty()) return wrong("a \")\" without \"(\"");
        return node;
    }

  private:
    static Error wrong(const char* what) {
        return make_error(ErrorCode::kInvalidArgument, "{}", what);
    }
    static Error unsupported(const char* what) {
        return make_error(ErrorCode::kUnsupported, "{}", what);
    }
    bool take(char c) {
        if (!rest_.starts_with(c)) return false;
        rest_.remove_prefix(1);
        return true;
    }
    bool take(std::string_view text) {
        if (!rest_.starts_with(text)) return false;
        rest_.remove_prefix(text.size());
        return true;
    }
    char32_t take_character() {
        const Utf8Char c = decode_valid_utf8(rest_.data());
        rest_.remove_prefix(c.size);
        return c.code;
    }

    Result<Node> choice(int depth) {
        if (depth > kPatternDepthMax) return unsupported("too many groups in groups");
        Node node;
        node.kind = Node::Kind::kChoice;
        do node.parts.push_back(TRY(sequence(depth)));
        while (take('|'));
        return node;
    }

    Result<Node> sequence(int depth) {
        Node node;
        while (!rest_.empty() && rest_[0] != '|' && rest_[0] != ')') {
            Node part = TRY(atom(depth));
            const bool is_anchor = part.kind == Node::Kind::kLetter;
            std::optional<Node> repeat = TRY(quantifier());
            if (repeat && is_anchor) return wrong("a repeated anchor");
            // An anchor takes its letter: a second one would find none.
            const bool repeats_anchor = is_anchor && !node.parts.empty() &&
                                        node.parts.back().kind == Node::Kind::kLetter &&
                                        node.parts.back().letter == part.letter;
            if (repeats_anchor) continue;
            if (repeat) {
                repeat->parts.push_back(std::move(part));
                part = std::move(*repeat);
            }
            node.parts.push_back(std::move(part));
        }
        return node;
    }

    Result<Node> atom(int depth) {
        Node node;
        if (take('(')) {
            if (take("?:") || take_group_name()) {
            } else if (rest_.starts_with('?')) {
                return unsupported("look-around and flags");
            }
            node = TRY(choice(depth + 1));
            if (!take(')')) return wrong("a \"(\" without \")\"");
            return node;
        }
        if (take('^') || take('$')) {
            node.kind = Node::Kind::kLetter;
            node.letter = *(rest_.data() - 1) == '^' ? kTextBegin : kTextEnd;
            return node;
        }
        node.kind = Node::Kind::kSet;
        if (take('.'))
            node.set = inverted(kLineEnds);
        else if (take('['))
            node.set = TRY(character_class());
        else if (take('\\'))
            node.set = TRY(escape());
        else if (rest_[0] == '*' || rest_[0] == '+' || rest_[0] == '?')
            return wrong("a quantifier with nothing before it");
        else
            node.set = one(take_character());
        return node;
    }

    bool take_group_name() {
        if (!rest_.starts_with("?<") || rest_.size() < 3 || rest_[2] == '=' || rest_[2] == '!')
            return false;
        const size_t end = rest_.find('>');
        if (end == rest_.npos) return false;
        rest_.remove_prefix(end + 1);
        return true;
    }

    // A repeat without its part, or none.
    Result<std::optional<Node>> quantifier() {
        Node node;
        node.kind = Node::Kind::kRepeat;
        node.max = -1;
        if (take('*')) {
        } else if (take('+')) {
            node.min = 1;
        } else if (take('?')) {
            node.max = 1;
        } else if (rest_.starts_with('{') && rest_.size() > 1 && rest_[1] >= '0' &&
                   rest_[1] <= '9') {
            rest_.remove_prefix(1);
            node.min = TRY(number());
            node.max = node.min;
            if (take(',')) node.max = rest_.starts_with('}') ? -1 : TRY(number());
            if (!take('}')) return wrong("a \"{\" without \"}\"");
            if (node.max >= 0 && node.max < node.min) return wrong("{m,n} with n less than m");
        } else {
            return std::optional<Node>();
        }
        take('?');  // laziness changes which match is found, not whether there is one
        if (rest_.starts_with('*') || rest_.starts_with('+'))
            return wrong("two quantifiers in a row");
        return std::optional(std::move(node));
    }

    Result<int> number() {
        int value = 0;
        const size_t before = rest_.size();
        while (!rest_.empty() && rest_[0] >= '0' && rest_[0] <= '9') {
            value = value * 10 + (rest_[0] - '0');
            if (value > kPatternRepeatMax) return unsupported("{m,n} with a number that large");
            rest_.remove_prefix(1);
        }
        if (rest_.size() == before) return wrong("{m,n} without a number");
        return value;
    }

    static CharacterSet one(char32_t code) { return {{code, code}}; }

    Result<CharacterSet> character_class() {
        const bool is_inverted = take('^');
        CharacterSet set;
        while (!take(']')) {
            if (rest_.empty()) return wrong("a \"[\" without \"]\"");
            const CharacterSet low = TRY(class_atom());
            const bool is_range = rest_.size() > 1 && rest_[0] == '-' && rest_[1] != ']';
            if (!is_range) {
                set.insert(set.end(), low.begin(), low.end());
                continue;
            }
            rest_.remove_prefix(1);
            const CharacterSet high = TRY(class_atom());
            const bool are_characters = low.size() == 1 && low[0].first == low[0].last &&
                                        high.size() == 1 && high[0].first == high[0].last;
            if (!are_characters || low[0].first > high[0].first)
                return wrong("a range in [] that is none");
            set.push_back({low[0].first, high[0].first});
        }
        return is_inverted ? inverted(set) : tidied(set);
    }

    Result<CharacterSet> class_atom() {
        if (rest_.empty()) return wrong("a \"[\" without \"]\"");
        if (take("\\b")) return one('\b');
        if (take('\\')) return escape();
        return one(take_character());
    }

    Result<char32_t> hex(size_t digits) {
        char32_t code = 0;
        for (; digits > 0; --digits) {
            constexpr std::string_view kHex = "0123456789abcdef";
            const size_t digit =
                rest_.empty() ? kHex.npos : kHex.find(static_cast<char>(rest_[0] | 0x20));
            const bool is_digit = !rest_.empty() && (rest_[0] >= '0' && rest_[0] <= '9');
            if (!is_digit && (digit == kHex.npos || digit < 10)) return wrong("a bad escape");
            code = code * 16 + static_cast<char32_t>(is_digit ? rest_[0] - '0' : digit);
            rest_.remove_prefix(1);
        }
        return code;
    }

    Result<CharacterSet> unicode_escape() {
        if (take('{')) {
            const size_t digits = rest_.find('}');
            if (digits == rest_.npos || digits == 0 || digits > 6) return wrong("a bad escape");
            const char32_t code = TRY(hex(digits));
            rest_.remove_prefix(1);
            if (code > kLastCode) return wrong("a bad escape");
            return one(code);
        }
        const char32_t high = TRY(hex(4));
        const bool is_pair = high >= 0xD800 && high < 0xDC00 && take("\\u");
        if (!is_pair) return one(high);
        const char32_t low = TRY(hex(4));
        if (low < 0xDC00 || low >= 0xE000) return wrong("a bad escape");
        return one(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00));
    }

    // After the backslash.
    Result<CharacterSet> escape() {
        if (rest_.empty()) return wrong("a backslash at the end");
        const char32_t c = take_character();
        switch (c) {
            case 'd': return kDigits;
            case 'D': return inverted(kDigits);
            case 'w': return kWordCharacters;
            case 'W': return inverted(kWordCharacters);
            case 's': return kSpaces;
            case 'S': return inverted(kSpaces);
            case 't': return one('\t');
            case 'n': return one('\n');
            case 'v': return one('\v');
            case 'f': return one('\f');
            case 'r': return one('\r');
            case '0': return one(0);
            case 'x': return one(TRY(hex(2)));
            case 'u': return unicode_escape();
            default: break;
        }
        const bool is_letter = c < 0x80 && ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (is_letter || (c >= '1' && c <= '9'))
            return unsupported("word boundaries, back references and Unicode classes");
        return one(c);
    }

    std::string_view rest_;
};

// Adds the UTF-8 forms of characters of one length, from the i-th byte on.
void add_forms(Automaton& automaton, uint32_t from, uint32_t to, std::string_view first,
               std::string_view last) {
    const auto low = static_cast<uint8_t>(first[0]);
    const auto high = static_cast<uint8_t>(last[0]);
    if (first.size() == 1) {
        automaton.add_edge(from, low, high, to);
        return;
    }
    const std::string least(first.size() - 1, '\x80');
    const std::string most(first.size() - 1, '\xBF');
    const auto add = [&](uint8_t byte_first, uint8_t byte_last, std::string_view rest_first,
                         std::string_view rest_last) {
        const uint32_t next = automaton.add_state();
        automaton.add_edge(from, byte_first, byte_last, next);
        add_forms(automaton, next, to, rest_first, rest_last);
    };
    if (low == high) return add(low, low, first.substr(1), last.substr(1));
    add(low, low, first.substr(1), most);
    if (low + 1 < high)
        add(static_cast<uint8_t>(low + 1), static_cast<uint8_t>(high - 1), least, most);
    add(high, high, least, last.substr(1));
}

void add_characters(Automaton& automaton, uint32_t from, uint32_t to, const CharacterSet& set) {
    // By length of the UTF-8 form; surrogates have none.
    constexpr std::array<Range, 5> kLengths = {
        {{0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, kLastCode}}};
    for (const Range range : set)
        for (const Range length : kLengths) {
            const Range part{std::max(range.first, length.first),
                             std::min(range.last, length.last)};
            if (part.first > part.last) continue;
            std::string first, last;
            append_utf8(part.first, first);
            append_utf8(part.last, last);
            add_forms(automaton, from, to, first, last);
        }
}

class Writer {
  public:
    Result<Automaton> write(const Node& node) {
        const uint32_t before = automaton_.add_state();
        automaton_.add_epsilon(0, before);
        add_anything(before, kTextBegin);
        const uint32_t after = TRY(add(node, before));
        const uint32_t end = automaton_.add_state();
        automaton_.add_epsilon(after, end);
        add_anything(end, kTextEnd);
        automaton_.accept(end);
        return determinised(automaton_);
    }

  private:
    void add_anything(uint32_t state, Letter also) {
        automaton_.add_edge(state, 0, kLastByte, state);
        automaton_.add_edge(state, also, also, state);
    }

    Result<uint32_t> add(const Node& node, uint32_t from) {
        if (automaton_.states.size() > kAutomatonStatesMax)
            return make_error(ErrorCode::kExhausted, "too large");
        const uint32_t to = automaton_.add_state();
        switch (node.kind) {
            case Node::Kind::kSet: add_characters(automaton_, from, to, node.set); return to;
            case Node::Kind::kLetter:
                automaton_.add_edge(from, node.letter, node.letter, to);
                return to;
            case Node::Kind::kSequence:
                for (const Node& part : node.parts) from = TRY(add(part, from));
                automaton_.add_epsilon(from, to);
                return to;
            case Node::Kind::kChoice:
                for (const Node& part : node.parts)
                    automaton_.add_epsilon(TRY(add(part, from)), to);
                return to;
            case Node::Kind::kRepeat: break;
        }
        return add_repeat(node, from);
    }

    Result<uint32_t> add_repeat(const Node& node, uint32_t from) {
        for (int i = 0; i < node.min; ++i) from = TRY(add(node.parts[0], from));
        const uint32_t to = automaton_.add_state();
        if (node.max < 0) {
            automaton_.add_epsilon(from, to);
            automaton_.add_epsilon(TRY(add(node.parts[0], to)), to);
            return to;
        }
        for (int i = node.min; i < node.max; ++i) {
            automaton_.add_epsilon(from, to);
            from = TRY(add(node.parts[0], from));
        }
        automaton_.add_epsilon(from, to);
        return to;
    }

    Automaton automaton_;
};

// The same without the letters around the text.
Result<Automaton> without_ends(const Automaton& automaton) {
    const auto target = [&automaton](uint32_t state, Letter letter) -> std::optional<uint32_t> {
        for (const Automaton::Edge& edge : automaton.states[state].edges)
            if (edge.first <= letter && letter <= edge.last) return edge.target;
        return std::nullopt;
    };
    const std::optional<uint32_t> begin = target(0, kTextBegin);
    Automaton result;
    if (!begin) return result;
    const auto base = static_cast<uint32_t>(result.states.size());
    result.states.resize(base + automaton.states.size());
    result.add_epsilon(0, base + *begin);
    for (uint32_t at = 0; at < automaton.states.size(); ++at) {
        for (const Automaton::Edge& edge : automaton.states[at].edges)
            if (edge.last <= kLastByte)
                result.add_edge(base + at, edge.first, edge.last, base + edge.target);
        const std::optional<uint32_t> end = target(at, kTextEnd);
        if (end && automaton.states[*end].accepting) result.accept(base + at);
    }
    return determinised(result);
}

}  // namespace

Result<Automaton> pattern_automaton(std::string_view pattern) {
    if (pattern.size() > kPatternBytesMax)
        return make_error(ErrorCode::kExhausted, "has {} bytes, at most {}", pattern.size(),
                          kPatternBytesMax);
    if (first_invalid_utf8(pattern) != pattern.npos)
        return make_error(ErrorCode::kInvalidArgument, "is not UTF-8");
    const Node node = TRY(Parser(pattern).parse());
    return without_ends(TRY(Writer().write(node)));
}

}  // namespace baleen
