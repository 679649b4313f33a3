#include "serve/api_error.h"

namespace baleen::serve {
namespace {

constexpr std::string_view kTooLong = "prompt is too long";

std::string_view anthropic_type(int status) {
    switch (status) {
        case 401: return "authentication_error";
        case 403: return "permission_error";
        case 404: return "not_found_error";
        case 413: return "request_too_large";
        case 429: return "rate_limit_error";
        case 503: return "overloaded_error";
        default: return status < 500 ? "invalid_request_error" : "api_error";
    }
}

}  // namespace

ApiError api_error(const Error& error) {
    switch (error.code) {
        case ErrorCode::kInvalidArgument:
        case ErrorCode::kCorrupt:
        case ErrorCode::kUnsupported:
            return {.status = 400,
                    .type = "invalid_request_error",
                    .code = error.message.starts_with(kTooLong) ? "context_length_exceeded" : "",
                    .message = error.message};
        case ErrorCode::kNotFound:
            return {.status = 404, .type = "not_found_error", .code = "", .message = error.message};
        case ErrorCode::kExhausted:
            return {.status = 429,
                    .type = "rate_limit_error",
                    .code = "rate_limit_exceeded",
                    .message = error.message};
        case ErrorCode::kCancelled:
            return {.status = 503,
                    .type = "service_unavailable_error",
                    .code = "unavailable",
                    .message = error.message};
        case ErrorCode::kIo: break;
    }
    return {.status = 500, .type = "server_error", .code = "", .message = error.message};
}

ApiError http_error(int status, std::string message) {
    if (status == 503) return api_error({ErrorCode::kCancelled, std::move(message)});
    return {.status = status,
            .type = status < 500 ? "invalid_request_error" : "server_error",
            .code = "",
            .message = std::move(message)};
}

Json error_json(const ApiError& error, ErrorStyle style) {
    if (style == ErrorStyle::kAnthropic)
        return {{"type", "error"},
                {"error", {{"type", anthropic_type(error.status)}, {"message", error.message}}}};
    return {{"error",
             {{"message", error.message},
              {"type", error.type},
              {"param", nullptr},
              {"code", error.code.empty() ? Json(nullptr) : Json(error.code)}}}};
}

void respond_json(net::Exchange& exchange, int status, const Json& body, net::Headers headers) {
    headers.emplace_back("content-type", "application/json");
    exchange.respond(status, headers, dump_json(body));
}

void respond_error(net::Exchange& exchange, const ApiError& error, ErrorStyle style) {
    net::Headers headers;
    if (error.status == 429 || error.status == 503) headers.emplace_back("retry-after", "1");
    if (error.status == 401) headers.emplace_back("www-authenticate", "Bearer");
    respond_json(exchange, error.status, error_json(error, style), std::move(headers));
}

}  // namespace baleen::serve
