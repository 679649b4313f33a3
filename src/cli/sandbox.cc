// baleen sandbox: sandboxes and what they are made of.
#include "cli/command.h"
#include "cli/sandbox_images.h"

namespace baleen::cli {

void add_sandbox(CLI::App& app, Chosen& chosen) {
    CLI::App* command = app.add_subcommand("sandbox", "Sandboxes and their images");
    command->require_subcommand(1);
    add_sandbox_images(*command, chosen);
    command->footer(
        "`baleen sandbox COMMAND --help` shows the options of one.\n\n"
        "Examples:\n"
        "  baleen sandbox images list");
}

}  // namespace baleen::cli
