#include "tensor/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_set>
#include <utility>

#include "base/json.h"

namespace baleen {
namespace {

constexpr size_t kIndexBytesMax = size_t{256} << 20;

// Names come from hostile files: messages show at most this much of one.
std::string shown(std::string_view text) {
    constexpr size_t kShownMax = 120;
    return text.size() <= kShownMax ? std::string(text)
                                    : std::string(text.substr(0, kShownMax)) + "...";
}

// Event-wise JSON reading, so that 150,000 keys cost linear time and no tree. Events that a reader
// does not override are of a type that cannot stand where it occurred.
class EventReader : public nlohmann::json_sax<Json> {
  public:
    bool null() override { return fail("null is not allowed"); }
    bool boolean(bool) override { return fail("a boolean is not allowed"); }
    bool number_integer(int64_t value) override { return fail("{} is not allowed", value); }
    bool number_unsigned(uint64_t value) override { return fail("{} is not allowed", value); }
    bool number_float(double value, const std::string&) override {
        return fail("{} is not allowed", value);
    }
    bool string(std::string&) override { return fail("a string is not allowed"); }
    bool binary(Json::binary_t&) override { return fail("binary is not allowed"); }
    bool start_object(size_t) override { return fail("an object is not allowed"); }
    bool end_object() override { return fail("an object is not allowed"); }
    bool start_array(size_t) override { return fail("a list is not allowed"); }
    bool end_array() override { return fail("a list is not allowed"); }
    bool parse_error(size_t position, const std::string&,
                     const nlohmann::detail::exception&) override {
        return fail("bad JSON at byte {}", position);
    }

    // Runs over the whole text; the error names `what`.
    Result<void> read(std::string_view text) {
        if (Json::sax_parse(text.begin(), text.end(), this)) return {};
        return Error{ErrorCode::kCorrupt, where().empty() ? problem_ : where() + ": " + problem_};
    }

  protected:
    template <typename... Args>
    bool fail(fmt::format_string<Args...> format, Args&&... args) {
        if (problem_.empty()) problem_ = fmt::format(format, std::forward<Args>(args)...);
        return false;
    }
    // What the reader was at when it failed.
    virtual std::string where() const = 0;

  private:
    std::string problem_;
};

// {"__metadata__": {...}, "NAME": {"dtype": S, "shape": [..], "data_offsets": [begin, end]}, ...}
class HeaderReader final : public EventReader {
  public:
    struct Entry {
        StoredTensor tensor;
        std::vector<uint64_t> offsets;
        uint8_t fields_seen = 0;  // one bit per Field
    };

    std::vector<Entry> take_entries() { return std::move(entries_); }

    bool start_object(size_t) override {
        if (in_list_ || depth_ >= 2) return fail("an object is not allowed");
        if (depth_ == 1 && !in_metadata_) entries_.emplace_back().tensor.name = name_;
        ++depth_;
        return true;
    }
    bool end_object() override {
        --depth_;
        if (depth_ != 1) return true;
        if (std::exchange(in_metadata_, false)) return true;
        const Entry& entry = entries_.back();
        if (entry.fields_seen != 7) return fail("dtype, shape and data_offsets are required");
        if (entry.offsets.size() != 2)
            return fail("data_offsets has {} numbers, expected 2", entry.offsets.size());
        return true;
    }
    bool key(std::string& text) override {
        if (depth_ == 1) {
            name_ = std::move(text);
            in_metadata_ = name_ == "__metadata__";
            return true;
        }
        if (in_metadata_) return true;
        field_ = text == "dtype"          ? kDtype
                 : text == "shape"        ? kShape
                 : text == "data_offsets" ? kOffsets
                                          : kNone;
        if (field_ == kNone) return fail("unknown field {}", shown(text));
        uint8_t& seen = entries_.back().fields_seen;
        if (seen & field_) return fail("{} is given twice", text);
        seen = static_cast<uint8_t>(seen | field_);
        return true;
    }
    bool string(std::string& text) override {
        if (in_metadata_ && depth_ == 2) return true;
        if (depth_ != 2 || field_ != kDtype) return fail("a string is not allowed");
        entries_.back().tensor.dtype = dtype_from_name(text);
        entries_.back().tensor.dtype_text = shown(text);
        return true;
    }
    bool start_array(size_t) override {
        if (depth_ != 2 || in_metadata_ || in_list_ || field_ == kDtype)
            return fail("a list is not allowed");
        in_list_ = true;
        return true;
    }
    bool end_array() override {
        in_list_ = false;
        return true;
    }
    bool number_unsigned(uint64_t value) override {
        if (!in_list_) return fail("{} is not allowed", value);
        Entry& entry = entries_.back();
        std::vector<uint64_t>& list = field_ == kShape ? entry.tensor.shape : entry.offsets;
        if (list.size() == kSafetensorsRankMax)
            return fail("a list has more than {} numbers", kSafetensorsRankMax);
        list.push_back(value);
        return true;
    }

