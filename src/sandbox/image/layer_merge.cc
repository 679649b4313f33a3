#include "sandbox/image/layer_merge.h"

#include <map>
#include <string>
#include <utility>

namespace baleen::sandbox::image {
namespace {

class Merge {
  public:
    Merge(const std::vector<const LoadedLayer*>& layers, LayerBuilder& builder,
          const std::function<Result<void>(uint64_t)>& copied)
        : layers_(layers), builder_(builder), copied_(copied) {}

    Result<void> run() {
        std::vector<LayerInode> roots;
        for (size_t i = layers_.size(); i-- > 0;)
            roots.push_back({i, TRY(reader(i).inode(reader(i).root_nid()))});
        return add_directory("", roots);
    }

  private:
    struct LayerInode {
        size_t layer_idx;
        ErofsInode inode;
    };
    // What each layer has at one path, the uppermost first.
    using Column = std::vector<LayerInode>;

    const ErofsReader& reader(size_t layer_idx) const { return layers_[layer_idx]->reader(); }

    static bool is_mark(const ErofsInode& inode) {
        return inode.kind == EntryKind::kCharDevice && inode.device_major == 0 &&
               inode.device_minor == 0;
    }

    // Adds what the column shows.
    Result<void> add(const std::string& path, Column column) {
        if (column[0].inode.kind == EntryKind::kDirectory)
            return add_directory(path, std::move(column));
        return add_file(path, column[0]);
    }

    Result<void> add_directory(const std::string& path, Column column) {
        Entry entry = entry_of(column[0].inode, path);
        remove_marks(entry.attributes);  // those of the merged directory are found below
        std::map<std::string, Column> children;
        for (size_t i = 0; i < column.size(); ++i) {
            const LayerInode& at = column[i];
            if (at.inode.kind != EntryKind::kDirectory) {
                // A file or whiteout under a directory: nothing further below can show.
                set_opaque(entry.attributes);
                break;
            }
            const ErofsDirectory listed = TRY(reader(at.layer_idx).directory(at.inode));
            for (const ErofsDirent& dirent : listed.entries)
                children[dirent.name].push_back(
                    {at.layer_idx, TRY(reader(at.layer_idx).inode(dirent.nid))});
            if (is_opaque(at.inode.attributes)) {
                set_opaque(entry.attributes);
                break;
            }
        }
        TRY(builder_.add(entry));
        for (auto& [name, child] : children)
            TRY(add(path.empty() ? name : path + "/" + name, std::move(child)));
        return {};
    }

    Result<void> add_file(const std::string& path, const LayerInode& at) {
        Entry entry = entry_of(at.inode, path);
        if (at.inode.num_links > 1 && !is_mark(at.inode)) {
            const auto [first, is_first] =
                first_path_.try_emplace({at.layer_idx, at.inode.nid}, path);
            if (!is_first)
                return builder_.add(
                    {.path = path, .kind = EntryKind::kHardLink, .target = first->second});
        }
        if (at.inode.kind == EntryKind::kSymlink)
            entry.target = TRY(reader(at.layer_idx).symlink_target(at.inode));
        TRY(builder_.add(entry));
        if (at.inode.kind != EntryKind::kRegular) return {};
        return read_content(reader(at.layer_idx), at.inode, layers_[at.layer_idx]->data(),
                            [&](std::span<const uint8_t> bytes, uint64_t hole) -> Result<void> {
                                TRY(copied_(bytes.size()));
                                return hole > 0 ? builder_.append_hole(hole)
                                                : builder_.append(bytes);
                            });
    }

    static Entry entry_of(const ErofsInode& inode, const std::string& path) {
        return {.path = path,
                .kind = inode.kind,
                .attributes = inode.attributes,
                .size = inode.kind == EntryKind::kRegular ? inode.size : 0,
                .device_major = inode.device_major,
                .device_minor = inode.device_minor};
    }

    const std::vector<const LoadedLayer*>& layers_;
    LayerBuilder& builder_;
    const std::function<Result<void>(uint64_t)>& copied_;
    std::map<std::pair<size_t, uint64_t>, std::string> first_path_;  // of files of several names
};

}  // namespace

Result<void> merge_into(const std::vector<const LoadedLayer*>& layers, LayerBuilder& builder,
                        const std::function<Result<void>(uint64_t bytes)>& copied) {
    return Merge(layers, builder, copied).run();
}

}  // namespace baleen::sandbox::image
