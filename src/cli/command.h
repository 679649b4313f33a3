// The shape of a subcommand. main.cc owns the parser; each `add_*` declares its flags, help and
// examples, and sets `chosen` to the function to run. Nothing runs during parsing.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "base/result.h"

namespace baleen::cli {

// Documented in docs/cli.md.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;    // failed while running
inline constexpr int kExitBadInput = 2;  // bad arguments or input; one line on stderr
inline constexpr int kExitInterrupted = 130;

struct Chosen {
    std::function<Result<int>()> run;  // the exit status, or an error that main prints
};

void add_tokenize(CLI::App& app, Chosen& chosen);
void add_detokenize(CLI::App& app, Chosen& chosen);
void add_render(CLI::App& app, Chosen& chosen);
void add_parse(CLI::App& app, Chosen& chosen);
void add_inspect(CLI::App& app, Chosen& chosen);
void add_synth(CLI::App& app, Chosen& chosen);
void add_cost(CLI::App& app, Chosen& chosen);
void add_logits(CLI::App& app, Chosen& chosen);
void add_run(CLI::App& app, Chosen& chosen);
void add_bench(CLI::App& app, Chosen& chosen);
void add_chat(CLI::App& app, Chosen& chosen);
void add_serve(CLI::App& app, Chosen& chosen);
void add_eval(CLI::App& app, Chosen& chosen);
void add_sandbox(CLI::App& app, Chosen& chosen);
void add_completion(CLI::App& app, Chosen& chosen);

}  // namespace baleen::cli
