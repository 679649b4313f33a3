#include "model/checkpoint_report.h"

#include <algorithm>

namespace baleen {
namespace {

std::string shape_text(std::span<const uint64_t> shape) {
    return shape.size() == 1 ? fmt::format("[{}]", shape[0])
                             : fmt::format("[{}, {}]", shape[0], shape[1]);
}

}  // namespace

std::string CheckpointReport::problems_text(size_t shown_max) const {
    std::string text = fmt::format("{} {}:", problems.size(),
                                   problems.size() == 1 ? "problem" : "problems");
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
                                                  dtype_name(spec.dtype), shape_text(spec.shape())));
            return;
        }
        used[static_cast<size_t>(stored - tensors.data())] = true;
        InventoryTotal& group = report.groups[static_cast<size_t>(spec.group)];
        ++group.num_tensors;
        group.bytes += stored->data.size();
        if (!is_acceptable_dtype(spec, *stored) || !std::ranges::equal(stored->shape, spec.shape()))
            report.problems.push_back(fmt::format("{} is {} {}, expected {} {}", spec.name,
                                                  stored->dtype_text, stored->shape_text(),
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

}  // namespace baleen
