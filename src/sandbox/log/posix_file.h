// Files as the trajectory log needs them: written at an offset, synced, cut. Errors name the path.
// Private to sandbox/log.
#pragma once

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace baleen::sandbox {

// The two system calls that a disk can fail in; tests put their own in.
struct DiskCalls {
    ssize_t (*write_at)(int fd, const void* bytes, size_t size, off_t offset) = ::pwrite;
    int (*sync)(int fd) = ::fdatasync;
};

// kNotFound for a missing file or folder, kExhausted for a full disk, quota or size limit, else
// kIo.
Error errno_error(const std::string& path, const char* action);

// An open descriptor with its path. Move-only.
class PosixFile {
  public:
    // flags as of open(2); O_CLOEXEC is added. Also opens folders (O_DIRECTORY).
    static Result<PosixFile> open(const std::string& path, int flags, mode_t mode = 0644);
    PosixFile(PosixFile&& other) noexcept
        : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}
    PosixFile& operator=(PosixFile&& other) noexcept {
        std::swap(path_, other.path_);
        std::swap(fd_, other.fd_);
        return *this;
    }
    PosixFile(const PosixFile&) = delete;
    PosixFile& operator=(const PosixFile&) = delete;
    ~PosixFile() {
        if (fd_ >= 0) ::close(fd_);
    }

    int fd() const { return fd_; }
    const std::string& path() const { return path_; }
    Result<uint64_t> size() const;

    // All bytes or an error, which may leave some of them in the file.
    Result<void> write_at(uint64_t offset, std::span<const uint8_t> bytes,
                          const DiskCalls& disk = {});
    // Exactly out.size() bytes.
    Result<void> read_at(uint64_t offset, std::span<uint8_t> out) const;
    Result<void> sync(const DiskCalls& disk = {});  // data and size
    Result<void> truncate(uint64_t size);

  private:
    PosixFile() = default;
    std::string path_;
    int fd_ = -1;
};

// Makes the names in a folder durable.
Result<void> sync_folder(const std::string& path);

// Creates the folder and those above it that are missing, durably.
Result<void> make_folders(const std::string& path);

// The names in a folder, sorted, without "." and "..".
Result<std::vector<std::string>> list_folder(const std::string& path);

bool exists(const std::string& path);

// The folder that a path lies in: "." for a bare name.
std::string folder_of(const std::string& path);

}  // namespace baleen::sandbox
