// The options of `baleen run`, with their help.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/model_options.h"
#include "engine/sampler.h"

namespace baleen::cli {

struct RunArgs {
    ModelArgs model;
    SamplingParams sampling;
    std::optional<uint64_t> seed;  // none: a new one for every run
    std::string tokenizer;         // empty: the model folder's
    std::optional<std::string> prompt;
    std::string file;
    int64_t max_tokens = 1024;
    std::vector<std::string> stops;
    bool no_bos = false;
    bool ignore_eos = false;
    bool json = false;

    // Declares all options, the model's included, and the examples.
    void add_to(CLI::App& command);
    // What --prompt says, else the file or standard input.
    Result<std::string> read_prompt() const;
};

}  // namespace baleen::cli
