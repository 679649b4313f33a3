// Any bytes as an HTTP request: a refusal with a status, or a request that keeps its promises; and
// never another request because the bytes came in other pieces. The first byte chooses the pieces.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "net/request_parser.h"

namespace {

using namespace baleen;
using State = net::RequestParser::State;

constexpr net::ParserLimits kLimits = {.header_bytes_max = 4096, .body_bytes_max = 1024};

struct Outcome {
    State state = State::kHeader;
    net::Request request;
    size_t used = 0;
};

void check_request(const net::Request& request) {
    CHECK(!request.method.empty());
    CHECK(request.path.starts_with('/'));
    CHECK(request.path.find('\0') == std::string::npos);
    CHECK_LE(request.body.size(), kLimits.body_bytes_max);
    for (const auto& [name, value] : request.headers) {
        CHECK(!name.empty());
        CHECK(name.find_first_of("\r\n: ") == std::string::npos);
        CHECK(value.find_first_of("\r\n") == std::string::npos);
    }
}

// As a connection does: what is left over comes again with more.
Outcome parse(std::string_view bytes, size_t step) {
    net::RequestParser parser(kLimits);
    Outcome outcome;
    std::string waiting;
    while (!bytes.empty()) {
        waiting += bytes.substr(0, step);
        bytes.remove_prefix(std::min(step, bytes.size()));
        const size_t used = parser.feed(waiting);
        CHECK_LE(used, waiting.size());
        waiting.erase(0, used);
        outcome.used += used;
        outcome.state = parser.state();
        if (outcome.state == State::kDone || outcome.state == State::kFailed) break;
        CHECK_LE(waiting.size(), kLimits.header_bytes_max);
    }
    if (outcome.state == State::kFailed) {
        CHECK_GE(parser.refusal().status, 400);
        CHECK(!parser.refusal().message.empty());
    }
    if (outcome.state == State::kDone) check_request(outcome.request = parser.take());
    return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    const size_t step = size_t{1} + data[0];
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    const Outcome whole = parse(bytes, std::string_view::npos);
    const Outcome split = parse(bytes, step);
    // In pieces an error may show late, but nobody reads another request from the same bytes.
    CHECK((whole.state == State::kDone) == (split.state == State::kDone));
    CHECK(whole.state != State::kDone || whole.used == split.used);
    CHECK(whole.request.path == split.request.path);
    CHECK(whole.request.headers == split.request.headers);
    CHECK(whole.request.body == split.request.body);
    return 0;
}
