#include "net/http_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <future>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "net/connection.h"
#include "net/listener.h"

namespace baleen::net {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

// Connections beyond connections_max that are told so; more than these are just closed.
constexpr size_t kRefusedMax = 64;
// Descriptors for everything else in the process.
constexpr size_t kOtherFiles = 128;
constexpr int kAcceptsPerTurn = 64;
// Wait after the system had no descriptor or memory for a connection.
constexpr std::chrono::milliseconds kAcceptPause{100};

class HttpServer final : public Server {
  public:
    HttpServer(const ServerOptions& options, Handler handler, Listener listener)
        : core_(options, std::move(handler)), listener_(std::move(listener)) {
        for (size_t i = 0; i < options.io_threads; ++i) loops_.push_back(std::make_unique<Loop>());
        accept_pause_.emplace(loops_[0]->io);
        readable_.emplace(loops_[0]->io, listener_.fd());
    }
    ~HttpServer() override { shutdown(std::chrono::steady_clock::now()); }

    Result<void> start();
    std::string address() const override { return listener_.address(); }
    Stats stats() const override;
    size_t shutdown(std::chrono::steady_clock::time_point deadline) override;

  private:
    void wait_acceptable();
    void accept_all();
    bool accept_one();  // false: none is waiting
    void stop_accepting();
    // Runs on the thread of each loop, one loop after the other; returns when all are done.
    void on_each_loop(const std::function<void(Loop&)>& work);
    static void on_loop(Loop& loop, const std::function<void()>& work);

    Core core_;
    Listener listener_;
    std::vector<std::unique_ptr<Loop>> loops_;
    std::optional<asio::posix::stream_descriptor> readable_;  // of the listener, which owns it
    std::optional<asio::steady_timer> accept_pause_;
    size_t next_loop_ = 0;

    std::mutex shutdown_mutex_;
    bool is_shut_down_ = false;
};

Result<void> HttpServer::start() {
    for (size_t i = 0; i < loops_.size(); ++i) {
        // std::thread reports a lack of threads by throwing.
        try {
            loops_[i]->thread = std::thread([&io = loops_[i]->io] { io.run(); });
        } catch (const std::system_error& error) {
            return make_error(ErrorCode::kIo, "no thread for the network: {}", error.what());
        }
    }
    asio::post(loops_[0]->io, [this] { wait_acceptable(); });
    return {};
}

void HttpServer::wait_acceptable() {
    if (!readable_) return;
    readable_->async_wait(asio::posix::stream_descriptor::wait_read,
                          [this](const error_code& error) {
                              if (!error) accept_all();
                          });
}

void HttpServer::accept_all() {
    if (!readable_) return;
    for (int i = 0; i < kAcceptsPerTurn; ++i) {
        if (accept_one()) continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) break;
        if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) continue;
        accept_pause_->expires_after(kAcceptPause);
        accept_pause_->async_wait([this](const error_code& error) {
            if (!error) wait_acceptable();
        });
        return;
    }
    wait_acceptable();
}

bool HttpServer::accept_one() {
    std::string peer;
    const int fd = listener_.accept(peer);
    if (fd < 0) return false;
    ++core_.accepted;
    const uint64_t open = ++core_.connections;
    const size_t connections_max = core_.options.connections_max;
    if (open > connections_max + kRefusedMax) {
        --core_.connections;
        ++core_.refused;
        ::close(fd);
        return true;
    }
    Loop& loop = *loops_[next_loop_++ % loops_.size()];
    asio::post(loop.io, [this, &loop, fd, peer, refused = open > connections_max] {
        const auto connection = std::make_shared<Connection>(core_, loop, peer);
        if (refused)
            connection->start_refused(fd);
        else
            connection->start(fd);
    });
    return true;
}

void HttpServer::stop_accepting() {
    accept_pause_.reset();
    readable_->release();
    readable_.reset();
    listener_.close();
}

void HttpServer::on_loop(Loop& loop, const std::function<void()>& work) {
    if (!loop.thread.joinable()) return work();  // it was never started
    std::promise<void> done;
    asio::post(loop.io, [&] {
        work();
        done.set_value();
    });
    done.get_future().wait();
}

void HttpServer::on_each_loop(const std::function<void(Loop&)>& work) {
    for (const auto& loop : loops_) on_loop(*loop, [&] { work(*loop); });
}

// Calls `work` on each connection of a loop, which may close and so remove itself.
template <typename Work>
void for_each_connection(Loop& loop, const Work& work) {
    const std::vector<std::shared_ptr<Connection>> all(loop.connections.begin(),
                                                       loop.connections.end());
    for (const auto& connection : all) work(*connection);
}

size_t HttpServer::shutdown(std::chrono::steady_clock::time_point deadline) {
    const std::lock_guard shutdown_lock(shutdown_mutex_);
    if (std::exchange(is_shut_down_, true)) return 0;
    core_.stopping = true;
    on_loop(*loops_[0], [&] { stop_accepting(); });
    on_each_loop([](Loop& loop) {
        for_each_connection(loop, [](Connection& connection) { connection.close_if_idle(); });
    });
    {
        std::unique_lock lock(core_.busy_mutex);
        core_.all_quiet.wait_until(lock, deadline, [&] { return core_.busy == 0; });
    }
    size_t num_cut = 0;
    on_each_loop([&](Loop& loop) {
        for_each_connection(loop, [&](Connection& connection) { num_cut += connection.cut(); });
    });
    core_.pool.join();
    for (const auto& loop : loops_) loop->work.reset();
    for (const auto& loop : loops_)
        if (loop->thread.joinable()) loop->thread.join();
    return num_cut;
}

Server::Stats HttpServer::stats() const {
    return {.connections = core_.connections,
            .active = core_.pool.active(),
            .accepted = core_.accepted,
            .refused = core_.refused,
            .requests = core_.requests,
            .bad_requests = core_.bad_requests,
            .gone = core_.gone,
            .write_timeouts = core_.write_timeouts};
}

// As many connections as the system gives descriptors for.
Result<size_t> allowed_connections(size_t wanted) {
    const size_t files_max = raise_open_files_limit();
    const size_t reserved = kRefusedMax + kOtherFiles;
    if (files_max <= reserved)
        return make_error(ErrorCode::kExhausted,
                          "the limit of open files is {}, more than {} are needed", files_max,
                          reserved);
    const size_t allowed = std::min(wanted, files_max - reserved);
    if (allowed < wanted)
        log_warn("net", "fewer connections than wanted: wanted={} allowed={} open_files_max={}",
                 wanted, allowed, files_max);
    return allowed;
}

}  // namespace

Result<std::unique_ptr<Server>> Server::listen(const ServerOptions& options, Handler handler) {
    CHECK_GE(options.io_threads, 1u);
    CHECK_GE(options.active_max, 1u);
    CHECK_GE(options.connections_max, 1u);
    ServerOptions allowed = options;
    allowed.connections_max = TRY(allowed_connections(options.connections_max));
    Listener listener = TRY(Listener::open(options.host, options.port));
    // The library reports a lack of descriptors by throwing.
    std::unique_ptr<HttpServer> server;
    try {
        server = std::make_unique<HttpServer>(allowed, std::move(handler), std::move(listener));
    } catch (const std::runtime_error& error) {
        return make_error(ErrorCode::kIo, "{}: {}", options.host, error.what());
    }
    TRY(server->start());
    return std::unique_ptr<Server>(std::move(server));
}

}  // namespace baleen::net
