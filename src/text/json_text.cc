#include "text/json_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/json.h"
#include "text/utf8.h"

namespace baleen {
namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool is_high_surrogate(char32_t code) {
    return code >= 0xD800 && code < 0xDC00;
}

bool is_low_surrogate(char32_t code) {
    return code >= 0xDC00 && code < 0xE000;
}

// Whether a decimal number that is not zero is at least 1: what tells overflow from underflow.
// number: digits [. digits] [e exponent], no sign.
bool is_at_least_one(std::string_view number) {
    const size_t e = std::min(number.find_first_of("eE"), number.size());
    const std::string_view mantissa = number.substr(0, e);
    const size_t point = std::min(mantissa.find('.'), mantissa.size());
    const size_t first = mantissa.find_first_of("123456789");
    // The first digit stands for 10^magnitude.
    const auto magnitude =
        static_cast<int64_t>(point) - static_cast<int64_t>(first) - (first < point ? 1 : 0);
    int64_t exponent = 0;
    std::string_view digits = number.substr(std::min(e + 1, number.size()));
    const bool is_negative = !digits.empty() && digits[0] == '-';
    if (!digits.empty() && !is_digit(digits[0])) digits.remove_prefix(1);
    // Saturates far beyond the length of any text.
    for (const char c : digits)
        exponent = std::min<int64_t>(exponent * 10 + (c - '0'), int64_t{1} << 50);
    return magnitude + (is_negative ? -exponent : exponent) >= 0;
}

// The double nearest to a JSON number; no value beyond the double range.
std::optional<double> double_value(std::string_view number) {
    double value = 0;
    const char* end = number.data() + number.size();
    const auto [at, status] = std::from_chars(number.data(), end, value);
    if (status == std::errc::result_out_of_range || std::isinf(value)) {
        const bool is_negative = number[0] == '-';
        if (is_at_least_one(number.substr(is_negative ? 1 : 0))) return std::nullopt;
        return is_negative ? -0.0 : 0.0;
    }
    CHECK(status == std::errc());
    CHECK(at == end);
    return value;
}

// A key given twice keeps its first place and takes its last value.
void merge_repeated_keys(std::vector<JsonMember>& members) {
    std::vector<size_t> order(members.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return members[a].key < members[b].key; });
    std::vector<bool> is_repeat(members.size());
    for (size_t begin = 0, end = 0; begin < order.size(); begin = end) {
        end = begin + 1;
        while (end < order.size() && members[order[end]].key == members[order[begin]].key)
            is_repeat[order[end++]] = true;
        if (end - begin > 1) members[order[begin]].value = std::move(members[order[end - 1]].value);
    }
    size_t num_kept = 0;
    for (size_t i = 0; i < members.size(); ++i) {
        if (is_repeat[i]) continue;
        if (num_kept != i) members[num_kept] = std::move(members[i]);
        ++num_kept;
    }
    members.resize(num_kept);
}

}  // namespace

class JsonText::Parser {
  public:
    explicit Parser(std::string_view text) : text_(text) {}

    Result<JsonText> document() {
        if (const size_t at = first_invalid_utf8(text_); at != std::string_view::npos)
            return make_error(ErrorCode::kCorrupt, "bad JSON at byte {}: not UTF-8", at);
        JsonText value = TRY(parse_value());
        skip_space();
        if (at_ != text_.size()) return bad("text after the value");
        return value;
    }

  private:
    Error bad(std::string_view what) const {
        return make_error(ErrorCode::kCorrupt, "bad JSON at byte {}: {}", at_, what);
    }
    Error refused(std::string_view what) const {
        return make_error(ErrorCode::kInvalidArgument, "JSON at byte {}: {}", at_, what);
    }

    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    void skip_space() { at_ = std::min(text_.find_first_not_of(" \t\n\r", at_), text_.size()); }

