// The options of `baleen chat`, with their help.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "base/result.h"
#include "cli/model_options.h"
#include "engine/sampler.h"
#include "serve/service.h"

namespace baleen::cli {

struct ChatArgs {
    ModelArgs model;
    SamplingParams sampling;
    std::optional<uint64_t> seed;  // none: a new one for every answer
    std::string tokenizer;         // empty: the model folder's
    std::string dialect = "v4";
    std::string think = "high";
    std::string system;
    std::string tools;  // a file; empty: none
    int64_t context = 0;
    int64_t max_tokens = 32768;
    bool mtp = false;
    bool reasoning = false;
    std::string history;  // empty: none
    std::string script;

    // Declares all options, the model's included, and the examples.
    void add_to(CLI::App& command);
    Result<serve::ServiceOptions> service_options() const;
};

}  // namespace baleen::cli
