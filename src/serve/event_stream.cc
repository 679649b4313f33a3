#include <ctime>

#include "net/sse.h"
#include "serve/cache_note.h"
#include "serve/endpoints.h"

namespace baleen::serve {
namespace {

// Header values are one line of printable ASCII.
std::string header_text(std::string_view text) {
    std::string out;
    for (const char c : text) out += c >= 0x20 && c < 0x7F ? c : '?';
    return out;
}

}  // namespace

net::Headers answer_headers(const Generation& generation, const Opening& opening) {
    net::Headers headers = {{"x-request-id", opening.id},
                            {"x-baleen-cache", header_text(opening.cache_note)}};
    const Conversation& conversation = generation.job().conversation;
    headers.emplace_back("x-baleen-prompt",
                         fmt::format("tokens={} dialect={} mode={} effort={}",
                                     opening.prompt_tokens, dialect_name(conversation.dialect),
                                     mode_name(conversation), effort_text(conversation)));
    for (const std::string& warning : opening.warnings)
        headers.emplace_back("x-baleen-warning", header_text(warning));
    return headers;
}

Result<void> EventStream::begin(net::Headers headers) {
    for (auto& header : net::sse_headers()) headers.push_back(std::move(header));
    return exchange_.begin(200, headers);
}

Result<void> EventStream::send(const Json& data) {
    return send_text(dump_json(data));
}

Result<void> EventStream::send(std::string_view event, const Json& data) {
    return exchange_.write(net::sse_event(event, dump_json(data)));
}

Result<void> EventStream::send_text(std::string_view data) {
    return exchange_.write(net::sse_data(data));
}

Result<void> EventStream::comment() {
    return exchange_.write(net::sse_comment("keep-alive"));
}

Result<std::unique_ptr<Generation>> start_generation(Service& service, net::Exchange& exchange,
                                                     Job job) {
    auto generation = TRY(Generation::start(service, std::move(job)));
    exchange.on_gone(generation->canceller());
    return generation;
}

int64_t unix_time() {
    return static_cast<int64_t>(std::time(nullptr));
}

}  // namespace baleen::serve
