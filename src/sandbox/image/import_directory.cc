// import_directory and pack_upper: a directory tree as one layer.
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>

#include "sandbox/image/import_layer.h"

namespace baleen::sandbox::image {
namespace {

constexpr size_t kReadBytes = 1 << 20;
constexpr size_t kXattrListBytesMax = 64 << 10;  // the kernel's own limits
constexpr size_t kXattrValueBytesMax = 64 << 10;

// Marks of an overlay whose upper directory cannot be taken apart from its mount.
constexpr std::string_view kForeignMarks[] = {
    "trusted.overlay.metacopy", "trusted.overlay.redirect", "trusted.overlay.whiteout"};

// A directory below `root` through real directories only.
Result<Descriptor> open_beneath(int root, const std::string& path, const std::string& shown) {
    open_how how{};
    how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    const char* name = path.empty() ? "." : path.c_str();
    Descriptor folder(static_cast<int>(::syscall(SYS_openat2, root, name, &how, sizeof(how))));
    if (!folder.is_open()) return io_error(shown, "open");
    return folder;
}

Result<std::vector<std::string>> names_in(int folder, const std::string& shown) {
    Descriptor own(::fcntl(folder, F_DUPFD_CLOEXEC, 3));
    if (!own.is_open()) return io_error(shown, "list");
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(own.get()), ::closedir);
    if (stream == nullptr) return io_error(shown, "list");
    own.release();
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(stream.get())) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..") names.emplace_back(name);
        errno = 0;
    }
    if (errno != 0) return io_error(shown, "list");
    std::sort(names.begin(), names.end());
    return names;
}

EntryKind kind_of(mode_t mode) {
    if (S_ISREG(mode)) return EntryKind::kRegular;
    if (S_ISDIR(mode)) return EntryKind::kDirectory;
    if (S_ISLNK(mode)) return EntryKind::kSymlink;
    if (S_ISCHR(mode)) return EntryKind::kCharDevice;
    if (S_ISBLK(mode)) return EntryKind::kBlockDevice;
    return S_ISFIFO(mode) ? EntryKind::kFifo : EntryKind::kSocket;
}

Entry entry_of(const struct stat& status, std::string path) {
    Entry entry{.path = std::move(path), .kind = kind_of(status.st_mode)};
    entry.attributes = {.mode = status.st_mode & 07777U,
                        .uid = status.st_uid,
                        .gid = status.st_gid,
                        .mtime_s = status.st_mtim.tv_sec,
                        .mtime_ns = static_cast<uint32_t>(status.st_mtim.tv_nsec)};
    if (entry.kind == EntryKind::kRegular) entry.size = static_cast<uint64_t>(status.st_size);
    if (entry.kind == EntryKind::kCharDevice || entry.kind == EntryKind::kBlockDevice) {
        entry.device_major = gnu_dev_major(status.st_rdev);
        entry.device_minor = gnu_dev_minor(status.st_rdev);
    }
    return entry;
}

class DirectoryReader {
  public:
    DirectoryReader(const std::string& folder, const DirectoryLayerOptions& options,
                    const ImportContext& context, ImportProgress& progress, LayerBuilder& builder)
        : folder_(folder),
          options_(options),
          context_(context),
          progress_(progress),
          builder_(builder),
          buffer_(kReadBytes) {}

    Result<void> run() {
        root_ = TRY(open_at(AT_FDCWD, folder_, O_RDONLY | O_DIRECTORY, folder_));
        struct stat status {};
        if (::fstat(root_.get(), &status) != 0) return io_error(folder_, "stat");
        device_ = status.st_dev;
        waiting_.push_back("");
        while (!waiting_.empty()) {
            const std::string path = std::move(waiting_.back());
            waiting_.pop_back();
            TRY(read_directory(path));
        }
        return {};
    }

    std::vector<std::string> removed;
    uint64_t num_removed = 0;
    uint64_t num_dropped_xattrs = 0;
    std::vector<std::string> other_file_systems;

  private:
    std::string shown(const std::string& path) const {
        return path.empty() ? folder_ : folder_ + "/" + printable(path);
    }

