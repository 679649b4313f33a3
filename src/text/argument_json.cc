#include "text/argument_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/json.h"

namespace baleen {

void append_json_escaped(std::string_view text, std::string& out) {
    for (const char c : text) {
        switch (c) {
            case '"': out += "\\\""; break;
            case '\\': out += "\\\\"; break;
            case '\b': out += "\\b"; break;
            case '\f': out += "\\f"; break;
            case '\n': out += "\\n"; break;
            case '\r': out += "\\r"; break;
            case '\t': out += "\\t"; break;
            default:
                if (static_cast<unsigned char>(c) < 0x20)
                    fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
                else
                    out += c;
        }
    }
}

std::string json_quoted(std::string_view text) {
    std::string out = "\"";
    append_json_escaped(text, out);
    return out + '"';
}

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view kWhiteSpace = " \t\n\v\f\r";
    const size_t begin = text.find_first_not_of(kWhiteSpace);
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(kWhiteSpace) + 1 - begin);
}

bool is_json_value(std::string_view value) {
    // Sorted: a hostile object of many keys must not take quadratic time.
    if (!parse_sorted_json(value)) return false;
    const auto brackets =
        std::count_if(value.begin(), value.end(), [](char c) { return c == '{' || c == '['; });
    if (brackets < kJsonDepthMax) return true;
    return parse_sorted_json('[' + std::string(value) + ']').has_value();  // one level down
}

}  // namespace baleen
