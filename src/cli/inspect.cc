#include "cli/command.h"
namespace baleen::cli {
void add_inspect(CLI::App&, Chosen&) {}
}