    Result<void> read_directory(const std::string& path) {
        TRY(stop_if_asked(context_));
        const Descriptor folder = TRY(open_beneath(root_.get(), path, shown(path)));
        struct stat status {};
        if (::fstat(folder.get(), &status) != 0) return io_error(shown(path), "stat");
        Entry entry = entry_of(status, path);
        TRY(read_xattrs(fmt::format("/proc/self/fd/{}/.", folder.get()), entry));
        TRY(add(entry));
        if (status.st_dev != device_) {
            other_file_systems.push_back(printable(path));
            return {};
        }
        std::vector<std::string> folders;
        for (const std::string& name : TRY(names_in(folder.get(), shown(path)))) {
            const std::string child = path.empty() ? name : path + "/" + name;
            if (is_scrubbed(child)) continue;
            if (child.size() > kPathBytesMax)
                return make_error(ErrorCode::kExhausted, "{}: a path of {} bytes, at most {}",
                                  shown(child.substr(0, 200)), child.size(), kPathBytesMax);
            if (::fstatat(folder.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
                return io_error(shown(child), "stat");
            if (S_ISDIR(status.st_mode))
                folders.push_back(child);
            else
                TRY(read_file(folder.get(), name, child, status));
        }
        waiting_.insert(waiting_.end(), folders.rbegin(), folders.rend());
        return {};
    }

    bool is_scrubbed(const std::string& path) {
        const bool matches = std::any_of(options_.scrub.begin(), options_.scrub.end(),
                                         [&](const Glob& glob) { return glob.matches(path); });
        if (!matches) return false;
        ++num_removed;
        if (removed.size() < kRemovedListedMax) removed.push_back(printable(path));
        return true;
    }

    Result<void> read_file(int folder, const std::string& name, const std::string& path,
                           struct stat status) {
        // An overlay gives all its whiteouts one inode; here each is its own.
        const bool is_mark = S_ISCHR(status.st_mode) && status.st_rdev == 0;
        if (status.st_nlink > 1 && !is_mark) {
            const auto [first, is_first] =
                first_path_.try_emplace({status.st_dev, status.st_ino}, path);
            if (!is_first)
                return add({.path = path, .kind = EntryKind::kHardLink, .target = first->second});
        }
        Descriptor file;
        if (S_ISREG(status.st_mode)) {
            file = TRY(open_at(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, shown(path)));
            if (::fstat(file.get(), &status) != 0) return io_error(shown(path), "stat");
            if (!S_ISREG(status.st_mode)) return changed(path);
        }
        Entry entry = entry_of(status, path);
        if (entry.kind == EntryKind::kSymlink) {
            entry.target.resize(kPathBytesMax + 1);
            const ssize_t n =
                ::readlinkat(folder, name.c_str(), entry.target.data(), entry.target.size());
            if (n < 0) return io_error(shown(path), "read the link");
            entry.target.resize(static_cast<size_t>(n));
        }
        TRY(read_xattrs(fmt::format("/proc/self/fd/{}/{}", folder, name), entry));
        TRY(add(entry));
        return entry.kind == EntryKind::kRegular ? read_content(file.get(), entry) : Result<void>();
    }

    Result<void> add(const Entry& entry) {
        Result<void> added = builder_.add(entry);
        if (!added) return std::move(added).error().in(shown(entry.path));
        ++progress_.entries;
        return {};
    }

    Error changed(const std::string& path) const {
        return make_error(ErrorCode::kIo, "{}: changed while it was read", shown(path));
    }

    // Data and holes in turn, as far as the size that the entry was added with.
    Result<void> read_content(int file, const Entry& entry) {
        const auto size = static_cast<off_t>(entry.size);
        for (off_t at = 0; at < size;) {
            off_t data = ::lseek(file, at, SEEK_DATA);
            if (data < 0 && errno == ENXIO) data = size;  // nothing but a hole behind here
            if (data < 0) data = at;                      // the file system does not know holes
            data = std::min(data, size);
            TRY(builder_.append_hole(static_cast<uint64_t>(data - at)));
            if (data == size) break;
            off_t end = ::lseek(file, data, SEEK_HOLE);
            if (end <= data || end > size) end = size;
            TRY(read_data(file, entry.path, data, end));
            at = end;
        }
        return {};
    }

    Result<void> read_data(int file, const std::string& path, off_t at, off_t end) {
        while (at < end) {
            TRY(stop_if_asked(context_));
            const size_t wanted = std::min(static_cast<size_t>(end - at), buffer_.size());
            const auto bytes = std::span(buffer_).first(wanted);
            Result<void> read =
                read_exactly_at(file, bytes, static_cast<uint64_t>(at), shown(path));
            if (!read && read.error().code == ErrorCode::kCorrupt) return changed(path);
            TRY(std::move(read));
            TRY(builder_.append(bytes));
            at += static_cast<off_t>(wanted);
            progress_.bytes_done += wanted;
            report(context_, progress_);
        }
        return {};
    }

    // `path` is a way to the file that follows no symlink at its end.
    Result<void> read_xattrs(const std::string& path, Entry& entry) {
        std::string list(kXattrListBytesMax, '\0');
        const ssize_t n = ::llistxattr(path.c_str(), list.data(), list.size());
        if (n < 0 && errno == ENOTSUP) return {};
        if (n < 0) return io_error(shown(entry.path), "list the attributes of");
        list.resize(static_cast<size_t>(n));
        for (size_t begin = 0; begin < list.size();) {
            const std::string name = list.c_str() + begin;
            begin += name.size() + 1;
            const bool is_foreign = std::find(std::begin(kForeignMarks), std::end(kForeignMarks),
                                              name) != std::end(kForeignMarks);
            if (is_foreign && options_.source == DirectoryLayerOptions::Source::kOverlayUpper)
                return make_error(ErrorCode::kUnsupported,
                                  "{}: has {}: the overlay must be mounted with redirect_dir=off "
                                  "and metacopy=off",
                                  shown(entry.path), name);
            if (is_kept_xattr(name))
                TRY(read_xattr(path, name, entry));
            else if (!name.starts_with("trusted.overlay."))  // an overlay's bookkeeping
                ++num_dropped_xattrs;
        }
        return {};
    }

    Result<void> read_xattr(const std::string& path, const std::string& name, Entry& entry) {
        std::string value(kXattrValueBytesMax, '\0');
        const ssize_t n = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
        if (n < 0 && errno == ENODATA) return {};  // removed meanwhile
        if (n < 0) return io_error(shown(entry.path), "read an attribute of");
        value.resize(static_cast<size_t>(n));
        set_xattr(entry.attributes.xattrs, name, std::move(value));
        return {};
    }

    const std::string& folder_;
    const DirectoryLayerOptions& options_;
    const ImportContext& context_;
    ImportProgress& progress_;
    LayerBuilder& builder_;
    std::vector<uint8_t> buffer_;
    Descriptor root_;
    dev_t device_ = 0;
    std::vector<std::string> waiting_;                           // directories, next one last
    std::map<std::pair<dev_t, ino_t>, std::string> first_path_;  // of files with several names
};

}  // namespace

Result<DirectoryLayer> layer_from_directory(StoreWriter& writer, const std::string& folder,
                                            const DirectoryLayerOptions& options,
                                            const ImportContext& context, ImportProgress& progress,
                                            std::vector<std::string>& notes) {
    LayerDraft draft = TRY(writer.start_layer());
    LayerBuilder builder(draft.data, context.limits);
    DirectoryReader reader(folder, options, context, progress, builder);
    TRY(reader.run());
    if (reader.num_dropped_xattrs > 0)
        notes.push_back(fmt::format("{} attributes that belong to a host were left out",
                                    reader.num_dropped_xattrs));
    for (const std::string& path : reader.other_file_systems)
        notes.push_back(fmt::format("{}: another file system, left out", path));
    const BuiltLayer built = TRY(builder.finish());
    DirectoryLayer made{TRY(writer.publish_layer(std::move(draft), built)),
                        std::move(reader.removed), reader.num_removed};
    return made;
}

Result<ImportResult> import_directory(ImageStore& store, const ImportTarget& target,
                                      const std::string& folder, const ImportContext& context) {
    StoreWriter writer = TRY(store.writer());
    ImportProgress progress{.stage = "directory"};
    std::vector<std::string> notes;
    DirectoryLayer made = TRY(layer_from_directory(writer, folder, {}, context, progress, notes));
    return publish_image(writer,
                         {.ref = target.ref,
                          .kind = target.kind,
                          .layers = {std::move(made.layer)},
                          .source = "directory"},
                         std::move(notes));
}

Result<ImportResult> pack_upper(ImageStore& store, const ImportTarget& target,
                                const PackOptions& options, const ImportContext& context) {
    DirectoryLayerOptions layer_options{.source = DirectoryLayerOptions::Source::kOverlayUpper};
    for (const std::string& pattern : options.scrub)
        layer_options.scrub.push_back(TRY(Glob::parse(pattern)));
    StoreWriter writer = TRY(store.writer());
    PackRecord record{.trajectory = options.trajectory, .scrub = options.scrub};
    for (const ManifestLayer& layer : options.stack) {
        if (!store.has_layer(layer))
            return make_error(ErrorCode::kNotFound, "layer {} below the packed one is not in {}",
                              layer.digest, store.folder());
        record.stack.push_back(layer.digest);
    }
    ImportProgress progress{.stage = "pack"};
    std::vector<std::string> notes;
    DirectoryLayer made =
        TRY(layer_from_directory(writer, options.upper, layer_options, context, progress, notes));
    record.removed = std::move(made.removed);
    record.num_removed = made.num_removed;
    ImageManifest manifest{.ref = target.ref,
                           .kind = target.kind,
                           .layers = options.stack,
                           .config = options.config,
                           .source = "pack",
                           .pack = std::move(record)};
    manifest.layers.push_back(std::move(made.layer));
    return publish_image(writer, std::move(manifest), std::move(notes));
}

}  // namespace baleen::sandbox::image
