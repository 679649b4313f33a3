// Whole-layer passes of ErofsReader: visit every entry, check a layer, read a file's content.
#include <algorithm>
#include <map>
#include <utility>

#include "sandbox/image/erofs_reader.h"

namespace baleen::sandbox::image {
namespace {

// The deepest directory that kPathBytesMax allows.
constexpr size_t kDepthMax = kPathBytesMax / 2 + 1;

class Walk {
  public:
    Walk(const ErofsReader& reader, const EntryVisitor& visit)
        : reader_(reader),
          visit_(visit),
          seen_(reader.meta_bytes() / erofs::kSlotBytes),
          bytes_left_(reader.meta_bytes()) {}

    Result<void> run() {
        ErofsInode root = TRY(reader_.inode(reader_.root_nid()));
        if (root.kind != EntryKind::kDirectory)
            return make_error(ErrorCode::kCorrupt, "the root is a {}", kind_name(root.kind));
        TRY(count_first(root, ""));
        TRY(enter(std::move(root), "", reader_.root_nid()));
        while (!levels_.empty()) TRY(step());
        for (const auto& [nid, file] : linked_files_)
            if (file.names_left != 0)
                return make_error(ErrorCode::kCorrupt, "{}: {} more names than the tree has",
                                  file.first_path, file.names_left);
        if (num_inodes_ != reader_.num_inodes())
            return make_error(ErrorCode::kCorrupt, "{} inodes, the superblock says {}", num_inodes_,
                              reader_.num_inodes());
        return {};
    }

  private:
    struct Level {
        std::string path;
        uint64_t nid;
        ErofsDirectory directory;
        size_t next = 0;
    };
    struct LinkedFile {
        std::string first_path;
        uint32_t names_left;
    };

    // Each inode is met once (but for hard links), and together they take no more than there is:
    // where they overlap, a small file could otherwise make a walk without end.
    Result<void> count_first(const ErofsInode& inode, const std::string& path) {
        if (seen_[inode.nid])
            return make_error(ErrorCode::kCorrupt, "{}: its inode is also elsewhere", path);
        seen_[inode.nid] = true;
        ++num_inodes_;
        if (inode.meta_bytes > bytes_left_)
            return make_error(ErrorCode::kCorrupt, "{}: inodes overlap", path);
        bytes_left_ -= inode.meta_bytes;
        return {};
    }

    Result<void> enter(ErofsInode inode, std::string path, uint64_t parent_nid) {
        if (levels_.size() >= kDepthMax)
            return make_error(ErrorCode::kCorrupt, "directories nested deeper than {}", kDepthMax);
        ErofsDirectory directory = TRY(reader_.directory(inode));
        const auto num_children =
            std::count_if(directory.entries.begin(), directory.entries.end(),
                          [](const ErofsDirent& d) { return d.kind == EntryKind::kDirectory; });
        if (directory.parent_nid != parent_nid || inode.num_links != num_children + 2)
            return make_error(ErrorCode::kCorrupt, "directory '{}': wrong parent or link count",
                              path);
        TRY(visit_(entry_of(inode, path), inode));
        levels_.push_back({std::move(path), inode.nid, std::move(directory)});
        return {};
    }

    Result<void> step() {
        Level& level = levels_.back();
        if (level.next == level.directory.entries.size()) {
            levels_.pop_back();
            return {};
        }
        const ErofsDirent& dirent = level.directory.entries[level.next++];
        std::string path = level.path.empty() ? dirent.name : level.path + "/" + dirent.name;
        if (path.size() > kPathBytesMax)
            return make_error(ErrorCode::kCorrupt, "a path is longer than {} bytes", kPathBytesMax);
        ErofsInode inode = TRY(reader_.inode(dirent.nid));
        if (inode.kind != dirent.kind)
            return make_error(ErrorCode::kCorrupt, "{}: a {} listed as a {}", path,
                              kind_name(inode.kind), kind_name(dirent.kind));
        if (inode.kind != EntryKind::kDirectory) return visit_file(inode, path);
        TRY(count_first(inode, path));
        return enter(std::move(inode), std::move(path), level.nid);
    }

    Result<void> visit_file(const ErofsInode& inode, const std::string& path) {
        Entry entry = entry_of(inode, path);
        if (inode.num_links == 0) return make_error(ErrorCode::kCorrupt, "{}: no links", path);
        if (inode.num_links > 1) {
            const auto [at, is_first] =
                linked_files_.try_emplace(inode.nid, LinkedFile{path, inode.num_links});
            if (at->second.names_left == 0)
                return make_error(ErrorCode::kCorrupt, "{}: more names than {}", path,
                                  inode.num_links);
            --at->second.names_left;
            if (!is_first) {
                entry.kind = EntryKind::kHardLink;
                entry.size = 0;
                entry.target = at->second.first_path;
                return visit_(entry, inode);
            }
        }
        TRY(count_first(inode, path));
        if (inode.kind == EntryKind::kSymlink) entry.target = TRY(reader_.symlink_target(inode));
        return visit_(entry, inode);
    }

    static Entry entry_of(const ErofsInode& inode, const std::string& path) {
        return {.path = path,
                .kind = inode.kind,
                .attributes = inode.attributes,
                .size = inode.kind == EntryKind::kRegular ? inode.size : 0,
                .device_major = inode.device_major,
                .device_minor = inode.device_minor};
    }

    const ErofsReader& reader_;
    const EntryVisitor& visit_;
    std::vector<Level> levels_;
    std::vector<bool> seen_;                       // by inode number
    uint64_t bytes_left_;                          // of .meta, not yet claimed by an inode
    std::map<uint64_t, LinkedFile> linked_files_;  // files of several names
    uint64_t num_inodes_ = 0;
};

}  // namespace

Result<void> walk_layer(const ErofsReader& reader, const EntryVisitor& visit) {
    return Walk(reader, visit).run();
}

Result<void> check_layer(const ErofsReader& reader) {
    return walk_layer(reader, [&](const Entry& entry, const ErofsInode& inode) -> Result<void> {
        if (entry.kind != EntryKind::kRegular) return {};
        for (uint64_t i = 0; i < inode.num_chunks; ++i) TRY(reader.chunk_offset(inode, i));
        return {};
    });
}

Result<void> read_content(const ErofsReader& reader, const ErofsInode& inode,
                          const DataAccess& data, const ContentSink& sink) {
    std::vector<uint8_t> buffer;
    for (uint64_t i = 0; i < inode.num_chunks; ++i) {
        const uint64_t bytes =
            std::min<uint64_t>(erofs::kChunkBytes, inode.size - i * erofs::kChunkBytes);
        const std::optional<uint64_t> offset = TRY(reader.chunk_offset(inode, i));
        if (!offset) {
            TRY(sink({}, bytes));
            continue;
        }
        buffer.resize(bytes);
        TRY(data(*offset, buffer));
        TRY(sink(buffer, 0));
    }
    return {};
}

}  // namespace baleen::sandbox::image
