// The tool world's shell: one command in one folder, as its own process group, confined and
// limited.
//
//   kConfined  `/bin/sh -c COMMAND` under confinement.h
//   kListed    without Landlock: only the commands of train/pocket/shell.py, started without a
//   shell
//              and with paths below the folder; others are `not found`
//
// The environment is PATH, LC_ALL=C and HOME=. alone. When the command ends, so does its whole
// process group, whatever it left running. Any thread may run a command; the fork leads straight to
// exec.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace baleen::agent {

enum class ShellMode { kConfined, kListed };

// The better one that this system can do.
ShellMode best_shell_mode();

struct ShellLimits {
    std::chrono::milliseconds time_max{10'000};  // then `exit 124`
    int cpu_seconds_max = 5;
    size_t output_bytes_max = 64 << 10;  // of stdout and of stderr; beyond it `exit 125`
    size_t file_bytes_max = 1 << 20;
    size_t memory_bytes_max = size_t{1} << 30;
    int open_files_max = 64;
};

// The tool's text: stdout without newlines at its end, `(no output)`, or `exit CODE: STDERR`.
// kIo: the system could not start it.
Result<std::string> run_shell_command(const std::string& command, const std::string& folder,
                                      ShellMode mode, const ShellLimits& limits = {});

}  // namespace baleen::agent
