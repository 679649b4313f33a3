// Files: read-only mapping, whole-file read with a limit, and a writer that reports a full disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace baleen {

// A regular file mapped read-only for its lifetime. Move-only; unmaps on destruction.
class MappedFile {
  public:
    static Result<MappedFile> open(const std::string& path);
    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&& other) noexcept;
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;
    ~MappedFile();

    std::span<const uint8_t> bytes() const { return {data_, size_}; }
    const std::string& path() const { return path_; }

  private:
    MappedFile() = default;
    std::string path_;
    const uint8_t* data_ = nullptr;
    size_t size_ = 0;
};

// The whole of a regular file; kExhausted when it is larger than bytes_max.
Result<std::string> read_file(const std::string& path, size_t bytes_max);

// Sequential writer: every short write or full disk is an error that names the path. Call close();
// the destructor closes without a check when an earlier error is being returned.
class FileWriter {
  public:
    static Result<FileWriter> create(const std::string& path);
    FileWriter(FileWriter&& other) noexcept;
    FileWriter& operator=(FileWriter&&) = delete;
    FileWriter(const FileWriter&) = delete;
    FileWriter& operator=(const FileWriter&) = delete;
    ~FileWriter();

    Result<void> write(std::span<const uint8_t> bytes);
    Result<void> write(std::string_view text);
    // fsync and close.
    Result<void> close();

  private:
    FileWriter() = default;
    std::string path_;
    int fd_ = -1;
};

// Writes path through a temporary file in the same folder and a rename: path holds either the old
// bytes or all of the new ones.
Result<void> write_file_atomically(const std::string& path, std::string_view text);

}  // namespace baleen
