#include "model/checkpoint_report.h"

#include <algorithm>
#include <cstring>

namespace baleen {
namespace {

std::string shape_text(std::span<const uint64_t> shape) {
    return shape.size() == 1 ? fmt::format("[{}]", shape[0])
                             : fmt::format("[{}, {}]", shape[0], shape[1]);
}

// Elements whose bits under the mask (all but the sign) are first_bad or above.
template <typename Word>
size_t count_bad(std::span<const uint8_t> bytes, Word magnitude_mask, Word first_bad) {
    size_t count = 0;
    for (size_t i = 0; i + sizeof(Word) <= bytes.size(); i += sizeof(Word)) {
        Word bits;
        std::memcpy(&bits, bytes.data() + i, sizeof bits);
        count += static_cast<Word>(bits & magnitude_mask) >= first_bad;
    }
    return count;
}

size_t count_bad_values(DType dtype, std::span<const uint8_t> bytes) {
    switch (dtype) {
        case DType::kF32: return count_bad<uint32_t>(bytes, 0x7FFFFFFF, 0x7F800000);
        case DType::kBF16: return count_bad<uint16_t>(bytes, 0x7FFF, 0x7F80);
        case DType::kF8E4M3: return count_bad<uint8_t>(bytes, 0x7F, 0x7F);
        case DType::kF8E8M0: return count_bad<uint8_t>(bytes, 0xFF, 0xFF);
        case DType::kI8:  // every nibble is a number
        case DType::kI64: return 0;
    }
    return 0;
}

// A part of a tensor small enough to share out among threads.
struct ValueRange {
    const StoredTensor* tensor;
    std::span<const uint8_t> bytes;
};

std::vector<ValueRange> value_ranges(const Checkpoint& checkpoint, const Config& config) {
    constexpr size_t kRangeBytes = size_t{4} << 20;
    std::vector<ValueRange> ranges;
    visit_inventory(config, [&](const TensorSpec& spec) {
        const StoredTensor* tensor = checkpoint.find(spec.name);
        if (tensor == nullptr || !tensor->dtype) return;
        for (size_t at = 0; at < tensor->data.size(); at += kRangeBytes)
            ranges.push_back({tensor, tensor->data.subspan(
                                          at, std::min(kRangeBytes, tensor->data.size() - at))});
    });
    return ranges;
}

}  // namespace

std::string CheckpointReport::problems_text(size_t shown_max) const {
    std::string text =
        fmt::format("{} {}:", problems.size(), problems.size() == 1 ? "problem" : "problems");
    const size_t shown = std::min(shown_max, problems.size());
    for (size_t i = 0; i < shown; ++i) text += "\n  " + problems[i];
    if (shown < problems.size()) text += fmt::format("\n  and {} more", problems.size() - shown);
    return text;
}

bool is_acceptable_dtype(const TensorSpec& spec, const StoredTensor& stored) {
    if (stored.dtype == spec.dtype) return true;
    return spec.role == TensorRole::kBlockScale && stored.dtype == DType::kF32;
}

CheckpointReport check_checkpoint(const Checkpoint& checkpoint, const Config& config) {
    CheckpointReport report;
    report.problems = checkpoint.problems();
    const std::vector<StoredTensor>& tensors = checkpoint.tensors();
    std::vector<bool> used(tensors.size());
    visit_inventory(config, [&](const TensorSpec& spec) {
        const StoredTensor* stored = checkpoint.find(spec.name);
        if (stored == nullptr) {
            report.problems.push_back(fmt::format("{} is missing, expected {} {}", spec.name,
                                                  dtype_name(spec.dtype),
                                                  shape_text(spec.shape())));
            return;
        }
        used[static_cast<size_t>(stored - tensors.data())] = true;
        InventoryTotal& group = report.groups[static_cast<size_t>(spec.group)];
        ++group.num_tensors;
        group.bytes += stored->data.size();
        if (!is_acceptable_dtype(spec, *stored) || !std::ranges::equal(stored->shape, spec.shape()))
            report.problems.push_back(fmt::format(
                "{} is {} {}, expected {} {}", spec.name, stored->dtype_text, stored->shape_text(),
                dtype_name(spec.dtype), shape_text(spec.shape())));
    });
    for (size_t i = 0; i < tensors.size(); ++i)
        if (!used[i]) report.unused.push_back(tensors[i].name);
    report.unused.insert(report.unused.end(), checkpoint.unlisted().begin(),
                         checkpoint.unlisted().end());
    return report;
}

void resolve_expert_dtype(const Checkpoint& checkpoint, Config& config) {
    if (config.expert_dtype_stated) return;
    const StoredTensor* first = checkpoint.find("layers.0.ffn.experts.0.w1.weight");
    if (first != nullptr && first->dtype == DType::kF8E4M3) config.expert_dtype = ExpertDType::kFp8;
}

std::vector<std::string> check_values(
    const Checkpoint& checkpoint, const Config& config, ThreadPool& pool,
    const std::function<void(uint64_t bytes_done, uint64_t bytes_total)>& progress) {
    const std::vector<ValueRange> ranges = value_ranges(checkpoint, config);
    uint64_t bytes_total = 0;
    for (const ValueRange& range : ranges) bytes_total += range.bytes.size();
    std::vector<size_t> num_bad(ranges.size());
    constexpr size_t kRangesPerStep = 64;
    uint64_t bytes_done = 0;
    for (size_t first = 0; first < ranges.size(); first += kRangesPerStep) {
        const size_t count = std::min(kRangesPerStep, ranges.size() - first);
        pool.parallel_for(count, [&](size_t i, size_t) {
            const ValueRange& range = ranges[first + i];
            num_bad[first + i] = count_bad_values(*range.tensor->dtype, range.bytes);
        });
        for (size_t i = 0; i < count; ++i) bytes_done += ranges[first + i].bytes.size();
        if (progress) progress(bytes_done, bytes_total);
    }
    std::vector<std::string> problems;
    for (size_t i = 0; i < ranges.size();) {
        const StoredTensor* tensor = ranges[i].tensor;
        size_t bad = 0;
        for (; i < ranges.size() && ranges[i].tensor == tensor; ++i) bad += num_bad[i];
        if (bad != 0)
            problems.push_back(fmt::format("{} has {} {} values that are NaN or infinite",
                                           tensor->name, bad, tensor->dtype_text));
    }
    return problems;
}

}  // namespace baleen
