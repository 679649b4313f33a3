#include "sandbox/image/entry.h"

#include <algorithm>

namespace baleen::sandbox::image {

std::string_view kind_name(EntryKind kind) {
    switch (kind) {
        case EntryKind::kRegular: return "file";
        case EntryKind::kDirectory: return "directory";
        case EntryKind::kSymlink: return "symlink";
        case EntryKind::kHardLink: return "hard link";
        case EntryKind::kCharDevice: return "character device";
        case EntryKind::kBlockDevice: return "block device";
        case EntryKind::kFifo: return "fifo";
        case EntryKind::kSocket: return "socket";
    }
    return "";
}

Result<std::string> normal_entry_path(std::string_view raw) {
    if (raw.find('\0') != std::string_view::npos)
        return make_error(ErrorCode::kCorrupt, "path with a zero byte");
    std::string path;
    while (!raw.empty()) {
        const size_t end = std::min(raw.find('/'), raw.size());
        const std::string_view part = raw.substr(0, end);
        raw.remove_prefix(std::min(end + 1, raw.size()));
        if (part.empty() || part == ".") continue;
        if (part == "..")
            return make_error(ErrorCode::kInvalidArgument, "path leaves the tree by a '..' part");
        if (part.size() > kNameBytesMax)
            return make_error(ErrorCode::kExhausted, "name of {} bytes, at most {} are allowed",
                              part.size(), kNameBytesMax);
        if (!path.empty()) path += '/';
        path += part;
    }
    if (path.size() > kPathBytesMax)
        return make_error(ErrorCode::kExhausted, "path of {} bytes, at most {} are allowed",
                          path.size(), kPathBytesMax);
    return path;
}

bool is_whiteout(const Entry& entry) {
    return entry.kind == EntryKind::kCharDevice && entry.device_major == 0 &&
           entry.device_minor == 0;
}

bool is_opaque(const Attributes& attributes) {
    return std::any_of(attributes.xattrs.begin(), attributes.xattrs.end(), [](const Xattr& xattr) {
        return xattr.name == kOpaqueXattr && xattr.value == "y";
    });
}

void set_opaque(Attributes& attributes) {
    set_xattr(attributes.xattrs, kOpaqueXattr, "y");
}

void remove_marks(Attributes& attributes) {
    std::erase_if(attributes.xattrs, [](const Xattr& xattr) {
        return xattr.name == kOpaqueXattr || xattr.name == kOriginXattr;
    });
}

void set_xattr(std::vector<Xattr>& xattrs, std::string_view name, std::string value) {
    const auto at =
        std::lower_bound(xattrs.begin(), xattrs.end(), name,
                         [](const Xattr& xattr, std::string_view n) { return xattr.name < n; });
    if (at != xattrs.end() && at->name == name)
        at->value = std::move(value);
    else
        xattrs.insert(at, Xattr{std::string(name), std::move(value)});
}

bool is_kept_xattr(std::string_view name) {
    const bool is_user = name.starts_with("user.") && name.size() > 5;
    return (is_user && !name.starts_with("user.overlay.")) || name == "security.capability" ||
           name == "system.posix_acl_access" || name == "system.posix_acl_default" ||
           name == kOpaqueXattr;
}

}  // namespace baleen::sandbox::image
