// Normalisers: what two executions of one command may print differently without having done
// anything different (spec 5.6). Each kind is declared by whoever asks for a replay; what it finds
// is replaced by its name in angle brackets.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace baleen::sandbox {

struct Normalisers {
    // Dates (2026-01-31, Jan 31), clock times, durations with a unit (0.03s, 1m2.5s, 12 ms) and
    // seconds, milli- or nanoseconds since 1970 -> <time>. In a line that has one, runs of blanks,
    // '=', '-' and '_' count as one: programs fill such lines up to a width.
    bool times = false;
    // "pid 12", "PID=12", "process 12", "sshd[12]", "/proc/12", "[1] 12" at a line's start -> <pid>
    bool pids = false;
    // The part of a path behind /tmp/ or /var/tmp/, and parts like tmpk3x_9ab or tmp.Xa81bc ->
    // <temp>
    bool temporary_names = false;
    // 0x and 4 to 16 hexadecimal digits; 12 or 16 of them alone, one a decimal digit -> <address>
    bool addresses = false;

    bool any() const { return times || pids || temporary_names || addresses; }
};

// "times", "pids", "temporary_names", "addresses".
Result<Normalisers> parse_normalisers(const std::vector<std::string>& names);

std::string normalise(std::string_view text, const Normalisers& normalisers);

}  // namespace baleen::sandbox
