#include "sandbox/image/layer_export.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "sandbox/image/tar_writer.h"

namespace baleen::sandbox::image {
namespace {

class Unpack {
  public:
    Unpack(const ErofsReader& reader, const DataAccess& data, const std::string& folder)
        : reader_(reader), data_(data), folder_(folder) {}

    Result<void> run() {
        root_ = TRY(open_at(AT_FDCWD, folder_, O_RDONLY | O_DIRECTORY, folder_));
        TRY(walk_layer(reader_, [&](const Entry& entry, const ErofsInode& inode) {
            Result<void> made = make(entry, inode);
            return made ? made : Result<void>(std::move(made).error().in("unpacking"));
        }));
        // Their times change, and their modes may forbid, while they are being filled.
        for (auto entry = directories_.rbegin(); entry != directories_.rend(); ++entry)
            TRY(set_attributes(*entry));
        return {};
    }

  private:
    std::string shown(const Entry& entry) const { return folder_ + "/" + entry.path; }

    Result<void> make(const Entry& entry, const ErofsInode& inode) {
        const char* path = entry.path.c_str();
        int status = 0;
        switch (entry.kind) {
            case EntryKind::kDirectory:
                if (!entry.path.empty()) status = ::mkdirat(root_.get(), path, 0700);
                directories_.push_back(entry);
                break;
            case EntryKind::kRegular: return make_file(entry, inode);
            case EntryKind::kSymlink:
                status = ::symlinkat(entry.target.c_str(), root_.get(), path);
                break;
            case EntryKind::kHardLink:
                status = ::linkat(root_.get(), entry.target.c_str(), root_.get(), path, 0);
                break;
            case EntryKind::kCharDevice: status = make_node(entry, S_IFCHR); break;
            case EntryKind::kBlockDevice: status = make_node(entry, S_IFBLK); break;
            case EntryKind::kFifo: status = make_node(entry, S_IFIFO); break;
            case EntryKind::kSocket: status = make_node(entry, S_IFSOCK); break;
        }
        if (status != 0) return io_error(shown(entry), "create");
        const bool is_done =
            entry.kind == EntryKind::kDirectory || entry.kind == EntryKind::kHardLink;
        return is_done ? Result<void>() : set_attributes(entry);
    }

    int make_node(const Entry& entry, mode_t type) const {
        return ::mknodat(root_.get(), entry.path.c_str(), type | 0600,
                         gnu_dev_makedev(entry.device_major, entry.device_minor));
    }

    Result<void> make_file(const Entry& entry, const ErofsInode& inode) {
        const Descriptor file = TRY(open_at(
            root_.get(), entry.path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, shown(entry), 0600));
        off_t at = 0;
        TRY(read_content(reader_, inode, data_,
                         [&](std::span<const uint8_t> bytes, uint64_t hole) -> Result<void> {
                             at += static_cast<off_t>(hole + bytes.size());
                             if (hole > 0 && ::lseek(file.get(), at, SEEK_SET) < 0)
                                 return io_error(shown(entry), "seek in");
                             return write_all(file.get(), bytes, shown(entry));
                         }));
        if (::ftruncate(file.get(), static_cast<off_t>(entry.size)) != 0)
            return io_error(shown(entry), "set the size of");
        return set_attributes(entry);
    }

    // Owner first: a change of owner takes away setuid bits and capabilities.
    Result<void> set_attributes(const Entry& entry) const {
        const Attributes& attributes = entry.attributes;
        const char* path = entry.path.empty() ? "." : entry.path.c_str();
        if (::fchownat(root_.get(), path, attributes.uid, attributes.gid, AT_SYMLINK_NOFOLLOW) != 0)
            return io_error(shown(entry), "change the owner of");
        const bool is_symlink = entry.kind == EntryKind::kSymlink;
        if (!is_symlink && ::fchmodat(root_.get(), path, attributes.mode, 0) != 0)
            return io_error(shown(entry), "change the mode of");
        const std::string by_proc = fmt::format("/proc/self/fd/{}/{}", root_.get(), path);
        for (const Xattr& xattr : attributes.xattrs)
            if (::lsetxattr(by_proc.c_str(), xattr.name.c_str(), xattr.value.data(),
                            xattr.value.size(), 0) != 0)
                return io_error(shown(entry), "set an attribute of");
        const timespec time{.tv_sec = attributes.mtime_s, .tv_nsec = attributes.mtime_ns};
        const timespec times[] = {time, time};
        if (::utimensat(root_.get(), path, times, AT_SYMLINK_NOFOLLOW) != 0)
            return io_error(shown(entry), "set the time of");
        return {};
    }

    const ErofsReader& reader_;
    const DataAccess& data_;
    const std::string& folder_;
    Descriptor root_;
    std::vector<Entry> directories_;
};

}  // namespace

Result<void> write_layer_tar(const ErofsReader& reader, const DataAccess& data, OverlayMarks marks,
                             ByteSink& sink) {
    TarWriter writer(sink);
    TRY(walk_layer(reader, [&](const Entry& entry, const ErofsInode& inode) -> Result<void> {
        // A link to a socket is one too.
        if (inode.kind == EntryKind::kSocket) return {};
        Entry written = entry;
        if (marks == OverlayMarks::kDrop) {
            if (is_whiteout(entry)) return {};
            remove_marks(written.attributes);
        }
        TRY(writer.add(written));
        if (entry.kind != EntryKind::kRegular) return {};
        return read_content(reader, inode, data,
                            [&](std::span<const uint8_t> bytes, uint64_t hole) {
                                return hole > 0 ? writer.append_zeros(hole) : writer.append(bytes);
                            });
    }));
    return writer.finish();
}

Result<void> unpack_layer(const ErofsReader& reader, const DataAccess& data,
                          const std::string& folder) {
    return Unpack(reader, data, folder).run();
}

}  // namespace baleen::sandbox::image
