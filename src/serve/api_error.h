// Errors as the APIs write them.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"
#include "net/http_server.h"

namespace baleen::serve {

enum class ErrorStyle : uint8_t { kOpenAi, kAnthropic };

struct ApiError {
    int status = 500;
    std::string type;  // in OpenAI's words; Anthropic's are derived from the status
    std::string code;  // OpenAI's `code`; empty: null
    std::string message;
};

// The one table from our codes to HTTP statuses.
ApiError api_error(const Error& error);

// An error that HTTP itself knows: a limit, a malformed request.
ApiError http_error(int status, std::string message);

Json error_json(const ApiError& error, ErrorStyle style);

void respond_error(net::Exchange& exchange, const ApiError& error, ErrorStyle style);

// A JSON body with the headers that every answer carries.
void respond_json(net::Exchange& exchange, int status, const Json& body, net::Headers headers = {});

}  // namespace baleen::serve
