// One file of a layer as plain facts: what tar, directories and our EROFS files all speak of.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace baleen::sandbox::image {

enum class EntryKind : uint8_t {
    kRegular,
    kDirectory,
    kSymlink,
    kHardLink,  // a further name of an earlier entry; never the kind of an inode
    kCharDevice,
    kBlockDevice,
    kFifo,
    kSocket,
};

std::string_view kind_name(EntryKind kind);

struct Xattr {
    std::string name;  // with its prefix: "user.comment"
    std::string value;
    bool operator==(const Xattr&) const = default;
};

struct Attributes {
    uint32_t mode = 0755;  // permission bits, setuid, setgid and sticky: 07777
    uint32_t uid = 0;
    uint32_t gid = 0;
    int64_t mtime_s = 0;  // since 1970
    uint32_t mtime_ns = 0;
    std::vector<Xattr> xattrs;  // sorted by name, no name twice
    bool operator==(const Attributes&) const = default;
};

struct Entry {
    std::string path;  // parts joined by single slashes, none "." or ".."; empty: the root
    EntryKind kind = EntryKind::kRegular;
    Attributes attributes;
    uint64_t size = 0;   // of a regular file
    std::string target;  // symlink: its text; hard link: the path of the earlier entry
    uint32_t device_major = 0;
    uint32_t device_minor = 0;
};

// The longest path and the longest part of one that a layer takes; the kernel's limits.
inline constexpr size_t kPathBytesMax = 4095;
inline constexpr size_t kNameBytesMax = 255;
inline constexpr uint32_t kDeviceMajorMax = 0xfff;
inline constexpr uint32_t kDeviceMinorMax = 0xfffff;

// The path of an entry as an archive wrote it: leading slashes and "." parts go, as every unpacker
// does it; a ".." part, a zero byte and what is too long are errors.
Result<std::string> normal_entry_path(std::string_view raw);

// The marks of overlayfs: a character device 0/0 hides the name below it, a directory with this
// attribute hides the directories below it.
inline constexpr std::string_view kOpaqueXattr = "trusted.overlay.opaque";
// On every directory of a layer that holds whiteouts, with an empty value ("origin unknown").
// Without it overlayfs lists the whiteouts of a directory that no layer below has (which is what
// happens when the base of a workspace is upgraded), although they cannot be opened.
inline constexpr std::string_view kOriginXattr = "trusted.overlay.origin";
bool is_whiteout(const Entry& entry);
bool is_opaque(const Attributes& attributes);
void set_opaque(Attributes& attributes);

// Takes away what speaks of other layers: the opaque mark and the one for whiteouts.
void remove_marks(Attributes& attributes);

// Sets name to value, keeping the order.
void set_xattr(std::vector<Xattr>& xattrs, std::string_view name, std::string value);

// True for the attributes that a layer keeps: user.* but user.overlay.*, file capabilities, POSIX
// ACLs and the opaque mark. Others describe the host they come from (labels, signatures, overlay's
// own bookkeeping).
bool is_kept_xattr(std::string_view name);

}  // namespace baleen::sandbox::image