    bool take(std::string_view word) {
        if (!text_.substr(at_).starts_with(word)) return false;
        at_ += word.size();
        return true;
    }

    Result<JsonText> parse_value() {
        skip_space();
        JsonText value;
        switch (peek()) {
            case '"': value.value_ = TRY(parse_string()); return value;
            case '[': value.value_ = TRY(nested(&Parser::parse_items)); return value;
            case '{': value.value_ = TRY(nested(&Parser::parse_members)); return value;
            default: break;
        }
        if (take("null")) return value;
        if (take("true"))
            value.value_ = true;
        else if (take("false"))
            value.value_ = false;
        else
            return parse_number();
        return value;
    }

    template <typename List>
    Result<List> nested(Result<List> (Parser::*parse)()) {
        if (++depth_ > kJsonDepthMax)
            return refused(fmt::format("nested deeper than {} levels", kJsonDepthMax));
        ++at_;
        List list = TRY((this->*parse)());
        --depth_;
        return list;
    }

    Result<std::vector<JsonText>> parse_items() {
        std::vector<JsonText> items;
        skip_space();
        if (take("]")) return items;
        while (true) {
            items.push_back(TRY(parse_value()));
            skip_space();
            if (take("]")) return items;
            if (!take(",")) return bad("expected , or ]");
        }
    }

    Result<std::vector<JsonMember>> parse_members() {
        std::vector<JsonMember> members;
        skip_space();
        if (take("}")) return members;
        while (true) {
            skip_space();
            if (peek() != '"') return bad("expected a key");
            std::string key = TRY(parse_string());
            skip_space();
            if (!take(":")) return bad("expected :");
            JsonText value = TRY(parse_value());
            members.push_back({std::move(key), std::move(value)});
            skip_space();
            if (take("}")) break;
            if (!take(",")) return bad("expected , or }");
        }
        merge_repeated_keys(members);
        return members;
    }

    // From the opening quote.
    Result<std::string> parse_string() {
        ++at_;
        std::string out;
        while (true) {
            const size_t begin = at_;
            while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
                   static_cast<uint8_t>(text_[at_]) >= 0x20)
                ++at_;
            out.append(text_, begin, at_ - begin);
            if (take("\"")) return out;
            if (at_ == text_.size()) return bad("unclosed string");
            if (text_[at_] != '\\') return bad("control character in a string");
            TRY(parse_escape(out));
        }
    }

    Result<void> parse_escape(std::string& out) {
        static constexpr std::string_view kNames = "\"\\/bfnrt";
        static constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
        const char name = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
        if (const size_t i = kNames.find(name); i != std::string_view::npos) {
            out.push_back(kValues[i]);
            at_ += 2;
            return {};
        }
        const std::optional<char32_t> unit = unit_at(at_);
        if (!unit) return bad("bad escape");
        char32_t code = *unit;
        size_t size = 6;
        if (is_high_surrogate(code)) {
            const std::optional<char32_t> low = unit_at(at_ + size);
            if (!low || !is_low_surrogate(*low)) return refused("lone surrogate");
            code = 0x10000 + ((code - 0xD800) << 10) + (*low - 0xDC00);
            size *= 2;
        } else if (is_low_surrogate(code)) {
            return refused("lone surrogate");
        }
        append_utf8(code, out);
        at_ += size;
        return {};
    }

    // The UTF-16 unit of the escape \uXXXX that starts at `at`.
    std::optional<char32_t> unit_at(size_t at) const {
        if (at >= text_.size() || !text_.substr(at).starts_with("\\u")) return std::nullopt;
        const std::string_view hex = text_.substr(at + 2, 4);
        uint32_t unit = 0;
        const char* end = hex.data() + hex.size();
        if (hex.size() != 4 || hex[0] == '-') return std::nullopt;
        const auto [stop, status] = std::from_chars(hex.data(), end, unit, 16);
        if (status != std::errc() || stop != end) return std::nullopt;
        return static_cast<char32_t>(unit);
    }

    Result<JsonText> parse_number() {
        for (const std::string_view word : {"NaN", "Infinity", "-Infinity"})
            if (text_.substr(at_).starts_with(word))
                return refused(fmt::format("{} is not a JSON number", word));
        const size_t begin = at_;
        take("-");
        if (!is_digit(peek())) {
            at_ = begin;
            return bad("expected a value");
        }
        if (!take("0")) skip_digits();
        bool is_double = false;
        if (peek() == '.' && is_digit_at(at_ + 1)) {
            ++at_;
            skip_digits();
            is_double = true;
        }
        if (peek() == 'e' || peek() == 'E') {
            const bool has_sign =
                at_ + 1 < text_.size() && (text_[at_ + 1] == '+' || text_[at_ + 1] == '-');
            const size_t digits = at_ + (has_sign ? 2 : 1);
            if (is_digit_at(digits)) {
                at_ = digits;
                skip_digits();
                is_double = true;
            }
        }
        const std::string_view number = text_.substr(begin, at_ - begin);
        JsonText value;
        if (!is_double) {
            value.value_ = Integer{std::string(number == "-0" ? "0" : number)};
            return value;
        }
        const std::optional<double> nearest = double_value(number);
        if (!nearest) {
            at_ = begin;
            return refused("number beyond the double range");
        }
        value.value_ = Double{python_double(*nearest)};
        return value;
    }

    bool is_digit_at(size_t at) const { return at < text_.size() && is_digit(text_[at]); }
    void skip_digits() {
        while (is_digit_at(at_)) ++at_;
    }

    std::string_view text_;
    size_t at_ = 0;
    int depth_ = 0;
};

