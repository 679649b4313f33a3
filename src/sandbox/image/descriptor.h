// A file descriptor that closes itself, and the few whole-buffer calls on descriptors that the
// image code needs. Errors name the path that the caller gives.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace baleen::sandbox::image {

class Descriptor {
  public:
    explicit Descriptor(int fd = -1) : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() { close(); }

    void close() {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }
    int release() { return std::exchange(fd_, -1); }
    int get() const { return fd_; }
    bool is_open() const { return fd_ >= 0; }

  private:
    int fd_;
};

// "path: cannot action: reason" from errno. A full disk or quota is kExhausted, a missing file
// kNotFound, everything else kIo.
Error io_error(const std::string& path, const char* action);

// Opens relative to `folder` (AT_FDCWD allowed), close-on-exec always. `shown` is for messages.
Result<Descriptor> open_at(int folder, const std::string& name, int flags, const std::string& shown,
                           mode_t mode = 0644);

Result<void> write_all(int fd, std::span<const uint8_t> bytes, const std::string& path);

// Reads up to bytes.size() bytes; fewer only at the end of the file.
Result<size_t> read_some(int fd, std::span<uint8_t> bytes, const std::string& path);

// Exactly these bytes of the file; kCorrupt when it is shorter.
Result<void> read_exactly_at(int fd, std::span<uint8_t> bytes, uint64_t offset,
                             const std::string& path);

// The whole of a regular file; kExhausted when it is larger than bytes_max.
Result<std::vector<uint8_t>> read_bytes(const std::string& path, uint64_t bytes_max);

}  // namespace baleen::sandbox::image
