// baleen eval: what a model can do, measured by the engine. One file per evaluation.
#include "cli/eval_options.h"

namespace baleen::cli {

void add_eval(CLI::App& app, Chosen& chosen) {
    CLI::App* command =
        app.add_subcommand("eval", "Measure what a model can do: recall, toolworld, ppl");
    command->require_subcommand(1);
    add_eval_recall(*command, chosen);
    add_eval_toolworld(*command, chosen);
    add_eval_ppl(*command, chosen);
    command->footer(
        "`baleen eval EVALUATION --help` shows the options of one.\n\n"
        "Examples:\n"
        "  baleen eval recall --lengths 4K,64K --svg recall.svg\n"
        "  baleen eval toolworld --mtp\n"
        "  baleen eval ppl --text book.txt --context 4096 --json -");
}

}  // namespace baleen::cli