Result<JsonText> JsonText::parse(std::string_view text) {
    return Parser(text).document();
}

JsonText JsonText::of_string(std::string text) {
    JsonText value;
    value.value_ = std::move(text);
    return value;
}

bool JsonText::boolean() const {
    CHECK(kind() == Kind::kBool);
    return std::get<bool>(value_);
}

const std::string& JsonText::string() const {
    CHECK(kind() == Kind::kString);
    return std::get<std::string>(value_);
}

const std::string& JsonText::number() const {
    CHECK(kind() == Kind::kInteger || kind() == Kind::kDouble);
    return kind() == Kind::kInteger ? std::get<Integer>(value_).digits
                                    : std::get<Double>(value_).text;
}

std::optional<int64_t> JsonText::integer() const {
    if (kind() != Kind::kInteger) return std::nullopt;
    const std::string& digits = number();
    int64_t value = 0;
    const char* end = digits.data() + digits.size();
    const auto [at, status] = std::from_chars(digits.data(), end, value);
    return status == std::errc() && at == end ? std::optional(value) : std::nullopt;
}

bool JsonText::truthy() const {
    switch (kind()) {
        case Kind::kNull: return false;
        case Kind::kBool: return boolean();
        case Kind::kInteger: return number() != "0";
        case Kind::kDouble: return number() != "0.0" && number() != "-0.0";
        case Kind::kString: return !string().empty();
        case Kind::kArray:
        case Kind::kObject: return size() != 0;
    }
    return false;
}

std::span<const JsonText> JsonText::items() const {
    if (!is_array()) return {};
    return std::get<std::vector<JsonText>>(value_);
}

std::span<const JsonMember> JsonText::members() const {
    if (!is_object()) return {};
    return std::get<std::vector<JsonMember>>(value_);
}

const JsonText& JsonText::at(size_t i) const {
    CHECK(is_array());
    CHECK_LT(i, items().size());
    return items()[i];
}

const JsonText* JsonText::find(std::string_view key) const {
    for (const JsonMember& member : members())
        if (member.key == key) return &member.value;
    return nullptr;
}

const JsonText* JsonText::find_set(std::string_view key) const {
    const JsonText* value = find(key);
    return value != nullptr && value->is_null() ? nullptr : value;
}