  private:
    enum Field : uint8_t { kNone = 0, kDtype = 1, kShape = 2, kOffsets = 4 };

    std::string where() const override {
        return depth_ == 0 ? "header" : "header, tensor " + shown(name_);
    }

    std::vector<Entry> entries_;
    std::string name_;
    Field field_ = kNone;
    int depth_ = 0;
    bool in_metadata_ = false;
    bool in_list_ = false;
};

// {"metadata": {...}, "weight_map": {"NAME": "FILE", ...}}
class IndexReader final : public EventReader {
  public:
    // FILE and the tensors it must hold, in order of first appearance.
    struct File {
        std::string file;
        std::vector<std::string> tensors;
    };
    std::vector<File> take_files() { return std::move(files_); }

    bool null() override { return skipped("null"); }
    bool boolean(bool) override { return skipped("a boolean"); }
    bool number_integer(int64_t) override { return skipped("a number"); }
    bool number_unsigned(uint64_t) override { return skipped("a number"); }
    bool number_float(double, const std::string&) override { return skipped("a number"); }
    bool start_array(size_t) override {
        ++depth_;
        return skipped("a list");
    }
    bool end_array() override {
        --depth_;
        return true;
    }
    bool start_object(size_t) override {
        ++depth_;
        return !in_map_ || depth_ == 2 ? true : fail("an object is not allowed");
    }
    bool end_object() override {
        if (--depth_ == 1) in_map_ = false;
        return true;
    }
    bool key(std::string& text) override {
        if (depth_ == 1) {
            if (text == "weight_map" && std::exchange(map_seen_, true))
                return fail("weight_map is given twice");
            in_map_ = text == "weight_map";
        } else if (in_map_) {
            name_ = std::move(text);
            if (!names_.insert(name_).second) return fail("the tensor is listed twice");
        }
        return true;
    }
    bool string(std::string& file) override {
        if (!in_map_) return true;
        if (depth_ != 2) return fail("weight_map is not an object");
        // A shard is a file of this folder: nothing in an index may reach outside it.
        if (file.empty() || file == "." || file == ".." || file.find('/') != std::string::npos ||
            file.find('\0') != std::string::npos)
            return fail("{:?} is not a file name inside the folder", shown(file));
        auto [it, is_new] = file_idx_.try_emplace(file, files_.size());
        if (is_new) files_.push_back({.file = file, .tensors = {}});
        if (files_.size() > kSafetensorsShardsMax)
            return fail("more than {} shards", kSafetensorsShardsMax);
        files_[it->second].tensors.push_back(name_);
        return true;
    }
    bool map_seen() const { return map_seen_; }

  private:
    bool skipped(const char* what) {
        return in_map_ ? fail("{} is not allowed in weight_map", what) : true;
    }
    std::string where() const override {
        return in_map_ && depth_ >= 2 ? "weight_map, tensor " + shown(name_) : "index";
    }

