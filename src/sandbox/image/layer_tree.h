// The tree of one layer in memory, built entry by entry in the order of the input. Nothing here
// touches a file system, so a hostile archive can at most be refused. Owned by one thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/image/entry.h"

namespace baleen::sandbox::image {

struct LayerLimits {
    uint64_t entries_max = uint64_t{1} << 22;
    uint64_t metadata_bytes_max = uint64_t{1} << 30;  // names, targets and attributes together
    uint64_t file_bytes_max = uint64_t{1} << 38;      // content of all files, holes included
};

using InodeIdx = uint32_t;

// What stands for a 1 MiB chunk of zeros that takes no space.
inline constexpr uint32_t kHoleBlock = 0xffffffff;

struct TreeInode {
    EntryKind kind = EntryKind::kRegular;
    Attributes attributes;
    uint64_t size = 0;         // of a regular file
    uint64_t first_chunk = 0;  // its chunks in LayerTree::chunks, in order
    uint32_t num_chunks = 0;
    std::string target;  // of a symlink
    uint32_t device_major = 0;
    uint32_t device_minor = 0;
    uint32_t directory_idx = 0;  // of a directory: its place in LayerTree::directories
};

struct TreeDirectory {
    std::map<std::string, InodeIdx, std::less<>> children;  // in the byte order that EROFS wants
    std::set<std::string, std::less<>> whiteouts;  // names that lower layers may have, hidden
    bool is_implicit = false;  // no entry of its own: it exists because something lies in it
};

class LayerTree {
  public:
    explicit LayerTree(const LayerLimits& limits = {});

    // Adds an entry that is no hard link, replacing what had its path; a directory over a directory
    // keeps the children. Missing parents come into being. A parent that is no directory is an
    // error, symlinks included: following them would make the tree depend on the layers below.
    Result<InodeIdx> put(const Entry& entry);

    // A further name of what is at `target`, which is there and no directory.
    Result<void> link(const std::string& path, const std::string& target);

    // OCI's `.wh.NAME` and `.wh..wh..opq`. They speak of lower layers only, whatever the order.
    Result<void> hide_lower(const std::string& path);
    Result<void> make_opaque(const std::string& path);

    // Attributes for directories without an entry of their own; `find` gives those that the layers
    // below have at a path. Without it they stay 0755, root, 1970, and so does the root.
    template <typename Find>
    void fill_implicit(const Find& find) {
        fill_implicit_at(kRoot, "", find);
    }

    // Turns the hidden names into whiteout devices and opaque directories. Once, after the last
    // put.
    void resolve_whiteouts();

    static constexpr InodeIdx kRoot = 0;
    const TreeInode& inode(InodeIdx idx) const { return inodes_[idx]; }
    const TreeDirectory& directory(const TreeInode& inode) const {
        return directories_[inode.directory_idx];
    }
    std::optional<InodeIdx> find(std::string_view path) const;
    size_t num_inodes() const { return inodes_.size(); }
    uint64_t num_implicit() const { return num_implicit_; }

    // Block of each chunk in the .data file, or kHoleBlock; filled by LayerBuilder.
    std::vector<uint32_t> chunks;
    TreeInode& file(InodeIdx idx) { return inodes_[idx]; }

  private:
    Result<InodeIdx> make_parents(std::string_view path);
    Result<InodeIdx> parent_for(const std::string& path);
    Result<InodeIdx> new_inode(const Entry& entry, size_t name_bytes);
    Result<void> count(uint64_t bytes);
    bool is_whiteout(InodeIdx idx) const;
    void resolve_whiteout(InodeIdx directory, const std::string& name);

    template <typename Find>
    void fill_implicit_at(InodeIdx idx, const std::string& path, const Find& find);

    LayerLimits limits_;
    std::vector<TreeInode> inodes_;           // replaced ones stay, unreachable
    std::vector<TreeDirectory> directories_;  // likewise
    uint64_t metadata_bytes_ = 0;
    uint64_t num_implicit_ = 0;
};

template <typename Find>
void LayerTree::fill_implicit_at(InodeIdx idx, const std::string& path, const Find& find) {
    const TreeDirectory& directory = directories_[inodes_[idx].directory_idx];
    if (directory.is_implicit && idx != kRoot) {
        ++num_implicit_;
        if (const std::optional<Attributes> found = find(path)) inodes_[idx].attributes = *found;
    }
    for (const auto& [name, child] : directory.children)
        if (inodes_[child].kind == EntryKind::kDirectory)
            fill_implicit_at(child, path.empty() ? name : path + "/" + name, find);
}

}  // namespace baleen::sandbox::image
