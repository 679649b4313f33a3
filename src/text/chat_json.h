// Conversations and messages from JSON in the form of OpenAI's chat completions, with the fields
// that the encoder adds (`wo_eos`, `task`, `tools` on a message, `context`, ...). Unknown fields
// are ignored. Errors are kInvalidArgument and name the field, as in "messages[2]: role is
// missing".
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "text/chat.h"
#include "text/json_text.h"

namespace baleen {

// A whole request: messages, tools (put in their place by attach_tools), thinking_mode,
// reasoning_effort, drop_thinking, context, add_bos, dialect. dialect, where given, overrides the
// request's own. Neither: v4.
Result<Conversation> conversation_from_json(const JsonText& request,
                                            std::optional<Dialect> dialect = std::nullopt);

// One message. Reads `reasoning` where there is no `reasoning_content`; arguments of a call may be
// JSON text or an object, name and arguments may stand in the call itself. dialect decides about
// namespaces of tools, which only V4.1 has.
Result<Message> message_from_json(const JsonText& message, Dialect dialect = Dialect::kV4);

// The schemas (JSON text of each `function` object, for V4.1 with its qualified name) of a list of
// {"type": "function", "function": {...}}. null: none.
Result<std::vector<std::string>> tools_from_json(const JsonText& tools,
                                                 Dialect dialect = Dialect::kV4);

// A string, a list of parts or null.
Result<std::vector<ContentPart>> content_from_json(const JsonText& content);

}  // namespace baleen
