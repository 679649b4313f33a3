#include "net/connection.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <utility>

#include "base/check.h"
#include "net/exchange.h"

namespace baleen::net {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

// How long a closed answer's rest of input is dropped before the socket is closed.
constexpr std::chrono::milliseconds kLinger{2'000};
// How often a socket is looked at whose client sent more than we keep while its handler runs.
constexpr std::chrono::milliseconds kWatchPeriod{20};
// Reads and writes of one socket before others get their turn.
constexpr int kReadsPerTurn = 4;
constexpr int kWritesPerTurn = 16;

bool would_block(const error_code& error) {
    return error == asio::error::would_block || error == asio::error::try_again;
}

}  // namespace

Connection::Connection(Core& core, Loop& loop, std::string peer)
    : core_(core),
      loop_(loop),
      socket_(loop.io),
      peer_(std::move(peer)),
      timer_(loop.io),
      outbox_(core.options.write_buffer_bytes) {}

Connection::~Connection() {
    count_body(0);
}

bool Connection::open(int fd) {
    loop_.connections.insert(shared_from_this());
    error_code error;
    socket_.assign(Protocol(AF_UNSPEC, 0), fd, error);
    if (error)
        ::close(fd);
    else
        socket_.non_blocking(true, error);
    if (!error && !core_.stopping) return true;
    close();
    return false;
}

void Connection::start(int fd) {
    if (!open(fd)) return;
    set_deadline(read_deadline_, core_.options.idle_timeout);
    wait_readable();
}

void Connection::start_refused(int fd) {
    if (!open(fd)) return;
    refuse(503, "too many connections", AfterAnswer::kClose);
    wait_readable();
}

void Connection::close_if_idle() {
    if (phase_ == Phase::kIdle) close();
}

bool Connection::cut() {
    const bool was_busy = is_busy();
    lost();
    return was_busy;
}

void Connection::close() {
    if (phase_ == Phase::kClosed) return;
    set_phase(Phase::kClosed);
    outbox_.close();
    sending_.clear();
    parser_.reset();
    timer_.cancel();
    error_code ignored;
    socket_.close(ignored);
    --core_.connections;
    loop_.connections.erase(shared_from_this());
}

void Connection::set_phase(Phase phase) {
    const bool was_busy = is_busy();
    phase_ = phase;
    if (was_busy == is_busy()) return;
    const std::lock_guard lock(core_.busy_mutex);
    core_.busy += was_busy ? size_t{0} - 1 : 1;
    if (core_.busy == 0) core_.all_quiet.notify_all();
}

// --- input ---

bool Connection::is_receiving() const {
    return phase_ == Phase::kIdle || phase_ == Phase::kHeader || phase_ == Phase::kBody;
}

bool Connection::drops_input() const {
    return phase_ == Phase::kLingering ||
           (phase_ == Phase::kFlushing && after_answer_ == AfterAnswer::kClose);
}

// Requests that arrive while one is handled wait here; the client's socket holds the rest.
bool Connection::input_is_full() const {
    return is_busy() && !drops_input() && input_.size() >= core_.options.header_bytes_max;
}

void Connection::wait_readable() {
    if (phase_ == Phase::kClosed || waits_readable_ || input_ended_) return;
    if (input_is_full()) {
        if (phase_ == Phase::kHandling) set_deadline(watch_deadline_, kWatchPeriod);
        return;
    }
    waits_readable_ = true;
    socket_.async_wait(Socket::wait_read, [self = shared_from_this()](const error_code& error) {
        self->waits_readable_ = false;
        if (!error) self->on_readable();
    });
}

void Connection::on_readable() {
    for (int i = 0; i < kReadsPerTurn; ++i) {
        if (phase_ == Phase::kClosed || input_is_full()) break;
        error_code error;
        const size_t bytes = socket_.read_some(asio::buffer(loop_.scratch), error);
        if (would_block(error)) break;
        if (error == asio::error::eof) return on_end_of_input();
        if (error) return lost();
        take_input({loop_.scratch.data(), bytes});
    }
    wait_readable();
}

void Connection::take_input(std::string_view bytes) {
    if (drops_input()) return;
    input_ += bytes;
    if (is_receiving()) parse_input();
}

void Connection::on_end_of_input() {
    input_ended_ = true;
    switch (phase_) {
        case Phase::kHeader:
        case Phase::kBody: return refuse(400, "the request ended early", AfterAnswer::kClose);
        case Phase::kFlushing: after_answer_ = AfterAnswer::kClose; return;
        case Phase::kHandling: return lost();
        case Phase::kIdle:
        case Phase::kLingering:
        case Phase::kClosed: return close();
    }
}

void Connection::parse_input() {
    if (!is_receiving() || input_.empty()) return;
    if (phase_ == Phase::kIdle && !begin_request()) return;
    input_.erase(0, parser_->feed(input_));
    switch (parser_->state()) {
        case RequestParser::State::kHeader: return;
        case RequestParser::State::kBody: return on_body_progress();
        case RequestParser::State::kDone: return dispatch();
        case RequestParser::State::kFailed: {
            const Refusal refusal = parser_->refusal();
            return refuse(refusal.status, refusal.message, AfterAnswer::kClose);
        }
    }
}

// False when there were only the empty lines that a client may send between requests.
bool Connection::begin_request() {
    input_.erase(0, std::min(input_.find_first_not_of("\r\n"), input_.size()));
    if (input_.empty()) return false;
    parser_ = std::make_unique<RequestParser>(
        ParserLimits{.header_bytes_max = core_.options.header_bytes_max,
                     .body_bytes_max = core_.options.body_bytes_max});
    set_phase(Phase::kHeader);
    set_deadline(read_deadline_, core_.options.header_timeout);
    return true;
}

void Connection::on_body_progress() {
    count_body(parser_->body_bytes());
    if (core_.bodies_bytes > core_.options.bodies_bytes_max)
        return refuse(503, "too many bytes of requests", AfterAnswer::kClose);
    const bool is_first = phase_ == Phase::kHeader;
    set_phase(Phase::kBody);
    set_deadline(read_deadline_, core_.options.body_timeout);
    if (!is_first || !parser_->expects_continue()) return;
    if (parser_->body_bytes() > 0 || !input_.empty()) return;  // it did not wait
    outbox_.put({"HTTP/1.1 100 Continue\r\n\r\n"});
    flush();
}

void Connection::count_body(size_t bytes) {
    core_.bodies_bytes += bytes - counted_body_bytes_;
    counted_body_bytes_ = bytes;
}

// --- the request ---

void Connection::dispatch() {
    ++core_.requests;
    count_body(parser_->body_bytes());
    after_answer_ = parser_->keep_alive() ? AfterAnswer::kKeepAlive : AfterAnswer::kClose;
    version_ = parser_->is_http10() ? HttpVersion::k10 : HttpVersion::k11;
    request_ = parser_->take();
    request_.peer = peer_;
    parser_.reset();
    if (core_.stopping) return refuse(503, "the server is shutting down", AfterAnswer::kClose);
    read_deadline_ = kNever;
    set_phase(Phase::kHandling);
    const auto self = shared_from_this();
    const bool accepted = core_.pool.submit(
        [self] { self->run_handler(); },
        [self] { asio::post(self->loop_.io, [self] { self->handler_returned(); }); });
    if (!accepted) refuse(503, "too many requests at once", after_answer_);
}

void Connection::run_handler() {
    ConnectionExchange exchange(*this);
    core_.handler(exchange);
    if (!exchange.has_begun())
        exchange.respond(500, {{"Content-Type", "text/plain"}}, "the handler gave no answer\n");
    answer_is_whole_ = exchange.is_whole();
}

AfterAnswer Connection::after_answer() {
    if (core_.stopping) after_answer_ = AfterAnswer::kClose;
    return after_answer_;
}

void Connection::handler_returned() {
    request_ = {};
    count_body(0);
    if (phase_ == Phase::kClosed) return;
    if (!answer_is_whole_) after_answer_ = AfterAnswer::kClose;
    watch_deadline_ = kNever;
    set_phase(Phase::kFlushing);
    flush();
    wait_readable();
}

ErrorBody Connection::error_body(int status, const std::string& message) const {
    if (!core_.options.error_writer) return {"text/plain; charset=utf-8", message + "\n"};
    return core_.options.error_writer(status, message, parser_ ? parser_->path() : request_.path);
}

void Connection::refuse(int status, const std::string& message, AfterAnswer after) {
    ++(status == 503 ? core_.refused : core_.bad_requests);
    after_answer_ = after;
    if (after == AfterAnswer::kClose) input_.clear();
    const ErrorBody body = error_body(status, message);
    Headers headers = {{"Content-Type", body.content_type}};
    if (status == 503) headers.emplace_back("Retry-After", "1");
    const Framing framing{Framing::Kind::kLength, body.text.size()};
    const std::string head = response_head(status, headers, framing, version_, after_answer_);
    outbox_.put({head, request_.method == "HEAD" ? std::string_view() : body.text});
    parser_.reset();
    request_ = {};
    count_body(0);
    read_deadline_ = kNever;
    set_phase(Phase::kFlushing);
    flush();
}

// --- output ---

void Connection::flush_soon() {
    if (flush_posted_.exchange(true)) return;
    asio::post(loop_.io, [self = shared_from_this()] {
        self->flush_posted_ = false;
        self->flush();
    });
}

void Connection::flush() {
    if (phase_ == Phase::kClosed || waits_writable_) return;
    for (int i = 0; outbox_.take(sending_), !sending_.empty(); ++i) {
        if (i == kWritesPerTurn) return flush_soon();
        if (!send_some()) return;
    }
    if (phase_ == Phase::kFlushing) answered();
}

bool Connection::send_some() {
    std::array<asio::const_buffer, 8> buffers;
    for (size_t i = 0; i < std::min(buffers.size(), sending_.size()); ++i)
        buffers[i] = asio::buffer(sending_[i]);
    buffers[0] += sending_offset_;
    error_code error;
    const size_t bytes = socket_.write_some(buffers, error);
    if (!error) {
        drop_sent(bytes);
        return true;
    }
    if (!would_block(error)) {
        lost();
        return false;
    }
    waits_writable_ = true;
    set_deadline(write_deadline_, core_.options.write_timeout);
    socket_.async_wait(Socket::wait_write,
                       [self = shared_from_this()](const error_code& wait_error) {
                           self->waits_writable_ = false;
                           if (!wait_error) self->flush();
                       });
    return false;
}

void Connection::drop_sent(size_t bytes) {
    write_deadline_ = kNever;
    outbox_.sent(bytes);
    sending_offset_ += bytes;
    while (!sending_.empty() && sending_offset_ >= sending_.front().size()) {
        sending_offset_ -= sending_.front().size();
        sending_.pop_front();
    }
}

// All of the answer is in the kernel's hands.
void Connection::answered() {
    if (!answer_is_whole_ && version_ == HttpVersion::k10) {
        // Without chunks only a reset tells a broken stream from a finished one.
        const ::linger reset = {.l_onoff = 1, .l_linger = 0};
        setsockopt(socket_.native_handle(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        return close();
    }
    if (after_answer_ == AfterAnswer::kClose || (core_.stopping && input_.empty())) return linger();
    set_phase(Phase::kIdle);
    if (input_.empty()) input_ = {};  // an idle connection keeps no memory
    set_deadline(read_deadline_, core_.options.idle_timeout);
    wait_readable();
    if (!input_.empty()) asio::post(loop_.io, [self = shared_from_this()] { self->parse_input(); });
}

void Connection::linger() {
    set_phase(Phase::kLingering);
    input_ = {};
    error_code ignored;
    socket_.shutdown(Socket::shutdown_send, ignored);
    if (input_ended_) return close();
    set_deadline(read_deadline_, kLinger);
    wait_readable();
}

// The client has gone, or is treated so. The handler's callback comes first: once write() says so,
// it has been called.
void Connection::lost() {
    if (phase_ == Phase::kHandling) {
        ++core_.gone;
        gone_signal_.raise();
    }
    close();
}

// --- deadlines ---

void Connection::set_deadline(Clock::time_point& deadline, std::chrono::milliseconds from_now) {
    deadline = Clock::now() + from_now;
    arm_timer();
}

// The timer may fire before a deadline that moved away meanwhile; it is then armed again. So a
// deadline that moves with every read costs nothing.
void Connection::arm_timer() {
    const auto next = std::min({read_deadline_, write_deadline_, watch_deadline_});
    if (phase_ == Phase::kClosed || next >= timer_at_) return;
    timer_at_ = next;
    timer_.expires_at(next);
    timer_.async_wait([self = shared_from_this()](const error_code& error) {
        if (error) return;
        self->timer_at_ = kNever;
        self->on_timer();
    });
}

void Connection::on_timer() {
    if (phase_ == Phase::kClosed) return;
    const auto now = Clock::now();
    if (write_deadline_ <= now) {
        ++core_.write_timeouts;
        return lost();
    }
    if (read_deadline_ <= now) {
        read_deadline_ = kNever;
        if (phase_ != Phase::kHeader && phase_ != Phase::kBody) return close();
        refuse(408, "the request took too long to arrive", AfterAnswer::kClose);
    }
    if (watch_deadline_ <= now) watch_unread_socket();
    arm_timer();
}

// While a socket is not read its end is not seen either; the kernel knows it all the same.
void Connection::watch_unread_socket() {
    watch_deadline_ = kNever;
    if (phase_ != Phase::kHandling) return;
    pollfd state = {.fd = socket_.native_handle(), .events = POLLRDHUP, .revents = 0};
    if (::poll(&state, 1, 0) > 0) return lost();
    set_deadline(watch_deadline_, kWatchPeriod);
}

}  // namespace baleen::net
