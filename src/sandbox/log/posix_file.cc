#include "sandbox/log/posix_file.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

namespace baleen::sandbox {

Error errno_error(const std::string& path, const char* action) {
    const int code = errno;
    ErrorCode kind = ErrorCode::kIo;
    if (code == ENOENT || code == ENOTDIR) kind = ErrorCode::kNotFound;
    if (code == ENOSPC || code == EDQUOT || code == EFBIG) kind = ErrorCode::kExhausted;
    return make_error(kind, "{}: cannot {}: {}", path, action, std::strerror(code));
}

Result<PosixFile> PosixFile::open(const std::string& path, int flags, mode_t mode) {
    PosixFile file;
    file.path_ = path;
    file.fd_ = ::open(path.c_str(), flags | O_CLOEXEC, mode);
    if (file.fd_ < 0) return errno_error(path, (flags & O_CREAT) != 0 ? "create" : "open");
    return file;
}

Result<uint64_t> PosixFile::size() const {
    struct stat status {};
    if (::fstat(fd_, &status) != 0) return errno_error(path_, "stat");
    return static_cast<uint64_t>(status.st_size);
}

Result<void> PosixFile::write_at(uint64_t offset, std::span<const uint8_t> bytes,
                                 const DiskCalls& disk) {
    while (!bytes.empty()) {
        const ssize_t n =
            disk.write_at(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno_error(path_, "write");
        bytes = bytes.subspan(static_cast<size_t>(n));
        offset += static_cast<uint64_t>(n);
    }
    return {};
}

Result<void> PosixFile::read_at(uint64_t offset, std::span<uint8_t> out) const {
    while (!out.empty()) {
        const ssize_t n = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno_error(path_, "read");
        if (n == 0)
            return make_error(ErrorCode::kCorrupt, "{}: ends at byte {}, {} more were expected",
                              path_, offset, out.size());
        out = out.subspan(static_cast<size_t>(n));
        offset += static_cast<uint64_t>(n);
    }
    return {};
}

Result<void> PosixFile::sync(const DiskCalls& disk) {
    while (disk.sync(fd_) != 0)
        if (errno != EINTR) return errno_error(path_, "sync");
    return {};
}

Result<void> PosixFile::truncate(uint64_t size) {
    while (::ftruncate(fd_, static_cast<off_t>(size)) != 0)
        if (errno != EINTR) return errno_error(path_, "truncate");
    return {};
}

Result<void> sync_folder(const std::string& path) {
    const PosixFile folder = TRY(PosixFile::open(path, O_RDONLY | O_DIRECTORY));
    // EINVAL: a filesystem that has nothing to sync for a folder.
    if (::fsync(folder.fd()) != 0 && errno != EINVAL) return errno_error(path, "sync");
    return {};
}

Result<void> make_folders(const std::string& path) {
    if (::mkdir(path.c_str(), 0755) == 0) return sync_folder(folder_of(path));
    if (errno == EEXIST) {
        struct stat status {};
        if (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return {};
        return make_error(ErrorCode::kInvalidArgument, "{}: not a folder", path);
    }
    const std::string above = folder_of(path);
    if (errno != ENOENT || above == path) return errno_error(path, "create");
    if (auto made = make_folders(above); !made) return made;
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return errno_error(path, "create");
    return sync_folder(above);
}

Result<std::vector<std::string>> list_folder(const std::string& path) {
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), ::closedir);
    if (folder == nullptr) return errno_error(path, "list");
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(folder.get())) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..") names.emplace_back(name);
        errno = 0;
    }
    if (errno != 0) return errno_error(path, "list");
    std::ranges::sort(names);
    return names;
}

bool exists(const std::string& path) {
    struct stat status {};
    return ::lstat(path.c_str(), &status) == 0;
}

std::string folder_of(const std::string& path) {
    const size_t end = path.find_last_not_of('/');
    if (end == std::string::npos) return path.empty() ? "." : "/";
    const size_t slash = path.find_last_of('/', end);
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace baleen::sandbox
