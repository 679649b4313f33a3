// The target of a request line, cut and percent-decoded.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace baleen::net {

struct Target {
    std::string path;  // starts with '/'
    std::vector<std::pair<std::string, std::string>> query;
};

// "/path?query", or "http://host/path?query" as a proxy is asked; "*" (of OPTIONS) is "/". Nothing
// when it is none of these, an escape is malformed or stands for a zero byte, or there is a '#'.
std::optional<Target> parse_target(std::string_view text);

}  // namespace baleen::net
