// Tar archives as a stream of entries: ustar, pax, GNU long names, base-256 numbers. Everything in
// an archive is hostile: paths are made normal or refused, sizes are bounded, a truncated or
// damaged archive is an error. Nothing is written anywhere. Owned by one thread.
//
//     while (std::optional<Entry> entry = TRY(reader.next()))
//         while (size_t n = TRY(reader.read(buffer))) ...
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "sandbox/image/byte_source.h"
#include "sandbox/image/entry.h"
#include "sandbox/image/pax.h"

namespace baleen::sandbox::image {

class TarReader {
  public:
    // Some layers in the wild lack the block of zeros at the end; where a digest proves that
    // nothing is missing, that may pass.
    enum class EndMarker { kRequired, kOptional };

    explicit TarReader(ByteSource& source, EndMarker end_marker = EndMarker::kRequired);

    // The next entry, none at the end; then all of the source has been read. Sparse files and GNU's
    // incremental and multi-volume archives are kUnsupported.
    Result<std::optional<Entry>> next();

    // Content of the regular file that next() gave last; 0 at its end.
    Result<size_t> read(std::span<uint8_t> buffer);

    // Attributes that a layer does not keep (is_kept_xattr), so far.
    uint64_t num_dropped_xattrs() const { return num_dropped_xattrs_; }

  private:
    using Header = std::span<const uint8_t>;

    Result<std::optional<Entry>> read_header();
    Result<std::optional<Entry>> take_header(Header header);
    Result<uint64_t> payload_bytes(Header header, char type, bool is_meta) const;
    Result<void> take_meta(char type, uint64_t size);
    Result<Entry> make_entry(Header header, char type);
    Result<void> set_kind(Header header, char type, bool has_slash, Entry& entry);
    Result<void> read_pax(uint64_t size, char type);
    Result<std::string> read_payload(uint64_t size);
    Result<void> expect_zeros_to_end();

    Result<size_t> fill(std::span<uint8_t> buffer);
    Result<void> skip(uint64_t bytes);

    ByteSource& source_;
    EndMarker end_marker_;
    std::vector<uint8_t> buffer_;  // read ahead
    size_t buffer_begin_ = 0;
    size_t buffer_end_ = 0;
    uint64_t offset_ = 0;        // in the archive, for messages
    uint64_t content_left_ = 0;  // of the current entry
    uint64_t padding_left_ = 0;
    bool is_at_end_ = false;
    PaxValues pax_;  // for the next entry
    PaxValues pax_global_;
    std::optional<std::string> gnu_name_;
    std::optional<std::string> gnu_link_;
    uint64_t num_dropped_xattrs_ = 0;
};

}  // namespace baleen::sandbox::image
