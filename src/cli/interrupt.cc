#include "cli/interrupt.h"

#include <csignal>

namespace baleen::cli {
namespace {

volatile std::sig_atomic_t signal_seen = 0;

void watch(int flags) {
    struct sigaction action = {};
    action.sa_handler = [](int) { signal_seen = 1; };
    action.sa_flags = flags;
    sigaction(SIGINT, &action, nullptr);
}

void watch(int signal) {
    struct sigaction action = {};
    action.sa_handler = [](int) { signal_seen = 1; };
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    sigaction(signal, &action, nullptr);
}

}  // namespace

void watch_interrupts() {
    watch(SIGINT);
}

void watch_termination() {
    watch(SIGTERM);
    watch(static_cast<int>(SA_RESETHAND));
void watch_every_interrupt() {
    watch(0);
}

bool interrupted() {
    return signal_seen != 0;
}

void forget_interrupt() {
    signal_seen = 0;
}

}  // namespace baleen::cli
