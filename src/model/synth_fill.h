// The random contents of synthetic tensors: any byte range of any tensor can be made on its own, so
// threads share the work without changing a byte.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "model/inventory.h"

namespace baleen {

// Ranges must start at a multiple of this many bytes of their tensor.
inline constexpr uint64_t kFillAlignment = 16;

class TensorFiller {
  public:
    explicit TensorFiller(const Config& config);

    // Bytes [offset, offset + out.size()) of the tensor `spec`, for the given checkpoint seed.
    void fill(const TensorSpec& spec, uint64_t seed, uint64_t offset, std::span<uint8_t> out) const;

  private:
    void fill_floats(const TensorSpec& spec, uint64_t seed, uint64_t offset,
                     std::span<uint8_t> out) const;
    void fill_hash_table(uint64_t seed, uint64_t offset, std::span<uint8_t> out) const;

    uint64_t num_experts_;
    size_t num_experts_per_tok_;
    std::vector<float> normal_;             // [65536] standard normal quantiles
    std::vector<uint16_t> normal_bf16_;     // the same as bf16
    std::array<uint8_t, 256> normal_e4m3_;  // normal quantiles times kE4m3Std
};

}  // namespace baleen
