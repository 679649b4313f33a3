// The sampling options that `baleen run` and `baleen chat` share, with their help.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>

#include "engine/sampler.h"

namespace baleen::cli {

// seed: none unless given. Both must outlive the parsing.
void add_sampling_options(CLI::App& command, SamplingParams& sampling,
                          std::optional<uint64_t>& seed);

}  // namespace baleen::cli
