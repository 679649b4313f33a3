// The options that every command with a model has.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "base/result.h"
#include "engine/engine.h"

namespace baleen::cli {

struct ModelArgs {
    std::string directory;  // empty before choose(): none given
    std::string numerics = "official";
    std::string impl = "auto";
    size_t threads = 0;  // 0: all processors

    enum class Without { kDefaultModel, kError };  // what happens without --model

    // Declares --model, --numerics, --impl and --threads.
    void add_to(CLI::App& command, Without without = Without::kDefaultModel);
    // Where none was given: sets directory to the default model (default_model.h) and says so in a
    // line on stderr.
    Result<void> choose();
    // kUnsupported when this processor cannot run the implementation.
    Result<EngineOptions> engine_options() const;
};

}  // namespace baleen::cli
