// The bytes of an answer's head. Values that would break out of their header line cannot: control
// characters in them become spaces.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "net/http_server.h"

namespace baleen::net {

enum class AfterAnswer { kKeepAlive, kClose };
enum class HttpVersion { k10, k11 };

// How the reader finds the end of the body.
struct Framing {
    enum class Kind { kNone, kLength, kChunked, kUntilClose } kind = Kind::kNone;
    size_t length = 0;
};

// 204 and 304 never have a body.
bool status_has_body(int status);

// Status line and headers with the empty line. REQUIRES: status is 200 to 599; names are tokens,
// and none is one that the server writes itself (Connection, Content-Length, Date,
// Transfer-Encoding).
std::string response_head(int status, const Headers& headers, Framing framing, HttpVersion version,
                          AfterAnswer after);

// A chunk's size line.
std::string chunk_size_line(size_t bytes);

}  // namespace baleen::net
