// The complete list of tensors that a checkpoint of a given Config holds (spec section 2): names,
// dtypes, shapes. The loader checks files against it, synth writes it, inspect counts it.
// Pure functions of Config; the list is visited, never stored.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "model/config.h"
#include "tensor/dtype.h"

namespace baleen {

// What a tensor is for; decides how synth fills it.
enum class TensorRole : uint8_t {
    kEmbedding,   // rows by token id
    kLinear,      // [out, in] weight: bf16, e4m3 or packed e2m1
    kBlockScale,  // ue8m0 scales of the kLinear visited just before
    kNorm,        // RMSNorm weight
    kRouterBias,
    kHashTable,  // tid2eid
    kAttnSink,
    kPositionBias,  // ape
    kHcFn,
    kHcBase,
    kHcScale,
};

// Which part of the model a tensor belongs to; the rows of inspect's table.
enum class TensorGroup : uint8_t {
    kEmbeddingAndHead,
    kAttention,
    kCompressor,
    kIndexer,
    kRouter,
    kRoutedExperts,
    kSharedExpert,
    kHyperConnections,
    kNorms,
    kMtp,  // everything under mtp.*
};
inline constexpr size_t kNumTensorGroups = 10;
std::string_view group_name(TensorGroup group);

struct TensorSpec {
    std::string_view name{};  // valid during the visit only
    DType dtype = DType::kF32;
    TensorRole role = TensorRole::kLinear;
    TensorGroup group = TensorGroup::kAttention;
    std::array<uint64_t, 2> dims{};  // as stored, slowest first
    size_t rank = 1;
    uint64_t fan_in = 0;      // logical columns of the linear this is, or whose scales these are
    bool scales_fp4 = false;  // kBlockScale of an FP4 linear, one per 32 columns; else 128 x 128

    std::span<const uint64_t> shape() const { return {dims.data(), rank}; }
    uint64_t num_elements() const { return rank == 2 ? dims[0] * dims[1] : dims[0]; }
    uint64_t bytes() const { return num_elements() * dtype_bytes(dtype); }
};

using TensorVisitor = std::function<void(const TensorSpec&)>;

// Calls visitor once per tensor: globals, then layers in order, then MTP or DSpark stages.
void visit_inventory(const Config& config, const TensorVisitor& visitor);

struct InventoryTotal {
    uint64_t num_tensors = 0;
    uint64_t bytes = 0;
};
InventoryTotal inventory_total(const Config& config);

}  // namespace baleen