void JsonText::set(std::string_view key, JsonText value) {
    CHECK(is_object());
    auto& members = std::get<std::vector<JsonMember>>(value_);
    for (JsonMember& member : members) {
        if (member.key != key) continue;
        member.value = std::move(value);
        return;
    }
    members.push_back({std::string(key), std::move(value)});
}

void JsonText::erase(std::string_view key) {
    CHECK(is_object());
    std::erase_if(std::get<std::vector<JsonMember>>(value_),
                  [&](const JsonMember& member) { return member.key == key; });
}

std::string JsonText::dump_python() const {
    std::string out;
    append_python(out);
    return out;
}

void JsonText::append_python(std::string& out) const {
    switch (kind()) {
        case Kind::kNull: out += "null"; return;
        case Kind::kBool: out += boolean() ? "true" : "false"; return;
        case Kind::kInteger:
        case Kind::kDouble: out += number(); return;
        case Kind::kString: append_python_string(string(), out); return;
        case Kind::kArray: {
            std::string_view before = "[";
            for (const JsonText& item : items()) {
                out += before;
                item.append_python(out);
                before = ", ";
            }
            out += items().empty() ? "[]" : "]";
            return;
        }
        case Kind::kObject: {
            std::string_view before = "{";
            for (const JsonMember& member : members()) {
                out += before;
                append_python_string(member.key, out);
                out += ": ";
                member.value.append_python(out);
                before = ", ";
            }
            out += members().empty() ? "{}" : "}";
            return;
        }
    }
}

std::string_view kind_name(JsonText::Kind kind) {
    switch (kind) {
        case JsonText::Kind::kNull: return "null";
        case JsonText::Kind::kBool: return "a boolean";
        case JsonText::Kind::kInteger: return "an integer";
        case JsonText::Kind::kDouble: return "a number";
        case JsonText::Kind::kString: return "a string";
        case JsonText::Kind::kArray: return "a list";
        case JsonText::Kind::kObject: return "an object";
    }
    return "";
}

void append_python_string(std::string_view text, std::string& out) {
    static constexpr std::string_view kNames = "\"\\bfnrt";
    static constexpr std::string_view kValues = "\"\\\b\f\n\r\t";
    out.push_back('"');
    for (const char c : text) {
        if (const size_t i = kValues.find(c); i != std::string_view::npos) {
            out.push_back('\\');
            out.push_back(kNames[i]);
        } else if (static_cast<uint8_t>(c) < 0x20) {
            out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        } else {
            out.push_back(c);
        }
    }
    out.push_back('"');
}

std::string python_double(double value) {
    CHECK(std::isfinite(value));
    char buffer[32];
    const auto [end, status] =
        std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
    CHECK(status == std::errc());
    // [-]d[.ddd]e±xx, the fewest digits that read back as value.
    const std::string_view shortest(buffer, static_cast<size_t>(end - buffer));
    const size_t e = shortest.find('e');
    const bool is_negative = shortest[0] == '-';
    std::string digits(shortest.substr(is_negative ? 1 : 0, e - (is_negative ? 1 : 0)));
    std::erase(digits, '.');
    int exponent = 0;
    std::from_chars(shortest.data() + e + (shortest[e + 1] == '+' ? 2 : 1), end, exponent);

    std::string out = is_negative ? "-" : "";
    if (exponent < -4 || exponent > 15) {
        if (digits.size() > 1) digits.insert(1, 1, '.');
        return out + digits + fmt::format("e{:+03}", exponent);
    }
    if (exponent < 0) {
        digits.insert(0, static_cast<size_t>(-exponent), '0');
        exponent = 0;
    }
    const size_t whole = static_cast<size_t>(exponent) + 1;
    if (digits.size() <= whole) digits.append(whole + 1 - digits.size(), '0');
    digits.insert(whole, 1, '.');
    return out + digits;
}

}  // namespace baleen
