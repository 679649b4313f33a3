#include "model/synth.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include "base/file.h"
#include "model/synth_fill.h"

namespace baleen {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPieceBytes = size_t{512} << 10;  // one thread's share at a time
constexpr size_t kBatchBytes = size_t{8} << 20;    // made in parallel, then written in order
static_assert(kPieceBytes % kFillAlignment == 0);
// Headers, index and config beside the payload, for the free-space check.
constexpr uint64_t kOverheadPerTensor = 400;

// A TensorSpec that owns its name.
struct PlannedTensor {
    std::string name;
    TensorSpec spec;
    uint64_t begin = 0;  // in its shard's data section
};

struct PlannedShard {
    std::string file;
    std::vector<PlannedTensor> tensors;  // in data order
    uint64_t bytes = 0;
};

std::vector<PlannedShard> plan_shards(const Config& config, uint64_t shard_bytes_max) {
    std::vector<PlannedShard> shards;
    visit_inventory(config, [&](const TensorSpec& spec) {
        if (shards.empty() || shards.back().bytes + spec.bytes() > shard_bytes_max)
            shards.emplace_back();
        shards.back().bytes += spec.bytes();
        shards.back().tensors.push_back({.name = std::string(spec.name), .spec = spec, .begin = 0});
    });
    for (size_t i = 0; i < shards.size(); ++i) {
        PlannedShard& shard = shards[i];
        shard.file = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
        // Widest elements first, so that every tensor is aligned to its element.
        std::stable_sort(shard.tensors.begin(), shard.tensors.end(),
                         [](const auto& a, const auto& b) {
                             return dtype_bytes(a.spec.dtype) > dtype_bytes(b.spec.dtype);
                         });
        uint64_t begin = 0;
        for (PlannedTensor& tensor : shard.tensors) {
            tensor.spec.name = tensor.name;
            tensor.begin = begin;
            begin += tensor.spec.bytes();
        }
    }
    return shards;
}

// Length prefix and JSON, padded with spaces so that the data section starts at a multiple of 64.
std::string shard_header(const PlannedShard& shard) {
    std::string json = R"({"__metadata__":{"format":"pt"})";
    for (const PlannedTensor& t : shard.tensors) {
        const std::string shape = t.spec.rank == 1
                                      ? fmt::format("{}", t.spec.dims[0])
                                      : fmt::format("{},{}", t.spec.dims[0], t.spec.dims[1]);
        json += fmt::format(R"(,"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", t.name,
                            dtype_name(t.spec.dtype), shape, t.begin, t.begin + t.spec.bytes());
    }
    json += "}";
    json.resize((json.size() + 8 + 63) / 64 * 64 - 8, ' ');
    std::string header(8, '\0');
    for (size_t i = 0; i < 8; ++i) header[i] = static_cast<char>((json.size() >> (8 * i)) & 255);
    return header + json;
}

Json index_json(const std::vector<PlannedShard>& shards, uint64_t bytes) {
    Json::object_t
        weight_map;  // filled by push_back: keys are distinct, and looking would be O(n^2)
    for (const PlannedShard& shard : shards)
        for (const PlannedTensor& t : shard.tensors) weight_map.push_back({t.name, shard.file});
    Json index;
    index["metadata"]["total_size"] = bytes;
    index["weight_map"] = std::move(weight_map);
    return index;
}

class CheckpointWriter {
  public:
    CheckpointWriter(const Config& config, const SynthOptions& options, ThreadPool& pool)
        : filler_(config), options_(options), pool_(pool), buffer_(kBatchBytes) {}

    Result<void> write_all(const std::vector<PlannedShard>& shards, const Json& config_json,
                           uint64_t bytes_total);
    void remove_written() const;

  private:
    // A range of a tensor and where in buffer_ it goes.
    struct Piece {
        const PlannedTensor* tensor;
        uint64_t offset;
        size_t buffer_at;
        size_t bytes;
    };

    std::string path_of(const std::string& file) const { return options_.directory + "/" + file; }
    Result<void> write_shard(const PlannedShard& shard);
    Result<void> flush(FileWriter& file);
    Result<void> write_text(const std::string& file, const std::string& text);

