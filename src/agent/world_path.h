// Paths of the tool world: relative, parts joined by single slashes, "." the root. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace baleen::agent {

// The path without a slash at its end; none where it is refused: empty, absolute, or with a part
// that is empty, "." or ".." ("." alone is good), or a zero byte.
std::optional<std::string> normal_path(std::string_view path);

}  // namespace baleen::agent
