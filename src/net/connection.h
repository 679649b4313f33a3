// One client's socket, from accept to close. Private to net.
//
// A connection belongs to the network thread of its Loop; all members are that thread's, but for
// those a handler shares (Outbox, GoneSignal, the posts). Its life:
//
//   idle ─▶ header ─▶ body ─▶ handling ─▶ flushing ─▶ idle          next request
//     │        │        │        │            └─────▶ lingering ─▶ closed   after the last answer
//     │        └────────┴────────┼─▶ flushing (refused: 4xx, 5xx) ─▶ lingering ─▶ closed
//     └──────────────────────────┴─▶ closed                         the client has gone
//
// Lingering: our side is shut, and what still arrives is read and dropped for a moment. Closing a
// socket with unread bytes would make the kernel destroy the answer on its way.
#pragma once

#include <atomic>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_set>
#include <vector>

#include "net/gone_signal.h"
#include "net/handler_pool.h"
#include "net/http_server.h"
#include "net/outbox.h"
#include "net/request_parser.h"
#include "net/response.h"

namespace baleen::net {

class Connection;

// What all connections of a server share.
struct Core {
    Core(const ServerOptions& server_options, Handler server_handler)
        : options(server_options), handler(std::move(server_handler)), pool(options.active_max) {}

    const ServerOptions options;
    const Handler handler;
    HandlerPool pool;
    std::atomic<bool> stopping{false};

    std::atomic<uint64_t> connections{0}, accepted{0}, refused{0}, requests{0}, bad_requests{0};
    std::atomic<uint64_t> gone{0}, write_timeouts{0};
    std::atomic<size_t> bodies_bytes{0};  // of all requests that arrive or are handled

    // Connections with a request that is handled or an answer that is being sent.
    std::mutex busy_mutex;
    std::condition_variable all_quiet;
    size_t busy = 0;
};

// One network thread and its connections.
struct Loop {
    boost::asio::io_context io{1};
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{
        io.get_executor()};
    std::unordered_set<std::shared_ptr<Connection>> connections;
    std::vector<char> scratch = std::vector<char>(size_t{64} << 10);  // one read of any socket
    std::thread thread;
};

class Connection final : public std::enable_shared_from_this<Connection> {
  public:
    Connection(Core& core, Loop& loop, std::string peer);
    ~Connection();

    // The network thread of the loop (all of these).
    void start(int fd);
    void start_refused(int fd);  // too many connections: a 503, then close
    void close_if_idle();
    bool cut();  // closes; true if that ended a request or answer
    void close();

    // The handler's thread.
    Outbox& outbox() { return outbox_; }
    GoneSignal& gone_signal() { return gone_signal_; }
    Request& request() { return request_; }
    HttpVersion version() const { return version_; }
    AfterAnswer after_answer();  // asked when the head is written; final from then on
    void close_after_answer() { after_answer_ = AfterAnswer::kClose; }
    void flush_soon();

  private:
    using Clock = std::chrono::steady_clock;
    using Protocol = boost::asio::generic::stream_protocol;
    using Socket =
        boost::asio::basic_stream_socket<Protocol, boost::asio::io_context::executor_type>;
    using Timer = boost::asio::basic_waitable_timer<Clock, boost::asio::wait_traits<Clock>,
                                                    boost::asio::io_context::executor_type>;
    enum class Phase { kIdle, kHeader, kBody, kHandling, kFlushing, kLingering, kClosed };
    static constexpr Clock::time_point kNever = Clock::time_point::max();

    bool open(int fd);
    void set_phase(Phase phase);
    bool is_busy() const { return phase_ == Phase::kHandling || phase_ == Phase::kFlushing; }
    bool is_receiving() const;  // the next bytes go to the parser
    bool drops_input() const;   // the next bytes are of no interest
    bool input_is_full() const;

    void wait_readable();
    void on_readable();
    void take_input(std::string_view bytes);
    void on_end_of_input();
    void parse_input();
    bool begin_request();
    void on_body_progress();
    void count_body(size_t bytes);
    void dispatch();
    void run_handler();  // on the handler's thread
    void handler_returned();
    void refuse(int status, const std::string& message, AfterAnswer after);
    ErrorBody error_body(int status, const std::string& message) const;

    void flush();
    bool send_some();  // false: nothing more can be sent now
    void drop_sent(size_t bytes);
    void answered();
    void linger();
    void lost();

    void set_deadline(Clock::time_point& deadline, std::chrono::milliseconds from_now);
    void arm_timer();
    void on_timer();
    void watch_unread_socket();

    Core& core_;
    Loop& loop_;
    Socket socket_;
    const std::string peer_;

    Phase phase_ = Phase::kIdle;
    std::unique_ptr<RequestParser> parser_;  // while a request arrives
    std::string input_;                      // received and not yet parsed
    bool input_ended_ = false;
    bool waits_readable_ = false;
    bool waits_writable_ = false;
    std::deque<std::string> sending_;  // the front one from sending_offset_
    size_t sending_offset_ = 0;

    Timer timer_;
    Clock::time_point timer_at_ = kNever;
    Clock::time_point read_deadline_ = kNever;   // of the phase
    Clock::time_point write_deadline_ = kNever;  // while the client does not take what we send
    Clock::time_point watch_deadline_ = kNever;  // next look at a socket that we do not read

    // Of the request; written before the handler starts, then the handler's until it returns.
    Request request_;
    AfterAnswer after_answer_ = AfterAnswer::kKeepAlive;
    HttpVersion version_ = HttpVersion::k11;
    bool answer_is_whole_ = true;
    size_t counted_body_bytes_ = 0;  // in Core::bodies_bytes; the network thread's

    Outbox outbox_;
    GoneSignal gone_signal_;
    std::atomic<bool> flush_posted_{false};
};

}  // namespace baleen::net
