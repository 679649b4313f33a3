// From an API's request body to a Job. Lenient where real clients differ, strict where a request
// could not mean what it says; errors are kInvalidArgument and name the field (docs/api.md).
#pragma once

#include "base/result.h"
#include "serve/fields.h"
#include "serve/job.h"
#include "serve/service.h"

namespace baleen::serve {

Result<Job> read_chat_request(const JsonText& body, const ServiceOptions& options);  // OpenAI Chat
Result<Job> read_messages_request(const JsonText& body,
                                  const ServiceOptions& options);  // Anthropic
Result<Job> read_responses_request(const JsonText& body,
                                   const ServiceOptions& options);  // Responses

// What the three have in common once messages and tools are read.
struct ReadTools {
    std::vector<std::string> schemas;  // as the prompt shows them
    std::string response_format;       // JSON text for the prompt; empty: none
};
Result<void> finish_conversation(ReadTools tools, const ServiceOptions& options, Job& job);

// Messages and Responses let clients put system text anywhere, also last. The encoder writes it
// without any marker and without the header that an answer needs; so what comes after the first
// other message is told as the user's, always, so that a prompt stays the beginning of the next.
void tell_later_system_as_user(Job& job);

// {"type": "json_schema", "json_schema": {"schema": ...}} or json_object, and its constraint.
Result<void> read_response_format(const JsonText& format, Job& job, ReadTools& tools);

// auto, none, required, or the name of a declared tool.
Result<void> choose_tool(std::string_view choice, std::string_view name, Job& job);

}  // namespace baleen::serve
