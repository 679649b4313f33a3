#include "cli/sampling_options.h"

namespace baleen::cli {

void add_sampling_options(CLI::App& command, SamplingParams& sampling,
                          std::optional<uint64_t>& seed) {
    command.add_option("--temperature", sampling.temperature, "0 is greedy")
        ->check(CLI::Range(0.0, 100.0))
        ->capture_default_str();
    command
        .add_option("--top-p", sampling.top_p,
                    "Sample from the most probable tokens that together reach this; 1 is off")
        ->check(CLI::Range(0.0, 1.0))
        ->capture_default_str();
    command.add_option("--top-k", sampling.top_k, "Sample from this many tokens; 0 is off")
        ->check(CLI::NonNegativeNumber);
    command
        .add_option("--min-p", sampling.min_p,
                    "Sample from tokens at least this probable, as a part of the most probable "
                    "one; 0 is off")
        ->check(CLI::Range(0.0, 1.0));
    command.add_option("--seed", seed,
                       "Of the sampler; the same seed gives the same text (default: random)");
    command.add_flag("--greedy", sampling.greedy, "Always the most probable token");
}

}  // namespace baleen::cli
