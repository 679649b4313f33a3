// The checkpoints that `baleen synth` knows by name: their config.json, and the byte-level
// tokenizer that goes with the tiny one. Pure functions.
#pragma once

#include <cstdint>
#include <optional>

#include "base/json.h"
#include "base/result.h"

namespace baleen {

enum class SynthPreset {
    kTiny,   // every layer kind, 512 tokens, a few megabytes
    kFlash,  // V4-Flash whole, to be cut by overrides
};
// What `--preset flash-slice` keeps of V4-Flash unless told otherwise.
inline constexpr int64_t kFlashSliceLayers = 6;
inline constexpr int64_t kFlashSliceExperts = 64;

Json preset_config(SynthPreset preset);

struct ConfigOverrides {
    std::optional<int64_t> num_layers;  // keeps the first layers of the schedule and the MTP stages
    std::optional<int64_t> num_experts;  // per layer
};

// The same config with fewer layers or another number of experts. The result is not yet checked;
// only what the overrides themselves can get wrong is an error.
Result<Json> with_overrides(Json config, const ConfigOverrides& overrides);

// tokenizer.json for vocab_size >= 304 ids: 0-2 begin, end and pad of sequence, 3-258 the bytes (in
// the order of the official vocabulary), then the control tokens, then placeholders, so that every
// id has a text. No merges: one token per byte.
Json byte_tokenizer(int64_t vocab_size);

}  // namespace baleen
