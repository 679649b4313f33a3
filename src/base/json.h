// JSON at the borders. Wraps nlohmann's ordered_json (argument order matters to prompts) so that
// nothing throws: parse() and the typed getters return Result with the key named in the message.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace baleen {

using Json = nlohmann::ordered_json;

// Deepest nesting of arrays and objects that parse_json accepts.
inline constexpr int kJsonDepthMax = 128;

// Parses one complete JSON text (UTF-8, no byte order mark, nothing but white space after it).
// kCorrupt with the byte offset on bad input or nesting deeper than kJsonDepthMax. Duplicate keys:
// the last one wins.
Result<Json> parse_json(std::string_view text);

// A tree whose object look-up is logarithmic (Json's is linear, and building an object of n keys
// with it takes n^2 steps): for objects of many thousand keys, such as a tokenizer's vocabulary.
// Keys come sorted.
using SortedJson = nlohmann::json;
Result<SortedJson> parse_sorted_json(std::string_view text);

// Serialises without throwing; bytes that are not UTF-8 become U+FFFD. indent < 0: one line.
std::string dump_json(const Json& json, int indent = -1);

// The one spelling of a value, for digests: sorted keys, no white space. kInvalidArgument if a
// string is not UTF-8.
Result<std::string> dump_canonical_json(const SortedJson& json);

struct IntRange {
    int64_t min;
    int64_t max;
};

// Typed access to object[key]. kInvalidArgument names key, found value and what is allowed.
Result<int64_t> json_int(const Json& object, std::string_view key, IntRange range);
Result<double> json_number(const Json& object, std::string_view key);
Result<std::string> json_string(const Json& object, std::string_view key);

// True when object has the key with a value that is not null.
bool json_has(const Json& object, std::string_view key);

}  // namespace baleen
