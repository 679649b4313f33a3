// Writes checkpoints with random weights, for any Config, in the official layout (spec section 2).
// The numbers are scaled so that activations stay of order 1 through any number of layers. Same
// bytes for the same config and seed, whatever the thread count; a few megabytes of memory.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "model/inventory.h"

namespace baleen {

enum class Overwrite { kRefuse, kReplace };

struct SynthOptions {
    std::string directory;  // created if need be
    uint64_t seed = 1;
    uint64_t shard_bytes_max = 4'000'000'000;  // a single larger tensor gets a shard of its own
    // kRefuse: the directory must be empty. kReplace: its *.safetensors and index go first.
    Overwrite overwrite = Overwrite::kRefuse;
    std::optional<Json> tokenizer{};  // written as tokenizer.json
    std::function<void(uint64_t bytes_done, uint64_t bytes_total)> progress{};  // from this thread
};

struct SynthSummary {
    uint64_t num_tensors = 0;
    uint64_t bytes = 0;
    size_t num_shards = 0;
};

// Checks config_json as Config::from_json does, then writes config.json (config_json itself),
// shards and index. Fails before writing when the disk has too little room; removes what it wrote
// when it fails later. The index and config.json come last: a folder cut short does not load.
Result<SynthSummary> write_synthetic_checkpoint(const Json& config_json,
                                                const SynthOptions& options, ThreadPool& pool);

}  // namespace baleen
