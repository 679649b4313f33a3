// Streams of bytes: where an importer reads from and a builder writes to. Each object belongs to
// one thread. The bytes come from outside, so every read may fail.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/sha256.h"
#include "sandbox/image/descriptor.h"

namespace baleen::sandbox::image {

class ByteSource {
  public:
    virtual ~ByteSource() = default;
    // At least one byte, or 0 at the end. REQUIRES: buffer is not empty.
    virtual Result<size_t> read(std::span<uint8_t> buffer) = 0;
};

// As many bytes as the buffer takes; fewer only at the end.
Result<size_t> read_full(ByteSource& source, std::span<uint8_t> buffer);

// Reads to the end and throws the bytes away: a digest then covers all of them.
Result<void> drain(ByteSource& source);

class MemorySource : public ByteSource {
  public:
    explicit MemorySource(std::span<const uint8_t> bytes) : rest_(bytes) {}
    Result<size_t> read(std::span<uint8_t> buffer) override;

  private:
    std::span<const uint8_t> rest_;
};

// A descriptor, read from where it stands: a file, a pipe or standard input.
class FileSource : public ByteSource {
  public:
    FileSource(Descriptor file, std::string path)
        : file_(std::move(file)), path_(std::move(path)) {}
    Result<size_t> read(std::span<uint8_t> buffer) override;

  private:
    Descriptor file_;
    std::string path_;
};

// Passes bytes through and takes their digest and number.
class HashingSource : public ByteSource {
  public:
    explicit HashingSource(ByteSource& source) : source_(source) {}
    Result<size_t> read(std::span<uint8_t> buffer) override;

    uint64_t num_bytes() const { return num_bytes_; }
    Sha256Digest finish() { return hash_.finish(); }

  private:
    ByteSource& source_;
    Sha256 hash_;
    uint64_t num_bytes_ = 0;
};

class ByteSink {
  public:
    virtual ~ByteSink() = default;
    virtual Result<void> write(std::span<const uint8_t> bytes) = 0;
};

class MemorySink : public ByteSink {
  public:
    Result<void> write(std::span<const uint8_t> bytes) override;
    std::vector<uint8_t> bytes;
};

class FileSink : public ByteSink {
  public:
    // Does not own the descriptor.
    FileSink(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
    Result<void> write(std::span<const uint8_t> bytes) override;

  private:
    int fd_;
    std::string path_;
};

}  // namespace baleen::sandbox::image
