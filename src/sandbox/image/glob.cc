#include "sandbox/image/glob.h"

#include <algorithm>

namespace baleen::sandbox::image {
namespace {

constexpr size_t kPatternBytesMax = 4096;

std::vector<std::string> parts_of(std::string_view text) {
    std::vector<std::string> parts;
    while (!text.empty()) {
        const size_t end = std::min(text.find('/'), text.size());
        if (end > 0) parts.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return parts;
}

// The bytes of a bracket at the start of pattern, or 0 if it is none: a lone "[" stands for itself.
size_t bracket_bytes(std::string_view pattern) {
    if (!pattern.starts_with('[')) return 0;
    const size_t first = pattern.size() > 1 && pattern[1] == '!' ? 2 : 1;
    const size_t end = pattern.find(']', first + 1);  // a "]" in front is a member
    return end == std::string_view::npos ? 0 : end + 1;
}

bool bracket_has(std::string_view bracket, char c) {
    bracket = bracket.substr(1, bracket.size() - 2);
    const bool is_negated = bracket[0] == '!';
    if (is_negated) bracket.remove_prefix(1);
    bool found = false;
    for (size_t i = 0; i < bracket.size(); ++i) {
        const bool is_range = i + 2 < bracket.size() && bracket[i + 1] == '-';
        const auto low = static_cast<unsigned char>(bracket[i]);
        const auto high = static_cast<unsigned char>(bracket[is_range ? i + 2 : i]);
        const auto byte = static_cast<unsigned char>(c);
        found = found || (byte >= low && byte <= high);
        if (is_range) i += 2;
    }
    return found != is_negated;
}

// One part against one name. After a mismatch only the last "*" needs another try.
bool part_matches(std::string_view pattern, std::string_view name) {
    size_t p = 0;
    size_t n = 0;
    size_t star = std::string_view::npos;
    size_t star_name = 0;
    while (n < name.size()) {
        const size_t bracket = p < pattern.size() ? bracket_bytes(pattern.substr(p)) : 0;
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            star_name = n;
        } else if (bracket > 0 && bracket_has(pattern.substr(p, bracket), name[n])) {
            p += bracket;
            ++n;
        } else if (bracket == 0 && p < pattern.size() &&
                   (pattern[p] == '?' || pattern[p] == name[n])) {
            ++p;
            ++n;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            n = ++star_name;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

}  // namespace

Result<Glob> Glob::parse(std::string_view pattern) {
    Glob glob;
    glob.text_ = pattern;
    glob.parts_ = parts_of(pattern);
    if (glob.parts_.empty() || pattern.size() > kPatternBytesMax)
        return make_error(ErrorCode::kInvalidArgument,
                          "pattern '{}' names nothing, or is longer than {} bytes",
                          pattern.substr(0, 80), kPatternBytesMax);
    return glob;
}

bool Glob::matches(std::string_view path) const {
    const std::vector<std::string> names = parts_of(path);
    // reached[n]: the parts so far match the first n names.
    std::vector<bool> reached(names.size() + 1);
    reached[0] = true;
    for (size_t p = 0; p < parts_.size(); ++p) {
        const std::string& part = parts_[p];
        const bool is_last = p + 1 == parts_.size();
        std::vector<bool> next(names.size() + 1);
        for (size_t n = 0; n <= names.size(); ++n) {
            if (part == "**" && is_last)
                next[n] = n > 0 && (reached[n - 1] || next[n - 1]);
            else if (part == "**")
                next[n] = reached[n] || (n > 0 && next[n - 1]);
            else
                next[n] = n > 0 && reached[n - 1] && part_matches(part, names[n - 1]);
        }
        reached = std::move(next);
    }
    return reached[names.size()];
}

}  // namespace baleen::sandbox::image
