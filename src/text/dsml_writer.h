// Tool calls as the prompt shows them (spec/chat-encoding.md, section 8; V4.1: section 12).
#pragma once

#include <vector>

#include "base/result.h"
#include "text/chat.h"
#include "text/prompt_writer.h"

namespace baleen {

// Writes the calls block, without the newlines that lead to it. kInvalidArgument, naming the call,
// where arguments are JSON that a prompt cannot carry.
Result<void> write_calls(const std::vector<ToolCall>& calls, Dialect dialect, PromptWriter& out);

}  // namespace baleen
