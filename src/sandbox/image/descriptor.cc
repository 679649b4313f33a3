#include "sandbox/image/descriptor.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

namespace baleen::sandbox::image {

Error io_error(const std::string& path, const char* action) {
    const int code = errno;
    const bool is_full = code == ENOSPC || code == EDQUOT || code == EFBIG;
    const ErrorCode kind = code == ENOENT ? ErrorCode::kNotFound
                           : is_full      ? ErrorCode::kExhausted
                                          : ErrorCode::kIo;
    return make_error(kind, "{}: cannot {}: {}", path, action, std::strerror(code));
}

Result<Descriptor> open_at(int folder, const std::string& name, int flags, const std::string& shown,
                           mode_t mode) {
    Descriptor file(::openat(folder, name.c_str(), flags | O_CLOEXEC, mode));
    if (!file.is_open()) return io_error(shown, (flags & O_CREAT) != 0 ? "create" : "open");
    return file;
}

Result<void> write_all(int fd, std::span<const uint8_t> bytes, const std::string& path) {
    while (!bytes.empty()) {
        const ssize_t n = ::write(fd, bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return io_error(path, "write");
        bytes = bytes.subspan(static_cast<size_t>(n));
    }
    return {};
}

Result<size_t> read_some(int fd, std::span<uint8_t> bytes, const std::string& path) {
    size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t n = ::read(fd, bytes.data() + done, bytes.size() - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return io_error(path, "read");
        if (n == 0) break;
        done += static_cast<size_t>(n);
    }
    return done;
}

Result<void> read_exactly_at(int fd, std::span<uint8_t> bytes, uint64_t offset,
                             const std::string& path) {
    size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t n = ::pread(fd, bytes.data() + done, bytes.size() - done,
                                  static_cast<off_t>(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return io_error(path, "read");
        if (n == 0)
            return make_error(ErrorCode::kCorrupt, "{}: ends at byte {}, {} bytes expected at {}",
                              path, offset + done, bytes.size(), offset);
        done += static_cast<size_t>(n);
    }
    return {};
}

Result<std::vector<uint8_t>> read_bytes(const std::string& path, uint64_t bytes_max) {
    // O_NONBLOCK: a FIFO in place of a file must not hang the open.
    const Descriptor file = TRY(open_at(AT_FDCWD, path, O_RDONLY | O_NONBLOCK, path));
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) return io_error(path, "stat");
    if (!S_ISREG(status.st_mode))
        return make_error(ErrorCode::kInvalidArgument, "{}: not a regular file", path);
    if (static_cast<uint64_t>(status.st_size) > bytes_max)
        return make_error(ErrorCode::kExhausted, "{}: {} bytes, at most {} are read", path,
                          status.st_size, bytes_max);
    std::vector<uint8_t> bytes(static_cast<size_t>(status.st_size));
    bytes.resize(TRY(read_some(file.get(), bytes, path)));
    return bytes;
}

}  // namespace baleen::sandbox::image
