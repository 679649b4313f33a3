#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace baleen {
namespace {

Error io_error(const std::string& path, const char* action) {
    const int code = errno;
    const ErrorCode kind = code == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
    return make_error(kind, "{}: cannot {}: {}", path, action, std::strerror(code));
}

// Opens a regular file for reading and tells its size. The caller closes the descriptor.
Result<std::pair<int, size_t>> open_regular(const std::string& path) {
    // O_NONBLOCK: a FIFO in place of a file must not hang the open.
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return io_error(path, "open");
    struct stat status {};
    if (::fstat(fd, &status) != 0) {
        Error error = io_error(path, "stat");
        ::close(fd);
        return error;
    }
    if (!S_ISREG(status.st_mode)) {
        ::close(fd);
        return make_error(ErrorCode::kInvalidArgument, "{}: not a regular file", path);
    }
    return std::pair{fd, static_cast<size_t>(status.st_size)};
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
    const auto [fd, size] = TRY(open_regular(path));
    MappedFile file;
    file.path_ = path;
    file.size_ = size;
    if (size > 0) {
        void* data = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED) {
            Error error = io_error(path, "map");
            ::close(fd);
            return error;
        }
        file.data_ = static_cast<const uint8_t*>(data);
    }
    ::close(fd);
    return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

MappedFile::~MappedFile() {
    if (data_ != nullptr) ::munmap(const_cast<uint8_t*>(data_), size_);
}

Result<std::string> read_file(const std::string& path, size_t bytes_max) {
    const auto [fd, size] = TRY(open_regular(path));
    std::string text;
    if (size > bytes_max) {
        ::close(fd);
        return make_error(ErrorCode::kExhausted, "{}: {} bytes, at most {} are read", path, size,
                          bytes_max);
    }
    text.resize(size);
    size_t done = 0;
    while (done < size) {
        const ssize_t n = ::read(fd, text.data() + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            Error error = io_error(path, "read");
            ::close(fd);
            return error;
        }
        if (n == 0) break;
        done += static_cast<size_t>(n);
    }
    ::close(fd);
    text.resize(done);
    return text;
}

Result<FileWriter> FileWriter::create(const std::string& path) {
    FileWriter writer;
    writer.path_ = path;
    writer.fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (writer.fd_ < 0) return io_error(path, "create");
    return writer;
}

FileWriter::FileWriter(FileWriter&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

FileWriter::~FileWriter() {
    if (fd_ >= 0) ::close(fd_);
}

Result<void> FileWriter::write(std::span<const uint8_t> bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return io_error(path_, "write");
        bytes = bytes.subspan(static_cast<size_t>(n));
    }
    return {};
}

Result<void> FileWriter::write(std::string_view text) {
    return write(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

Result<void> FileWriter::close() {
    const int fd = std::exchange(fd_, -1);
    if (::fsync(fd) != 0 && errno != EINVAL) {
        Error error = io_error(path_, "sync");
        ::close(fd);
        return error;
    }
    if (::close(fd) != 0) return io_error(path_, "close");
    return {};
}

Result<void> write_file_atomically(const std::string& path, std::string_view text) {
    const std::string temporary = fmt::format("{}.tmp.{}", path, ::getpid());
    const auto write_all = [&]() -> Result<void> {
        FileWriter writer = TRY(FileWriter::create(temporary));
        if (auto r = writer.write(text); !r) return r;
        return writer.close();
    };
    if (auto written = write_all(); !written) {
        ::unlink(temporary.c_str());
        return written;
    }
    if (::rename(temporary.c_str(), path.c_str()) != 0) {
        Error error = io_error(path, "rename to");
        ::unlink(temporary.c_str());
        return error;
    }
    return {};
}

}  // namespace baleen
