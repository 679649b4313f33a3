#include "sandbox/log/tree_manifest.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "base/sha256.h"

namespace baleen::sandbox {
namespace {

constexpr std::string_view kTypes = "fdlcbps";
constexpr uint32_t kModeMax = 07777;

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<uint8_t>(c);
        if (byte <= ' ' || byte >= 0x7F || c == '\\')
            out += "\\x" + hex(std::span(&byte, 1));
        else
            out += c;
    }
    return out;
}

// Undoes escaped(); nullopt for what it does not write.
std::optional<std::string> unescaped(std::string_view text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\') {
            out += text[i];
            continue;
        }
        uint8_t byte = 0;
        if (text.substr(i, 2) != "\\x" || !parse_hex(text.substr(i + 2, 2), std::span(&byte, 1)))
            return std::nullopt;
        out += static_cast<char>(byte);
        i += 3;
    }
    return escaped(out) == text ? std::optional(out) : std::nullopt;
}

bool is_path(std::string_view path) {
    if (path.empty() || path.find('\0') != std::string_view::npos) return false;
    while (true) {
        const size_t slash = path.find('/');
        const std::string_view part = path.substr(0, slash);
        if (part.empty() || part == "." || part == "..") return false;
        if (slash == std::string_view::npos) return true;
        path.remove_prefix(slash + 1);
    }
}

std::optional<uint32_t> parse_number(std::string_view text, int base) {
    uint32_t value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value, base);
    if (text.empty() || error != std::errc() || stop != end) return std::nullopt;
    return value;
}

bool is_device_number(std::string_view text) {
    const size_t colon = text.find(':');
    return colon != std::string_view::npos && parse_number(text.substr(0, colon), 10) &&
           parse_number(text.substr(colon + 1), 10);
}

bool is_content(const TreeEntry& entry) {
    switch (entry.type) {
        case 'f': return parse_sha256(entry.content).has_value();
        case 'l': return !entry.content.empty() && entry.content.find('\0') == std::string::npos;
        case 'c':
        case 'b': return is_device_number(entry.content);
        default: return entry.content == "-";
    }
}

std::string line_of(const TreeEntry& entry) {
    return fmt::format("{} {:04o} {} {} {} {}\n", entry.type, entry.mode, entry.uid, entry.gid,
                       entry.type == 'l' ? escaped(entry.content) : entry.content,
                       escaped(entry.path));
}

// One line without its end; nullopt if it has not six fields of the right kind.
std::optional<TreeEntry> parse_line(std::string_view line) {
    std::array<std::string_view, 6> fields;
    for (size_t i = 0; i < fields.size(); ++i) {
        const size_t space = line.find(' ');
        if ((space == std::string_view::npos) != (i + 1 == fields.size())) return std::nullopt;
        fields[i] = line.substr(0, space);
        line.remove_prefix(i + 1 == fields.size() ? 0 : space + 1);
    }
    const auto mode = parse_number(fields[1], 8);
    const auto uid = parse_number(fields[2], 10), gid = parse_number(fields[3], 10);
    const auto content = unescaped(fields[4]), path = unescaped(fields[5]);
    if (fields[0].size() != 1 || !mode || !uid || !gid || !content || !path) return std::nullopt;
    return TreeEntry{fields[0][0], *mode, *uid, *gid, *content, *path};
}

std::string difference(const TreeEntry& before, const TreeEntry& after) {
    std::string what;
    const auto add = [&](const char* name, bool differs) {
        if (differs) what += (what.empty() ? "" : ", ") + std::string(name);
    };
    add("type", before.type != after.type);
    add("mode", before.mode != after.mode);
    add("owner", before.uid != after.uid || before.gid != after.gid);
    add("content", before.content != after.content);
    return what;
}

}  // namespace

Result<std::string> write_manifest(std::vector<TreeEntry> entries) {
    std::ranges::sort(entries, {}, &TreeEntry::path);
    std::string text;
    for (size_t i = 0; i < entries.size(); ++i) {
        const TreeEntry& entry = entries[i];
        if (kTypes.find(entry.type) == std::string_view::npos || entry.mode > kModeMax ||
            !is_path(entry.path) || !is_content(entry))
            return make_error(ErrorCode::kInvalidArgument, "no entry of a manifest: {}",
                              line_of(entry));
        if (i > 0 && entries[i - 1].path == entry.path)
            return make_error(ErrorCode::kInvalidArgument, "twice in a manifest: {}",
                              escaped(entry.path));
        text += line_of(entry);
    }
    return text;
}

Result<std::vector<TreeEntry>> read_manifest(std::string_view text) {
    std::vector<TreeEntry> entries;
    for (std::string_view rest = text; !rest.empty();) {
        const size_t end = rest.find('\n');
        const auto entry = parse_line(rest.substr(0, end));
        if (end == std::string_view::npos || !entry)
            return make_error(ErrorCode::kCorrupt, "manifest: line {} is no entry",
                              entries.size() + 1);
        entries.push_back(*entry);
        rest.remove_prefix(end + 1);
    }
    const auto again = write_manifest(entries);
    if (!again) return make_error(ErrorCode::kCorrupt, "manifest: {}", again.error().message);
    if (*again != text)
        return make_error(ErrorCode::kCorrupt, "manifest: not sorted or not in its one spelling");
    return entries;
}

std::vector<PathDifference> compare_trees(const std::vector<TreeEntry>& before,
                                          const std::vector<TreeEntry>& after) {
    std::vector<PathDifference> differences;
    auto b = before.begin();
    auto a = after.begin();
    while (b != before.end() || a != after.end()) {
        if (a == after.end() || (b != before.end() && b->path < a->path)) {
            differences.push_back({escaped((b++)->path), "missing"});
        } else if (b == before.end() || a->path < b->path) {
            differences.push_back({escaped((a++)->path), "new"});
        } else {
            if (std::string what = difference(*b, *a); !what.empty())
                differences.push_back({escaped(a->path), std::move(what)});
            ++a;
            ++b;
        }
    }
    return differences;
}

}  // namespace baleen::sandbox
