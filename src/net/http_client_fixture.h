// A client of raw bytes for tests: it can stop anywhere, which a proper client could not.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "base/check.h"
#include "net/http_server.h"

namespace baleen::net {

// No wait of a test should last this long; it is only the end of a hanging one.
constexpr std::chrono::seconds kPatience{60};

// Waits until the condition holds; false when it never does.
inline bool eventually(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
}

// Opened once; whoever waits goes on.
class Gate {
  public:
    void open() {
        const std::lock_guard lock(mutex_);
        open_ = true;
        changed_.notify_all();
    }
    bool wait() {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, kPatience, [&] { return open_; });
    }
    bool is_open() {
        const std::lock_guard lock(mutex_);
        return open_;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool open_ = false;
};

struct Response {
    int status = 0;      // 0: none came
    std::string head;    // with the empty line
    std::string body;    // decoded
    bool whole = false;  // the body had its proper end
    std::string header(const std::string& name) const {
        const size_t at = head.find("\r\n" + name + ": ");
        if (at == std::string::npos) return {};
        const size_t from = at + name.size() + 4;
        return head.substr(from, head.find("\r\n", from) - from);
    }
};

class Client {
  public:
    // receive_bytes: size of the kernel's receive buffer; 0 leaves it.
    explicit Client(const std::string& address, int receive_bytes = 0) {
        if (address.starts_with("unix:")) {
            sockaddr_un to = {};
            to.sun_family = AF_UNIX;
            address.substr(5).copy(to.sun_path, sizeof to.sun_path - 1);
            connect_to(&to, sizeof to, AF_UNIX, receive_bytes);
            return;
        }
        const size_t colon = address.rfind(':');
        const auto port = htons(static_cast<uint16_t>(std::atoi(address.c_str() + colon + 1)));
        if (address.starts_with('[')) {
            sockaddr_in6 to = {};
            to.sin6_family = AF_INET6;
            to.sin6_addr = in6addr_loopback;
            to.sin6_port = port;
            connect_to(&to, sizeof to, AF_INET6, receive_bytes);
        } else {
            sockaddr_in to = {};
            to.sin_family = AF_INET;
            to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            to.sin_port = port;
            connect_to(&to, sizeof to, AF_INET, receive_bytes);
        }
    }
    Client(Client&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;
    Client& operator=(Client&&) = delete;
    ~Client() { close(); }

    void close() {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }
    void half_close() { shutdown(fd_, SHUT_WR); }
    void reset() {
        const ::linger now = {.l_onoff = 1, .l_linger = 0};
        setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close();
    }

    // False when the server has closed.
    bool send(std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) return false;
            bytes.remove_prefix(static_cast<size_t>(sent));
        }
        return true;
    }
    // As many as the kernel takes at once; never waits.
    size_t send_without_waiting(std::string_view bytes) {
        const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        return sent > 0 ? static_cast<size_t>(sent) : 0;
    }

    // What is there, up to `bytes_max`; empty at the end or after an error.
    std::string receive(size_t bytes_max = size_t{1} << 16) {
        if (fd_ < 0) return {};
        pollfd state = {.fd = fd_, .events = POLLIN, .revents = 0};
        if (poll(&state, 1, static_cast<int>(kPatience.count()) * 1000) <= 0) {
            ADD_FAILURE() << "the server sent nothing";
            return {};
        }
        std::string bytes(bytes_max, '\0');
        const ssize_t got = recv(fd_, bytes.data(), bytes.size(), 0);
        was_reset_ = got < 0 && errno == ECONNRESET;
        bytes.resize(got > 0 ? static_cast<size_t>(got) : 0);
        return bytes;
    }
    bool was_reset() const { return was_reset_; }

    std::string receive_all() {
        std::string all = std::exchange(buffer_, {});
        for (std::string more; !(more = receive()).empty();) all += more;
        return all;
    }
    bool is_closed_by_server() { return receive_all().empty(); }

    // The next answer on this connection.
    Response response(bool to_head_request = false) {
        Response result;
        result.head = take_through("\r\n\r\n");
        if (!result.head.starts_with("HTTP/1.1 ")) return result;
        result.status = std::atoi(result.head.c_str() + 9);
        if (to_head_request || result.status == 204 || result.status == 304 ||
            result.status == 100) {
            result.whole = true;
        } else if (result.header("Transfer-Encoding") == "chunked") {
            take_chunks(result);
        } else if (const std::string length = result.header("Content-Length"); !length.empty()) {
            const size_t bytes = static_cast<size_t>(std::atoll(length.c_str()));
            result.body = take(bytes);
            result.whole = result.body.size() == bytes;
        } else {
            result.body = receive_all();
        }
        return result;
    }

    Response exchange(std::string_view request) {
        send(request);
        return response();
    }

  private:
    void connect_to(const void* address, socklen_t bytes, int family, int receive_bytes) {
        fd_ = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK_GE(fd_, 0);
        if (receive_bytes > 0)
            setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
        if (connect(fd_, static_cast<const sockaddr*>(address), bytes) != 0) close();
    }

    std::string take(size_t bytes) {
        while (buffer_.size() < bytes) {
            const std::string more = receive();
            if (more.empty()) return std::exchange(buffer_, {});
            buffer_ += more;
        }
        std::string taken = buffer_.substr(0, bytes);
        buffer_.erase(0, bytes);
        return taken;
    }
    // Empty if the connection ends before the mark.
    std::string take_through(const std::string& mark) {
        size_t at;
        while ((at = buffer_.find(mark)) == std::string::npos) {
            const std::string more = receive();
            if (more.empty()) return {};
            buffer_ += more;
        }
        return take(at + mark.size());
    }
    void take_chunks(Response& result) {
        for (;;) {
            const std::string line = take_through("\r\n");
            if (line.empty()) return;
            const size_t bytes = std::strtoul(line.c_str(), nullptr, 16);
            const std::string chunk = take(bytes + 2);
            if (chunk.size() != bytes + 2) return;
            result.body += chunk.substr(0, bytes);
            if (bytes == 0) {
                result.whole = true;
                return;
            }
        }
    }

    int fd_ = -1;
    bool was_reset_ = false;
    std::string buffer_;
};

inline std::unique_ptr<Server> serve(const ServerOptions& options, Handler handler) {
    auto server = Server::listen(options, std::move(handler));
    CHECK(server.has_value());
    return std::move(*server);
}

inline std::string get(const std::string& path, const std::string& headers = {}) {
    return "GET " + path + " HTTP/1.1\r\nHost: test\r\n" + headers + "\r\n";
}

inline std::string post(const std::string& body, const std::string& headers = {}) {
    return "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: " + std::to_string(body.size()) +
           "\r\n" + headers + "\r\n" + body;
}

}  // namespace baleen::net
