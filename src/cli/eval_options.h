// What the evaluations of `baleen eval` share: options, progress, output.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "agent/progress.h"
#include "agent/share.h"
#include "base/json.h"
#include "base/result.h"
#include "cli/command.h"
#include "cli/model_options.h"
#include "cli/progress.h"

namespace baleen::cli {

void add_eval_recall(CLI::App& eval, Chosen& chosen);
void add_eval_toolworld(CLI::App& eval, Chosen& chosen);
void add_eval_ppl(CLI::App& eval, Chosen& chosen);

struct EvalArgs {
    ModelArgs model;
    std::string json;  // a file, or "-" for stdout; empty: none

    // Declares --json and the model's options.
    void add_to(CLI::App& command);

    // Where the model's own evaluation data lies, unless `given` names a file.
    std::string data_path(const std::string& given, const char* file_name) const;
    // The table goes to stdout unless the JSON does.
    Result<void> write(const Json& json, const std::string& table) const;
};

// Shows evaluation steps on stderr, each task with a meter of its own; stops on Ctrl-C.
class EvalMeter {
  public:
    agent::EvalProgress function();

  private:
    std::string task_;
    std::unique_ptr<Progress> progress_;
};

// {"percent", "low", "high", "hits", "trials"}; the ends of the 95 % interval in percent too.
Json share_json(const agent::Share& share);
// "98.0 % (94.2 to 99.4)".
std::string share_text(const agent::Share& share);
// null where the number is not finite.
Json finite_json(double value);

}  // namespace baleen::cli
