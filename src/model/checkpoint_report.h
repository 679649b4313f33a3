// Holds a checkpoint's files against the inventory its config asks for. Weights::load refuses on any
// problem; inspect prints the whole report.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

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

}  // namespace baleen
