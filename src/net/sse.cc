#include "net/sse.h"

#include "base/check.h"

namespace baleen::net {
namespace {

// One line of output per line of text.
void append_lines(std::string& out, std::string_view prefix, std::string_view text) {
    for (;;) {
        const size_t end = text.find_first_of("\r\n");
        ((out += prefix) += text.substr(0, end)) += '\n';
        if (end == std::string_view::npos) return;
        text.remove_prefix(end + (text.substr(end, 2) == "\r\n" ? 2 : 1));
    }
}

}  // namespace

std::string sse_event(std::string_view name, std::string_view data) {
    CHECK(name.find_first_of("\r\n") == std::string_view::npos);
    std::string out;
    out.reserve(name.size() + data.size() + 24);
    if (!name.empty()) ((out += "event: ") += name) += '\n';
    append_lines(out, "data: ", data);
    return out += '\n';
}

std::string sse_comment(std::string_view text) {
    std::string out;
    append_lines(out, ": ", text);
    return out += '\n';
}

Headers sse_headers() {
    return {{"Content-Type", "text/event-stream; charset=utf-8"}, {"Cache-Control", "no-cache"}};
}

}  // namespace baleen::net
