// Namespaces of tools in V4.1 (spec/chat-encoding.md, section 12): a tool is called ns::name in its
// schema and in calls, and its description starts with that of the namespace.
#pragma once

#include <string>

#include "base/result.h"
#include "text/json_text.h"

namespace baleen {

// space: a namespace's name, or an object with name and description; nullptr if none is given.
// kInvalidArgument where name and space say different things, or hold more than one "::".
Result<std::string> qualified_tool_name(const std::string& name, const JsonText* space);

// The `function` object as the prompt shows it. space: that of the tool, which goes before one
// inside the function. REQUIRES: an object.
Result<JsonText> qualified_tool(const JsonText& function, const JsonText* space);

}  // namespace baleen
