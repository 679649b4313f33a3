// The options that every command with a model has.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "base/result.h"
#include "engine/engine.h"

namespace baleen::cli {

struct ModelArgs {
    std::string directory;
    std::string numerics = "official";
    std::string impl = "auto";
    size_t threads = 0;  // 0: all processors

    // Declares --model, --numerics, --impl and --threads.
    void add_to(CLI::App& command);
    // kUnsupported when this processor cannot run the implementation.
    Result<EngineOptions> engine_options() const;
};

}  // namespace baleen::cli
