// An HTTP/1.1 server: requests in, whole answers or streams out. The only folder that knows the
// HTTP library.
//
// Sockets are served asynchronously by a few threads: idle connections cost no thread. A request
// that is complete gets a thread of its own while its handler runs (at most active_max of them), so
// that handlers are plain functions that block where they wait. While a handler runs the socket is
// watched: a client that closes, or half-closes, is gone at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace baleen::net {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Request {
    std::string method;  // upper case
    std::string path;    // percent-decoded, without the query; starts with '/'
    std::vector<std::pair<std::string, std::string>> query;  // decoded
    Headers headers;                                         // names in lower case
    std::string body;
    std::string peer;  // address of the client

    // The first header of this lower-case name; empty if none.
    std::string_view header(std::string_view name) const;
};

// The body of an answer that the server gives by itself, before or instead of the handler: a limit
// was reached, the request is malformed.
struct ErrorBody {
    std::string content_type;
    std::string text;
};
// path: empty where the request did not come that far. Called on a network thread; must not wait.
using ErrorWriter =
    std::function<ErrorBody(int status, std::string_view message, std::string_view path)>;

struct ServerOptions {
    std::string host = "127.0.0.1";  // or unix:PATH
    uint16_t port = 0;               // 0: any free one
    size_t io_threads = 2;
    size_t connections_max = 2048;  // open at once; more are answered with 503 and closed
    size_t active_max = 256;        // handlers at once; more: 503 with Retry-After
    size_t body_bytes_max = size_t{64} << 20;
    size_t bodies_bytes_max = size_t{1} << 30;  // of all requests together; more: 503
    size_t header_bytes_max = size_t{64} << 10;
    std::chrono::milliseconds header_timeout{15'000};  // from the first byte to the whole header
    std::chrono::milliseconds body_timeout{60'000};    // longest pause while a body arrives
    std::chrono::milliseconds idle_timeout{120'000};   // a connection with no request
    std::chrono::milliseconds write_timeout{30'000};  // longest stall of a client that reads slowly
    size_t write_buffer_bytes = size_t{256} << 10;    // unsent bytes after which write() waits
    ErrorWriter error_writer;                         // null: the message as plain text
};

// One request and its answer, on the handler's thread.
class Exchange {
  public:
    virtual ~Exchange() = default;
    virtual const Request& request() const = 0;

    // Headers of both kinds of answer: Connection, Content-Length, Date and Transfer-Encoding are
    // the server's own to write (CHECK). Control characters in values become spaces. The body of an
    // answer to HEAD is left out.

    // The whole answer. REQUIRES: nothing was sent yet.
    virtual void respond(int status, const Headers& headers, std::string body) = 0;

    // A streamed answer: chunks, of which every write() of up to 64 KiB is one; for HTTP/1.0 plain
    // bytes until the connection ends. The status line leaves at once.
    virtual Result<void> begin(int status, const Headers& headers) = 0;
    // Returns when the bytes are in the send buffer; waits while it is full. kCancelled: the client
    // has gone, or read nothing for write_timeout; every later call says so too.
    virtual Result<void> write(std::string_view bytes) = 0;
    // The end of the stream. Without it the connection is cut when the handler returns, so that a
    // client can tell a broken stream from a finished one.
    virtual void end() = 0;

    virtual bool has_begun() const = 0;  // respond() or begin() was called
    virtual bool client_gone() const = 0;
    // Called once, from a network thread, when the client goes, before write() says so; at once if
    // it has gone. It must not wait. No call begins after the handler has returned, but the
    // handler's own variables die before that: if the callback uses them, call on_gone(nullptr)
    // first, which waits for a running call and ends the watch.
    virtual void on_gone(std::function<void()> callback) = 0;
};

using Handler = std::function<void(Exchange&)>;

class Server {
  public:
    // Listens; kIo names the address. The handler may run on many threads at once. A handler that
    // returns without an answer gives a 500.
    static Result<std::unique_ptr<Server>> listen(const ServerOptions& options, Handler handler);
    virtual ~Server() = default;  // as shutdown() with no grace

    virtual std::string address() const = 0;  // "127.0.0.1:PORT", "[::1]:PORT" or "unix:PATH"
    struct Stats {
        uint64_t connections = 0, active = 0, accepted = 0, refused = 0;
        uint64_t requests = 0, bad_requests = 0, gone = 0, write_timeouts = 0;
    };
    virtual Stats stats() const = 0;

    // Stops accepting, closes idle connections, answers further requests on open ones with 503, and
    // waits until the deadline for running handlers and unsent answers; then cuts their connections
    // and waits for the handlers to return. Returns how many were cut. Never call it in a handler.
    virtual size_t shutdown(std::chrono::steady_clock::time_point deadline) = 0;
};

}  // namespace baleen::net
