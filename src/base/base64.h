// Base64 (RFC 4648, with padding) of bytes that may be no text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace baleen {

std::string base64(std::string_view bytes);

// What base64() made, and nothing else: no white space, full padding, unused bits zero.
std::optional<std::string> parse_base64(std::string_view text);

}  // namespace baleen
