// SIGINT (Ctrl-C) as a question that a long command asks between two steps.
#pragma once

namespace baleen::cli {

// From here on SIGINT only makes interrupted() true; a second one ends the program as usual.
void watch_interrupts();

// SIGTERM likewise: for servers, which service managers stop with it.
void watch_termination();

// SIGINT again, but it may come as often as it likes and never ends the program.
void watch_every_interrupt();

// Whether a watched signal has come since watching began or the last forget_interrupt().
bool interrupted();
void forget_interrupt();

}  // namespace baleen::cli
