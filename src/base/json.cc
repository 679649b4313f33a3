#include "base/json.h"

namespace baleen {
namespace {

// What the error messages show of a value that is not of the wanted type.
std::string shown(const Json& value) {
    std::string text = dump_json(value);
    if (text.size() > 60) text = text.substr(0, 57) + "...";
    return text;
}

// Finds where nesting exceeds the limit, outside strings. Returns npos if nowhere: done before
// parsing, so that a hostile text never builds a deep tree.
size_t first_too_deep(std::string_view text) {
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\')
                ++i;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > kJsonDepthMax) return i;
        } else if (c == '}' || c == ']') {
            --depth;
        }
    }
    return std::string_view::npos;
}

// What the library would take for nothing at all: a byte order mark, a zero byte at the end (and
// all that comes after it).
size_t first_ignored(std::string_view text) {
    return text.starts_with("\xEF\xBB\xBF") ? 0 : text.find('\0');
}

template <typename Tree>
Result<Tree> parse_tree(std::string_view text) {
    if (const size_t at = first_ignored(text); at != std::string_view::npos)
        return make_error(ErrorCode::kCorrupt, "bad JSON at byte {}", at + 1);
    if (const size_t at = first_too_deep(text); at != std::string_view::npos)
        return make_error(ErrorCode::kCorrupt, "JSON is nested deeper than {} levels at byte {}",
                          kJsonDepthMax, at);
    try {
        return Tree::parse(text.begin(), text.end());
    } catch (const nlohmann::json::parse_error& e) {
        return make_error(ErrorCode::kCorrupt, "bad JSON at byte {}", e.byte);
    } catch (const nlohmann::json::exception&) {
        return make_error(ErrorCode::kCorrupt, "bad JSON: a number is out of range");
    }
}

}  // namespace

Result<Json> parse_json(std::string_view text) {
    return parse_tree<Json>(text);
}
Result<SortedJson> parse_sorted_json(std::string_view text) {
    return parse_tree<SortedJson>(text);
}

std::string dump_json(const Json& json, int indent) {
    return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

Result<std::string> dump_canonical_json(const SortedJson& json) {
    try {
        return json.dump(-1, ' ', false, SortedJson::error_handler_t::strict);
    } catch (const nlohmann::json::exception&) {
        return make_error(ErrorCode::kInvalidArgument, "a string is not UTF-8");
    }
}

bool json_has(const Json& object, std::string_view key) {
    if (!object.is_object()) return false;
    const auto it = object.find(std::string(key));
    return it != object.end() && !it->is_null();
}

Result<int64_t> json_int(const Json& object, std::string_view key, IntRange range) {
    if (!json_has(object, key))
        return make_error(ErrorCode::kInvalidArgument,
                          "{} is missing, expected an integer {} to {}", key, range.min, range.max);
    const Json& value = object[std::string(key)];
    const bool fits = value.is_number_integer() &&
                      !(value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX) &&
                      value.get<int64_t>() >= range.min && value.get<int64_t>() <= range.max;
    if (!fits)
        return make_error(ErrorCode::kInvalidArgument, "{} is {}, expected an integer {} to {}",
                          key, shown(value), range.min, range.max);
    return value.get<int64_t>();
}

Result<double> json_number(const Json& object, std::string_view key) {
    if (!json_has(object, key))
        return make_error(ErrorCode::kInvalidArgument, "{} is missing, expected a number", key);
    const Json& value = object[std::string(key)];
    if (!value.is_number())
        return make_error(ErrorCode::kInvalidArgument, "{} is {}, expected a number", key,
                          shown(value));
    return value.get<double>();
}

Result<std::string> json_string(const Json& object, std::string_view key) {
    if (!json_has(object, key))
        return make_error(ErrorCode::kInvalidArgument, "{} is missing, expected a string", key);
    const Json& value = object[std::string(key)];
    if (!value.is_string())
        return make_error(ErrorCode::kInvalidArgument, "{} is {}, expected a string", key,
                          shown(value));
    return value.get<std::string>();
}

}  // namespace baleen
