// Writes a tar archive: ustar headers, and pax ones in front of what they cannot hold. Owned by one
// thread; the bytes depend on the entries alone.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "sandbox/image/byte_source.h"
#include "sandbox/image/entry.h"

namespace baleen::sandbox::image {

class TarWriter {
  public:
    // `sink` must outlive the writer.
    explicit TarWriter(ByteSink& sink) : sink_(sink) {}

    // A regular file takes the append() calls that follow, as many bytes as entry.size says.
    // Sockets have no place in tar: kUnsupported.
    Result<void> add(const Entry& entry);
    Result<void> append(std::span<const uint8_t> bytes);
    Result<void> append_zeros(uint64_t bytes);

    // The end marker.
    Result<void> finish();

  private:
    Result<void> end_file();
    Result<void> write_header(const Entry& entry);
    Result<void> write_pax(const Entry& entry);

    ByteSink& sink_;
    uint64_t content_left_ = 0;
    uint64_t padding_left_ = 0;
};

}  // namespace baleen::sandbox::image
