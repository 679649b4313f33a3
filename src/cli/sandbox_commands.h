// The subcommands of `baleen sandbox`, one file each.
#pragma once

#include <string>
#include <string_view>

#include "cli/command.h"

namespace baleen::cli {

void add_sandbox_verify(CLI::App& sandbox, Chosen& chosen);
void add_sandbox_log(CLI::App& sandbox, Chosen& chosen);

// A line for a terminal, also one with text from a sandbox: control characters become \u00XX, which
// is right inside of JSON strings too.
std::string printable(std::string_view line);

}  // namespace baleen::cli
