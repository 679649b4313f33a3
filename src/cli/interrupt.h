// SIGINT (Ctrl-C) as a question that a long command asks between two steps.
#pragma once

namespace baleen::cli {

// From here on SIGINT only makes interrupted() true; a second one ends the program as usual.
void watch_interrupts();

// Whether SIGINT has come since watch_interrupts().
bool interrupted();

}  // namespace baleen::cli
