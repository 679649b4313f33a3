#include "agent/world_path.h"

#include <algorithm>

namespace baleen::agent {

std::optional<std::string> normal_path(std::string_view path) {
    if (path.find('\0') != std::string_view::npos) return std::nullopt;
    if (path.ends_with('/') && path != "/") path.remove_suffix(1);
    if (path == ".") return std::string(path);
    for (std::string_view rest = path;;) {
        const size_t end = std::min(rest.find('/'), rest.size());
        const std::string_view part = rest.substr(0, end);
        if (part.empty() || part == "." || part == "..") return std::nullopt;
        if (end == rest.size()) return std::string(path);
        rest.remove_prefix(end + 1);
    }
}

}  // namespace baleen::agent
