#include "sandbox/image/layer_builder.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "sandbox/image/erofs_format.h"
#include "sandbox/image/erofs_writer.h"

namespace baleen::sandbox::image {
namespace {

using erofs::kBlockBytes;
using erofs::kChunkBytes;

bool is_zero(std::span<const uint8_t> bytes) {
    // A buffer equals itself shifted by one byte exactly when all bytes are the same.
    return bytes.empty() ||
           (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace

LayerBuilder::LayerBuilder(ByteSink& data, const LayerLimits& limits)
    : tree_(limits), limits_(limits), data_(data) {
    chunk_.reserve(kChunkBytes);
}

Result<void> LayerBuilder::add(const Entry& entry) {
    TRY(end_file());
    ++num_added_;
    if (entry.kind == EntryKind::kHardLink) return tree_.link(entry.path, entry.target);
    if (entry.kind == EntryKind::kSymlink && entry.target.empty())
        return make_error(ErrorCode::kInvalidArgument, "a symlink to nothing");
    if (entry.kind == EntryKind::kRegular) {
        if (entry.size > limits_.file_bytes_max - file_bytes_)
            return make_error(ErrorCode::kExhausted, "the layer's files exceed {} bytes",
                              limits_.file_bytes_max);
        file_bytes_ += entry.size;
    }
    const InodeIdx idx = TRY(tree_.put(entry));
    if (entry.kind != EntryKind::kRegular) return {};
    open_file_ = idx;
    bytes_left_ = entry.size;
    TreeInode& file = tree_.file(idx);
    file.size = entry.size;
    file.first_chunk = tree_.chunks.size();
    file.num_chunks = static_cast<uint32_t>(erofs::chunks_of(entry.size));
    return {};
}

Result<void> LayerBuilder::append(std::span<const uint8_t> bytes) {
    CHECK(open_file_.has_value());
    CHECK_LE(bytes.size(), bytes_left_);
    bytes_left_ -= bytes.size();
    while (!bytes.empty()) {
        const size_t n = std::min(bytes.size(), kChunkBytes - chunk_.size());
        chunk_.insert(chunk_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
        bytes = bytes.subspan(n);
        if (chunk_.size() == kChunkBytes) TRY(flush_chunk());
    }
    return {};
}

Result<void> LayerBuilder::append_hole(uint64_t bytes) {
    CHECK(open_file_.has_value());
    CHECK_LE(bytes, bytes_left_);
    bytes_left_ -= bytes;
    while (bytes > 0) {
        const size_t n = std::min<uint64_t>(bytes, kChunkBytes - chunk_.size());
        bytes -= n;
        if (n == kChunkBytes) {
            tree_.chunks.push_back(kHoleBlock);
            continue;
        }
        chunk_.resize(chunk_.size() + n);
        if (chunk_.size() == kChunkBytes) TRY(flush_chunk());
    }
    return {};
}

Result<void> LayerBuilder::flush_chunk() {
    if (is_zero(chunk_)) {
        tree_.chunks.push_back(kHoleBlock);
    } else {
        const uint64_t block = data_bytes_ / kBlockBytes;
        if (block + kChunkBytes / kBlockBytes >= kHoleBlock)
            return make_error(ErrorCode::kExhausted, "the layer has more than 2^32 blocks of data");
        tree_.chunks.push_back(static_cast<uint32_t>(block));
        chunk_.resize(erofs::round_up(chunk_.size(), kBlockBytes));
        data_hash_.update(std::span<const uint8_t>(chunk_));
        data_bytes_ += chunk_.size();
        TRY(data_.write(chunk_));
    }
    chunk_.clear();
    return {};
}

Result<void> LayerBuilder::end_file() {
    if (!open_file_) return {};
    if (bytes_left_ > 0)
        return make_error(ErrorCode::kCorrupt, "the file before it lacks {} bytes", bytes_left_);
    if (!chunk_.empty()) TRY(flush_chunk());
    const TreeInode& file = tree_.inode(*open_file_);
    CHECK_EQ(tree_.chunks.size(), file.first_chunk + file.num_chunks);
    open_file_.reset();
    return {};
}

Result<BuiltLayer> LayerBuilder::finish(const FindAttributes& find_below) {
    TRY(end_file());
    tree_.fill_implicit([&](const std::string& path) {
        return find_below ? find_below(path) : std::optional<Attributes>();
    });
    tree_.resolve_whiteouts();
    BuiltLayer layer;
    layer.data_bytes = data_bytes_;
    layer.num_implicit = tree_.num_implicit();
    layer.is_root_opaque = is_opaque(tree_.inode(LayerTree::kRoot).attributes);
    layer.meta = TRY(write_erofs_meta(
        tree_, {data_hash_.finish(), static_cast<uint32_t>(data_bytes_ / kBlockBytes)}));
    layer.digest = hex(sha256(std::span<const uint8_t>(layer.meta)));
    layer.num_entries = num_added_;
    return layer;
}

}  // namespace baleen::sandbox::image
