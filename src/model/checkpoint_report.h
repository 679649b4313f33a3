// Holds a checkpoint's files against the inventory its config asks for. Weights::load refuses on
// any problem; inspect prints the whole report.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "model/config.h"
#include "model/inventory.h"
#include "tensor/safetensors.h"

namespace baleen {

struct CheckpointReport {
    std::vector<std::string> problems;  // unreadable shards, missing and misshapen tensors
    std::vector<std::string> unused;    // present, but not in the inventory
    std::array<InventoryTotal, kNumTensorGroups> groups{};  // what was found, by TensorGroup

    // Problems joined for an error message, the first `shown_max` spelled out.
    std::string problems_text(size_t shown_max) const;
};

CheckpointReport check_checkpoint(const Checkpoint& checkpoint, const Config& config);

// Where config.json does not state expert_dtype, takes it from the first expert's stored dtype: the
// first Flash upload has FP4 experts without saying so, Base has FP8 ones (spec 1.1).
void resolve_expert_dtype(const Checkpoint& checkpoint, Config& config);

// Block scales may be stored as ue8m0, or as f32 powers of two (spec 1.1 on Base, section 16).
bool is_acceptable_dtype(const TensorSpec& spec, const StoredTensor& stored);

// Reads every stored value of the inventory's tensors and reports, once per tensor, what no
// checkpoint should hold: NaN or infinity in f32 and bf16, NaN codes in e4m3 and ue8m0.
// progress may be empty.
std::vector<std::string> check_values(
    const Checkpoint& checkpoint, const Config& config, ThreadPool& pool,
    const std::function<void(uint64_t bytes_done, uint64_t bytes_total)>& progress);

}  // namespace baleen
