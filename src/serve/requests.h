// From an API's request body to a Job. Lenient where real clients differ, strict where a request
// could not mean what it says; errors are kInvalidArgument and name the field (docs/api.md).
#pragma once

#include "base/result.h"
#include "serve/fields.h"
#include "serve/job.h"
#include "serve/service.h"

namespace baleen::serve {

Result<Job> read_chat_request(const JsonText& body, const Service& service);       // OpenAI Chat
Result<Job> read_messages_request(const JsonText& body, const Service& service);   // Anthropic
Result<Job> read_responses_request(const JsonText& body, const Service& service);  // Responses

// What the three have in common once messages and tools are read.
struct ReadTools {
    std::vector<std::string> schemas;  // as the prompt shows them
    std::string response_format;       // JSON text for the prompt; empty: none
};
Result<void> finish_conversation(ReadTools tools, const Service& service, Job& job);

// {"type": "json_schema", "json_schema": {"schema": ...}} or json_object, and its constraint.
Result<void> read_response_format(const JsonText& format, Job& job, ReadTools& tools);

// auto, none, required, or the name of a declared tool.
Result<void> choose_tool(std::string_view choice, std::string_view name, Job& job);

}  // namespace baleen::serve
