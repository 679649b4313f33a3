// Bytes of one HTTP/1.x request in, a checked Request out. Knows nothing of sockets: the connection
// feeds it what arrives, the fuzz target feeds it anything. One parser per request.
//
// Stricter than HTTP asks for where two readers could disagree about where a request ends: a length
// and a transfer coding together, two lengths, any coding but "chunked" are refused.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "net/http_server.h"

namespace baleen::net {

struct ParserLimits {
    size_t header_bytes_max = size_t{64} << 10;  // request line and header fields
    size_t body_bytes_max = size_t{64} << 20;
};

// Why a request is refused.
struct Refusal {
    int status = 400;
    std::string message;
};

class RequestParser {
  public:
    enum class State { kHeader, kBody, kDone, kFailed };

    explicit RequestParser(const ParserLimits& limits);
    ~RequestParser();

    // The next bytes, starting with those that the last call left over. Returns how many were used;
    // bytes after the end of the request are never used. REQUIRES: kHeader or kBody.
    size_t feed(std::string_view bytes);
    State state() const;

    const Refusal& refusal() const;   // REQUIRES: kFailed
    size_t body_bytes() const;        // received so far
    const std::string& path() const;  // empty until the request line has come

    // REQUIRES (all of these): kBody or kDone.
    bool keep_alive() const;
    bool is_http10() const;
    bool expects_continue() const;  // the client waits for a 100 before it sends its body

    Request take();  // REQUIRES: kDone; once

  private:
    class Machine;
    std::unique_ptr<Machine> machine_;
};

}  // namespace baleen::net
