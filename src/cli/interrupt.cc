#include "cli/interrupt.h"

#include <csignal>

namespace baleen::cli {
namespace {

volatile std::sig_atomic_t signal_seen = 0;

void watch(int signal, int flags) {
    struct sigaction action = {};
    action.sa_handler = [](int) { signal_seen = 1; };
    action.sa_flags = flags;
    sigaction(signal, &action, nullptr);
}

}  // namespace

void watch_interrupts() {
    watch(SIGINT, static_cast<int>(SA_RESETHAND));
}

void watch_termination() {
    watch(SIGTERM, static_cast<int>(SA_RESETHAND));
}

void watch_every_interrupt() {
    watch(SIGINT, 0);
}

bool interrupted() {
    return signal_seen != 0;
}

void forget_interrupt() {
    signal_seen = 0;
}

}  // namespace baleen::cli
