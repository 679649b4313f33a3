// Standard input and output as whole texts, with a limit and checked errors.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace baleen::cli {

// Most bytes that a command reads from stdin.
inline constexpr size_t kStdinBytesMax = size_t{1} << 30;

// All of stdin; kExhausted beyond kStdinBytesMax.
Result<std::string> read_stdin();

// All bytes of text, nothing added.
Result<void> write_stdout(std::string_view text);

}  // namespace baleen::cli
