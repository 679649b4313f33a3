// A tree of files as text, so that two can be compared by digest and, where they differ, by path
// (replay level 2). One line per entry, sorted by path:
//   TYPE MODE UID GID CONTENT PATH
//   TYPE     f file, d folder, l link, c and b devices, p pipe, s socket
//   MODE     permission bits in octal, four digits
//   CONTENT  f: SHA-256; l: target; c, b: MAJOR:MINOR; else -
// In targets and paths, bytes up to space, from 0x7F on, and the backslash are written \xHH.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace baleen::sandbox {

struct TreeEntry {
    char type = 'f';
    uint32_t mode = 0644;
    uint32_t uid = 0, gid = 0;
    std::string content;  // as in the manifest, a link's target without escapes
    std::string path;     // relative, without ".", ".." and empty parts
    bool operator==(const TreeEntry&) const = default;
};

// kInvalidArgument: an entry that has no place in a manifest, or a path twice.
Result<std::string> write_manifest(std::vector<TreeEntry> entries);
// kCorrupt: not what write_manifest writes.
Result<std::vector<TreeEntry>> read_manifest(std::string_view text);

struct PathDifference {
    std::string path;  // with escapes
    std::string what;  // "missing", "new", or which of type, mode, owner, content differ
    bool operator==(const PathDifference&) const = default;
};

// What is different in `after`, in order of path.
std::vector<PathDifference> compare_trees(const std::vector<TreeEntry>& before,
                                          const std::vector<TreeEntry>& after);

}  // namespace baleen::sandbox
