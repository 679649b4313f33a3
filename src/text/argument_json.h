// The JSON of a call's arguments as both parsers write it: strings escaped as in
// spec/chat-encoding.md, section 10, other values as the model wrote them.
#pragma once

#include <string>
#include <string_view>

namespace baleen {

// Escapes the inside of a JSON string: `"`, `\` and characters below U+0020, nothing else.
void append_json_escaped(std::string_view text, std::string& out);

// text in quotes.
std::string json_quoted(std::string_view text);

// Without white space at both ends.
std::string_view trimmed(std::string_view text);

// True when value can stand as a member's value in an arguments object that parse_json accepts:
// one JSON value, not nested too deeply for that, no number beyond a double's range.
bool is_json_value(std::string_view value);

}  // namespace baleen
