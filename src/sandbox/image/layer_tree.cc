#include "sandbox/image/layer_tree.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace baleen::sandbox::image {
namespace {

std::string_view name_of(std::string_view path) {
    return path.substr(path.rfind('/') + 1);  // npos + 1 is 0
}

std::string_view parent_of(std::string_view path) {
    const size_t slash = path.rfind('/');
    return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

// What an inode, its name and its node in the map take beside their texts.
constexpr uint64_t kInodeBytes = 256;

uint64_t bytes_of(const Attributes& attributes) {
    uint64_t bytes = 0;
    for (const Xattr& xattr : attributes.xattrs)
        bytes += xattr.name.size() + xattr.value.size() + 64;
    return bytes;
}

}  // namespace

LayerTree::LayerTree(const LayerLimits& limits) : limits_(limits) {
    inodes_.push_back({.kind = EntryKind::kDirectory});
    directories_.push_back({.is_implicit = true});
}

Result<void> LayerTree::count(uint64_t bytes) {
    metadata_bytes_ += bytes;
    if (metadata_bytes_ > limits_.metadata_bytes_max)
        return make_error(ErrorCode::kExhausted, "the layer's metadata exceeds {} bytes",
                          limits_.metadata_bytes_max);
    return {};
}

Result<InodeIdx> LayerTree::new_inode(const Entry& entry, size_t name_bytes) {
    if (inodes_.size() >= limits_.entries_max)
        return make_error(ErrorCode::kExhausted, "the layer has more than {} entries",
                          limits_.entries_max);
    TRY(count(kInodeBytes + name_bytes + entry.target.size() + bytes_of(entry.attributes)));
    const auto idx = static_cast<InodeIdx>(inodes_.size());
    TreeInode inode{.kind = entry.kind,
                    .attributes = entry.attributes,
                    .target = entry.target,
                    .device_major = entry.device_major,
                    .device_minor = entry.device_minor};
    if (entry.kind == EntryKind::kDirectory) {
        inode.directory_idx = static_cast<uint32_t>(directories_.size());
        directories_.emplace_back();
    }
    inodes_.push_back(std::move(inode));
    return idx;
}

Result<InodeIdx> LayerTree::make_parents(std::string_view path) {
    InodeIdx at = kRoot;
    for (size_t begin = 0; begin < path.size();) {
        const size_t end = std::min(path.find('/', begin), path.size());
        const std::string_view name = path.substr(begin, end - begin);
        auto& children = directories_[inodes_[at].directory_idx].children;
        if (const auto found = children.find(name); found != children.end()) {
            at = found->second;
            if (inodes_[at].kind != EntryKind::kDirectory)
                return make_error(ErrorCode::kInvalidArgument, "its parent {} is a {}",
                                  path.substr(0, end), kind_name(inodes_[at].kind));
        } else {
            const InodeIdx parent = at;
            at = TRY(new_inode({.kind = EntryKind::kDirectory}, name.size()));
            directories_[inodes_[at].directory_idx].is_implicit = true;
            directories_[inodes_[parent].directory_idx].children.emplace(name, at);
        }
        begin = end + 1;
    }
    return at;
}

Result<InodeIdx> LayerTree::parent_for(const std::string& path) {
    if (path.empty())
        return make_error(ErrorCode::kInvalidArgument, "the root can only be a directory");
    return make_parents(parent_of(path));
}

Result<InodeIdx> LayerTree::put(const Entry& entry) {
    CHECK(entry.kind != EntryKind::kHardLink);
    if (entry.kind == EntryKind::kDirectory) {
        const std::optional<InodeIdx> old = find(entry.path);
        if (old && inodes_[*old].kind == EntryKind::kDirectory) {
            TRY(count(bytes_of(entry.attributes)));
            inodes_[*old].attributes = entry.attributes;
            directories_[inodes_[*old].directory_idx].is_implicit = false;
            return *old;
        }
    }
    const InodeIdx parent = TRY(parent_for(entry.path));
    const std::string_view name = name_of(entry.path);
    const InodeIdx idx = TRY(new_inode(entry, name.size()));
    directories_[inodes_[parent].directory_idx].children.insert_or_assign(std::string(name), idx);
    return idx;
}

Result<void> LayerTree::link(const std::string& path, const std::string& target) {
    const std::optional<InodeIdx> found = find(target);
    if (!found)
        return make_error(ErrorCode::kInvalidArgument,
                          "hard link to {}, which does not come before it", target);
    if (inodes_[*found].kind == EntryKind::kDirectory)
        return make_error(ErrorCode::kInvalidArgument, "hard link to the directory {}", target);
    const InodeIdx parent = TRY(parent_for(path));
    TRY(count(kInodeBytes + path.size()));
    auto& children = directories_[inodes_[parent].directory_idx].children;
    children.insert_or_assign(std::string(name_of(path)), *found);
    return {};
}

Result<void> LayerTree::hide_lower(const std::string& path) {
    const InodeIdx parent = TRY(parent_for(path));
    TRY(count(kInodeBytes + path.size()));
    directories_[inodes_[parent].directory_idx].whiteouts.emplace(name_of(path));
    return {};
}

Result<void> LayerTree::make_opaque(const std::string& path) {
    const InodeIdx idx = TRY(make_parents(path));
    directories_[inodes_[idx].directory_idx].whiteouts.emplace("");  // no name: all of them
    return {};
}

bool LayerTree::is_whiteout(InodeIdx idx) const {
    const TreeInode& inode = inodes_[idx];
    return inode.kind == EntryKind::kCharDevice && inode.device_major == 0 &&
           inode.device_minor == 0;
}

void LayerTree::resolve_whiteout(InodeIdx directory, const std::string& name) {
    if (name.empty()) return set_opaque(inodes_[directory].attributes);
    auto& children = directories_[inodes_[directory].directory_idx].children;
    const auto child = children.find(name);
    if (child == children.end()) {
        children.emplace(name, static_cast<InodeIdx>(inodes_.size()));
        inodes_.push_back({.kind = EntryKind::kCharDevice, .attributes = {.mode = 0}});
    } else if (inodes_[child->second].kind == EntryKind::kDirectory) {
        // Deleted below and made anew here: what the old one held must stay hidden.
        set_opaque(inodes_[child->second].attributes);
    }
}

void LayerTree::resolve_whiteouts() {
    for (InodeIdx idx = 0; idx < inodes_.size(); ++idx) {
        if (inodes_[idx].kind != EntryKind::kDirectory) continue;
        const uint32_t directory_idx = inodes_[idx].directory_idx;
        for (const std::string& name : std::exchange(directories_[directory_idx].whiteouts, {}))
            resolve_whiteout(idx, name);
        const auto& children = directories_[directory_idx].children;
        const bool has_whiteout =
            std::any_of(children.begin(), children.end(),
                        [&](const auto& child) { return is_whiteout(child.second); });
        if (has_whiteout) set_xattr(inodes_[idx].attributes.xattrs, kOriginXattr, "");
    }
}

std::optional<InodeIdx> LayerTree::find(std::string_view path) const {
    InodeIdx at = kRoot;
    for (size_t begin = 0; begin < path.size();) {
        const size_t end = std::min(path.find('/', begin), path.size());
        if (inodes_[at].kind != EntryKind::kDirectory) return std::nullopt;
        const auto& children = directory(inodes_[at]).children;
        const auto found = children.find(path.substr(begin, end - begin));
        if (found == children.end()) return std::nullopt;
        at = found->second;
        begin = end + 1;
    }
    return at;
}

}  // namespace baleen::sandbox::image
