// Reading checkpoints in the safetensors format: one shard (8-byte little-endian header length,
// JSON header, data) or a folder of shards with `model.safetensors.index.json`. Every number of a
// header is checked before it is used; file contents are hostile until then. Data stays in the
// mapping. Built at load by one thread, immutable after.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "tensor/dtype.h"

namespace baleen {

inline constexpr size_t kSafetensorsHeaderBytesMax = size_t{256} << 20;
inline constexpr size_t kSafetensorsRankMax = 8;
inline constexpr size_t kSafetensorsShardsMax = 10000;

struct StoredTensor {
    std::string name;
    std::optional<DType> dtype;  // empty: a dtype this program has no use for, see dtype_text
    std::string dtype_text;      // as in the header
    std::vector<uint64_t> shape;
    std::span<const uint8_t> data;  // into the shard's bytes
    uint32_t shard_idx = 0;         // set by Checkpoint

    std::string shape_text() const;  // "[512, 4096]"
};

// The tensors of one shard, in data order. Requires that they cover the data section exactly: no
// overlap, no hole (the format's own rule). `file` must outlive the result.
Result<std::vector<StoredTensor>> parse_safetensors(std::span<const uint8_t> file);

// All shards of a folder.
class Checkpoint {
  public:
    // Reads DIR/model.safetensors.index.json, else DIR/model.safetensors. Fails when there is
    // neither or the index is unreadable; what is wrong with single shards is kept in problems(),
    // so that a caller can report it all.
    static Result<Checkpoint> open(const std::string& directory);

    // Null when there is no such tensor (or its shard is broken).
    const StoredTensor* find(std::string_view name) const;

    const std::vector<StoredTensor>& tensors() const { return tensors_; }
    const std::vector<std::string>& problems() const { return problems_; }
    const std::vector<MappedFile>& shards() const { return shards_; }
    // Tensors that lie in a shard but not in the index; they are not in tensors().
    const std::vector<std::string>& unlisted() const { return unlisted_; }
    // Payload bytes of tensors().
    uint64_t bytes() const { return bytes_; }

    // Hands the mappings to the caller; the views of tensors() stay valid while they live.
    std::vector<MappedFile> take_shards() && { return std::move(shards_); }

  private:
    void add_shard(const std::string& path, const std::vector<std::string>* listed);
    void index_names();

    std::vector<MappedFile> shards_;
    std::vector<StoredTensor> tensors_;
    std::unordered_map<std::string_view, size_t> by_name_;  // keys borrow from tensors_
    std::vector<std::string> problems_;
    std::vector<std::string> unlisted_;
    uint64_t bytes_ = 0;
};

}  // namespace baleen
