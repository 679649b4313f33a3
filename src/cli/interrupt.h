// SIGINT (Ctrl-C) as a question that a long command asks between two steps.
#pragma once

namespace baleen::cli {

// From here on SIGINT only makes interrupted() true; a second one ends the program as usual.
void watch_interrupts();

// SIGTERM likewise: for servers, which service managers stop with it.
void watch_termination();

// Whether a watched signal has come.
bool interrupted();

}  // namespace baleen::cli
