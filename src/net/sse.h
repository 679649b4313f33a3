// Server-sent events: the text of one event or comment for Exchange::write().
#pragma once

#include <string>
#include <string_view>

#include "net/http_server.h"

namespace baleen::net {

// "event: NAME", one "data:" line per line of the data, and the empty line that ends the event. An
// empty name leaves the first line out. Any line end (CR, LF, CRLF) separates lines of the data, as
// the reader will see it. REQUIRES: the name has no line end.
std::string sse_event(std::string_view name, std::string_view data);
inline std::string sse_data(std::string_view data) {
    return sse_event({}, data);
}

// Readers ignore it; it keeps the connection from looking dead.
std::string sse_comment(std::string_view text);

// What a stream of events is begun with.
Headers sse_headers();

}  // namespace baleen::net