    std::vector<File> files_;
    std::unordered_map<std::string, size_t> file_idx_;
    std::unordered_set<std::string> names_;
    std::string name_;
    int depth_ = 0;
    bool in_map_ = false;
    bool map_seen_ = false;
};

Result<std::vector<IndexReader::File>> read_index(const std::string& path) {
    const std::string text = TRY(read_file(path, kIndexBytesMax));
    IndexReader reader;
    auto read = reader.read(text);
    if (!read) return std::move(read).error().in(path);
    if (!reader.map_seen()) return make_error(ErrorCode::kCorrupt, "{}: has no weight_map", path);
    return reader.take_files();
}

// The bytes that shape and dtype ask for; empty on overflow or when the dtype is unknown.
std::optional<uint64_t> stored_bytes(const StoredTensor& tensor) {
    uint64_t bytes = dtype_bytes(*tensor.dtype);
    for (const uint64_t dim : tensor.shape)
        if (__builtin_mul_overflow(bytes, dim, &bytes)) return std::nullopt;
    return bytes;
}

// Checks one entry against the data section and gives it its bytes.
Result<void> place(HeaderReader::Entry& entry, std::span<const uint8_t> data) {
    const uint64_t begin = entry.offsets[0];
    const uint64_t end = entry.offsets[1];
    StoredTensor& tensor = entry.tensor;
    if (begin > end || end > data.size())
        return make_error(ErrorCode::kCorrupt,
                          "tensor {}: data_offsets are [{}, {}], expected 0 <= begin <= end <= {}",
                          shown(tensor.name), begin, end, data.size());
    if (tensor.dtype && stored_bytes(tensor) != end - begin)
        return make_error(ErrorCode::kCorrupt, "tensor {}: {} {} does not take {} bytes",
                          shown(tensor.name), tensor.dtype_text, tensor.shape_text(), end - begin);
    tensor.data = data.subspan(begin, end - begin);
    return {};
}

Result<std::span<const uint8_t>> header_of(std::span<const uint8_t> file) {
    if (file.size() < 8)
        return make_error(ErrorCode::kCorrupt, "{} bytes, a safetensors file has at least 8",
                          file.size());
    uint64_t size = 0;
    std::memcpy(&size, file.data(), 8);
    static_assert(std::endian::native == std::endian::little);
    const uint64_t size_max = std::min<uint64_t>(file.size() - 8, kSafetensorsHeaderBytesMax);
    if (size > size_max)
        return make_error(ErrorCode::kCorrupt, "header length is {}, expected at most {}", size,
                          size_max);
    return file.subspan(8, size);
}

}  // namespace

std::string StoredTensor::shape_text() const {
    std::string text = "[";
    for (size_t i = 0; i < shape.size(); ++i)
        text += fmt::format("{}{}", i == 0 ? "" : ", ", shape[i]);
    return text + "]";
}

Result<std::vector<StoredTensor>> parse_safetensors(std::span<const uint8_t> file) {
    const auto header = TRY(header_of(file));
    const auto data = file.subspan(8 + header.size());
    HeaderReader reader;
    TRY(reader.read({reinterpret_cast<const char*>(header.data()), header.size()}));
    std::vector<HeaderReader::Entry> entries = reader.take_entries();

    std::unordered_set<std::string_view> names;
    for (HeaderReader::Entry& entry : entries) {
        if (!names.insert(entry.tensor.name).second)
            return make_error(ErrorCode::kCorrupt, "tensor {} is in the header twice",
                              shown(entry.tensor.name));
        TRY(place(entry, data));
    }
    std::sort(entries.begin(), entries.end(),
              [](const auto& a, const auto& b) { return a.offsets < b.offsets; });
    uint64_t covered = 0;
    for (const HeaderReader::Entry& entry : entries) {
        if (entry.offsets[0] != covered)
            return make_error(ErrorCode::kCorrupt, "tensor {} begins at byte {}, {} at byte {}",
                              shown(entry.tensor.name), entry.offsets[0],
                              entry.offsets[0] < covered ? "inside the tensor that ends"
                                                         : "after a hole that begins",
                              covered);
        covered = entry.offsets[1];
    }
    if (covered != data.size())
        return make_error(ErrorCode::kCorrupt, "the tensors end at byte {}, the data at byte {}",
                          covered, data.size());
    std::vector<StoredTensor> tensors;
    tensors.reserve(entries.size());
    for (HeaderReader::Entry& entry : entries) tensors.push_back(std::move(entry.tensor));
    return tensors;
}

Result<Checkpoint> Checkpoint::open(const std::string& directory) {
    Checkpoint checkpoint;
    auto index = read_index(directory + "/model.safetensors.index.json");
    if (index) {
        for (const IndexReader::File& file : *index)
            checkpoint.add_shard(directory + "/" + file.file, &file.tensors);
    } else if (index.error().code != ErrorCode::kNotFound) {
        return std::move(index).error();
    } else {
        checkpoint.add_shard(directory + "/model.safetensors", nullptr);
        if (checkpoint.shards_.empty())
            return make_error(ErrorCode::kNotFound,
                              "{}: there is no model.safetensors.index.json, and {}", directory,
                              checkpoint.problems_.at(0));
    }
    checkpoint.index_names();
    return checkpoint;
}

// listed: the tensors that the index puts into this shard; null takes whatever is there.
void Checkpoint::add_shard(const std::string& path, const std::vector<std::string>* listed) {
    const std::string in_index =
        listed ? fmt::format(" (the index puts {} tensors there)", listed->size()) : "";
    auto file = MappedFile::open(path);
    if (!file) {
        problems_.push_back(file.error().message + in_index);
        return;
    }
    auto tensors = parse_safetensors(file->bytes());
    if (!tensors) {
        problems_.push_back(fmt::format("{}: {}{}", path, tensors.error().message, in_index));
        return;
    }
    std::unordered_set<std::string_view> wanted;
    if (listed) wanted.insert(listed->begin(), listed->end());
    const auto shard_idx = static_cast<uint32_t>(shards_.size());
    for (StoredTensor& tensor : *tensors) {
        if (listed && wanted.erase(tensor.name) == 0) {
            unlisted_.push_back(std::move(tensor.name));
            continue;
        }
        tensor.shard_idx = shard_idx;
        bytes_ += tensor.data.size();
        tensors_.push_back(std::move(tensor));
    }
    if (listed)
        for (const std::string& name : *listed)
            if (wanted.contains(name))
                problems_.push_back(fmt::format("{}: has no tensor {}, which the index puts there",
                                                path, shown(name)));
    shards_.push_back(std::move(*file));
}

void Checkpoint::index_names() {
    by_name_.reserve(tensors_.size());
    for (size_t i = 0; i < tensors_.size(); ++i) by_name_.emplace(tensors_[i].name, i);
}

const StoredTensor* Checkpoint::find(std::string_view name) const {
    const auto it = by_name_.find(name);
    return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

}  // namespace baleen
