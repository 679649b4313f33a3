#include "cli/command.h"

namespace baleen::cli {

void add_tokenize(CLI::App&, Chosen&) {}
void add_detokenize(CLI::App&, Chosen&) {}

}  // namespace baleen::cli
