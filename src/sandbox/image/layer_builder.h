// Builds one layer from a stream of entries: file bytes go to .data as they come, everything else
// stays in memory until finish() makes .meta of it. Nothing is unpacked. Owned by one thread.
//
//     LayerBuilder builder(data_sink);
//     TRY(builder.add(entry));  TRY(builder.append(bytes));  ...
//     BuiltLayer layer = TRY(builder.finish());
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/sha256.h"
#include "sandbox/image/byte_source.h"
#include "sandbox/image/layer_tree.h"

namespace baleen::sandbox::image {

struct BuiltLayer {
    std::vector<uint8_t> meta;  // the bytes of .meta
    std::string digest;         // SHA-256 of .meta, 64 characters; .meta has the SHA-256 of .data
    uint64_t data_bytes = 0;    // size of .data
    uint64_t num_entries = 0;   // of the input, replaced ones included
    uint64_t num_implicit = 0;  // directories without an entry of their own
    bool is_root_opaque = false;
};

// What the layers below have at a directory's path, if anything.
using FindAttributes = std::function<std::optional<Attributes>(const std::string& path)>;

class LayerBuilder {
  public:
    // `data` gets the bytes of .data in order and must outlive the builder.
    explicit LayerBuilder(ByteSink& data, const LayerLimits& limits = {});

    // A regular file takes the append() calls that follow, as many bytes as entry.size says.
    Result<void> add(const Entry& entry);
    Result<void> append(std::span<const uint8_t> bytes);
    Result<void> append_hole(uint64_t bytes);

    Result<void> hide_lower(const std::string& path) { return tree_.hide_lower(path); }
    Result<void> make_opaque(const std::string& path) { return tree_.make_opaque(path); }

    Result<BuiltLayer> finish(const FindAttributes& find_below = {});

    // True behind add() of a regular file until its last byte has come.
    bool is_file_open() const { return open_file_.has_value() && bytes_left_ > 0; }

  private:
    Result<void> end_file();
    Result<void> flush_chunk();

    LayerTree tree_;
    LayerLimits limits_;
    ByteSink& data_;
    Sha256 data_hash_;
    uint64_t data_bytes_ = 0;  // written so far, whole blocks
    uint64_t file_bytes_ = 0;  // content of all files so far
    uint64_t num_added_ = 0;
    std::optional<InodeIdx> open_file_;
    uint64_t bytes_left_ = 0;     // of the open file
    std::vector<uint8_t> chunk_;  // its last chunk, not written yet; at most 1 MiB
};

}  // namespace baleen::sandbox::image