    TensorFiller filler_;
    const SynthOptions& options_;
    ThreadPool& pool_;
    std::vector<uint8_t> buffer_;
    size_t buffered_ = 0;
    std::vector<Piece> pieces_;
    uint64_t bytes_done_ = 0;
    uint64_t bytes_total_ = 0;
    std::vector<std::string> written_;
};

Result<void> CheckpointWriter::flush(FileWriter& file) {
    pool_.parallel_for(pieces_.size(), [&](size_t i, size_t) {
        const Piece& piece = pieces_[i];
        filler_.fill(piece.tensor->spec, options_.seed, piece.offset,
                     std::span(buffer_).subspan(piece.buffer_at, piece.bytes));
    });
    TRY(file.write(std::span<const uint8_t>(buffer_).first(buffered_)));
    bytes_done_ += buffered_;
    if (options_.progress) options_.progress(bytes_done_, bytes_total_);
    pieces_.clear();
    buffered_ = 0;
    return {};
}

Result<void> CheckpointWriter::write_shard(const PlannedShard& shard) {
    written_.push_back(path_of(shard.file));
    FileWriter file = TRY(FileWriter::create(written_.back()));
    TRY(file.write(shard_header(shard)));
    for (const PlannedTensor& tensor : shard.tensors) {
        const uint64_t size = tensor.spec.bytes();
        for (uint64_t offset = 0; offset < size; offset += kPieceBytes) {
            const auto bytes = static_cast<size_t>(std::min<uint64_t>(kPieceBytes, size - offset));
            if (buffered_ + bytes > buffer_.size()) TRY(flush(file));
            pieces_.push_back({&tensor, offset, buffered_, bytes});
            buffered_ += bytes;
        }
    }
    TRY(flush(file));
    return file.close();
}

Result<void> CheckpointWriter::write_text(const std::string& file, const std::string& text) {
    written_.push_back(path_of(file));
    return write_file_atomically(written_.back(), text);
}

Result<void> CheckpointWriter::write_all(const std::vector<PlannedShard>& shards,
                                         const Json& config_json, uint64_t bytes_total) {
    bytes_total_ = bytes_total;
    for (const PlannedShard& shard : shards) TRY(write_shard(shard));
    TRY(write_text("model.safetensors.index.json", dump_json(index_json(shards, bytes_total), 1)));
    if (options_.tokenizer) TRY(write_text("tokenizer.json", dump_json(*options_.tokenizer, 1)));
    return write_text("config.json", dump_json(config_json, 1) + "\n");
}

void CheckpointWriter::remove_written() const {
    std::error_code ignored;  // the first error is the one to report
    for (const std::string& path : written_) fs::remove(path, ignored);
}

// Files of an earlier checkpoint that a new one would not overwrite by name.
Result<void> remove_old_checkpoint(const fs::path& directory) {
    std::error_code error;
    for (fs::directory_iterator it(directory, error), end; !error && it != end;
         it.increment(error)) {
        const std::string name = it->path().filename().string();
        if (!name.ends_with(".safetensors") && name != "model.safetensors.index.json") continue;
        if (!fs::remove(it->path(), error) || error) break;
    }
    if (error)
        return make_error(ErrorCode::kIo, "{}: cannot remove the old checkpoint: {}",
                          directory.string(), error.message());
    return {};
}

Result<void> prepare_directory(const SynthOptions& options) {
    std::error_code error;
    fs::create_directories(options.directory, error);
    if (error || !fs::is_directory(options.directory, error))
        return make_error(ErrorCode::kIo, "{}: cannot create the folder: {}", options.directory,
                          error ? error.message() : "a file is in its place");
    const bool empty = fs::is_empty(options.directory, error);
    if (error)
        return make_error(ErrorCode::kIo, "{}: cannot list: {}", options.directory,
                          error.message());
    if (empty) return {};
    if (options.overwrite == Overwrite::kRefuse)
        return make_error(ErrorCode::kInvalidArgument,
                          "{}: the folder is not empty; give another one or --force",
                          options.directory);
    return remove_old_checkpoint(options.directory);
}

Result<void> check_free_space(const std::string& directory, uint64_t needed) {
    std::error_code error;
    const fs::space_info space = fs::space(directory, error);
    if (error)
        return make_error(ErrorCode::kIo, "{}: cannot tell the free space: {}", directory,
                          error.message());
    if (space.available < needed)
        return make_error(ErrorCode::kExhausted, "{}: {} bytes are free, the checkpoint needs {}",
                          directory, space.available, needed);
    return {};
}

}  // namespace

Result<SynthSummary> write_synthetic_checkpoint(const Json& config_json,
                                                const SynthOptions& options, ThreadPool& pool) {
    const Config config = TRY(Config::from_json(config_json));
    const InventoryTotal total = inventory_total(config);
    TRY(prepare_directory(options));
    TRY(check_free_space(options.directory, total.bytes + total.num_tensors * kOverheadPerTensor));
    const std::vector<PlannedShard> shards = plan_shards(config, options.shard_bytes_max);
    CheckpointWriter writer(config, options, pool);
    if (auto written = writer.write_all(shards, config_json, total.bytes); !written) {
        writer.remove_written();
        return std::move(written).error();
    }
    return SynthSummary{total.num_tensors, total.bytes, shards.size()};
}

}  // namespace baleen
