#include "net/listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace baleen::net {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";
constexpr int kBacklog = 1024;

Error system_error(const std::string& what) {
    return make_error(ErrorCode::kIo, "{}: {}", what, std::strerror(errno));
}

std::string address_text(const sockaddr* address, socklen_t bytes) {
    if (address->sa_family == AF_UNIX) return "unix";
    std::array<char, 64> host = {};
    std::array<char, 16> port = {};
    if (getnameinfo(address, bytes, host.data(), host.size(), port.data(), port.size(),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return "unknown";
    if (address->sa_family == AF_INET6) return fmt::format("[{}]:{}", host.data(), port.data());
    return fmt::format("{}:{}", host.data(), port.data());
}

// A client that vanishes without a word (power, network) is noticed in about a minute.
void watch_for_dead_peer(int fd) {
    const auto set = [fd](int level, int option, int value) {
        setsockopt(fd, level, option, &value, sizeof value);
    };
    set(IPPROTO_TCP, TCP_NODELAY, 1);
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, 30);
    set(IPPROTO_TCP, TCP_KEEPINTVL, 10);
    set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

struct FreeAddresses {
    void operator()(addrinfo* list) const { freeaddrinfo(list); }
};

// The addresses of a name, IPv4 first: "localhost" is then where clients try first.
Result<std::unique_ptr<addrinfo, FreeAddresses>> resolve(const std::string& host, uint16_t port,
                                                         std::vector<const addrinfo*>& ordered) {
    addrinfo wanted = {};
    wanted.ai_socktype = SOCK_STREAM;
    wanted.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    addrinfo* list = nullptr;
    if (const int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &list))
        return make_error(ErrorCode::kIo, "host '{}': {}", host, gai_strerror(error));
    std::unique_ptr<addrinfo, FreeAddresses> owner(list);
    for (const addrinfo* at = list; at != nullptr; at = at->ai_next) ordered.push_back(at);
    std::stable_partition(ordered.begin(), ordered.end(),
                          [](const addrinfo* a) { return a->ai_family == AF_INET; });
    return owner;
}

sockaddr_un unix_address(const std::string& path) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    return address;
}

// Removes a socket file that a dead server left behind.
Result<void> remove_stale_socket(const std::string& path) {
    struct stat status = {};
    if (lstat(path.c_str(), &status) != 0) {
        if (errno == ENOENT) return {};
        return system_error("unix:" + path);
    }
    if (!S_ISSOCK(status.st_mode))
        return make_error(ErrorCode::kIo, "unix:{}: exists and is not a socket", path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return system_error("unix:" + path);
    const sockaddr_un address = unix_address(path);
    const int connected = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    const int error = connected == 0 ? 0 : errno;
    ::close(fd);
    if (error != ECONNREFUSED)
        return make_error(ErrorCode::kIo, "unix:{}: another process listens there", path);
    if (unlink(path.c_str()) != 0) return system_error("unix:" + path);
    return {};
}

}  // namespace

Listener::Listener(Listener&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      address_(std::move(other.address_)),
      path_(std::exchange(other.path_, {})),
      device_(other.device_),
      inode_(other.inode_) {}

Result<Listener> Listener::open(const std::string& host, uint16_t port) {
    if (host.starts_with(kUnixPrefix)) return open_unix(host.substr(kUnixPrefix.size()));
    if (host.size() > 2 && host.front() == '[' && host.back() == ']')
        return open_tcp(host.substr(1, host.size() - 2), port);
    return open_tcp(host, port);
}

Result<Listener> Listener::open_unix(const std::string& path) {
    const size_t bytes_max = sizeof(sockaddr_un::sun_path) - 1;
    if (path.empty() || path.size() > bytes_max || path.find('\0') != std::string::npos)
        return make_error(ErrorCode::kInvalidArgument,
                          "unix:{}: the path has {} bytes, allowed are 1 to {}", path, path.size(),
                          bytes_max);
    TRY(remove_stale_socket(path));
    Listener listener;
    listener.address_ = "unix:" + path;
    listener.fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener.fd_ < 0) return system_error(listener.address_);
    const sockaddr_un address = unix_address(path);
    if (bind(listener.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return system_error(listener.address_);
    struct stat status = {};
    if (lstat(path.c_str(), &status) != 0) return system_error(listener.address_);
    listener.path_ = path;
    listener.device_ = status.st_dev;
    listener.inode_ = status.st_ino;
    if (::listen(listener.fd_, kBacklog) != 0) return system_error(listener.address_);
    return listener;
}

Result<Listener> Listener::open_tcp(const std::string& host, uint16_t port) {
    if (host.empty()) return make_error(ErrorCode::kInvalidArgument, "the host is empty");
    std::vector<const addrinfo*> addresses;
    const auto owner = TRY(resolve(host, port, addresses));
    Error error = make_error(ErrorCode::kIo, "host '{}' has no address", host);
    for (const addrinfo* at : addresses) {
        Listener listener;
        listener.fd_ = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        const int yes = 1;
        if (listener.fd_ >= 0 &&
            setsockopt(listener.fd_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
            bind(listener.fd_, at->ai_addr, at->ai_addrlen) == 0 &&
            ::listen(listener.fd_, kBacklog) == 0) {
            sockaddr_storage bound = {};
            socklen_t bytes = sizeof bound;
            getsockname(listener.fd_, reinterpret_cast<sockaddr*>(&bound), &bytes);
            listener.address_ = address_text(reinterpret_cast<const sockaddr*>(&bound), bytes);
            return listener;
        }
        error = system_error(address_text(at->ai_addr, at->ai_addrlen));
    }
    return error;
}

int Listener::accept(std::string& peer) const {
    sockaddr_storage address = {};
    socklen_t bytes = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    const int fd = accept4(fd_, generic, &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return fd;
    if (!path_.empty()) address.ss_family = AF_UNIX;  // an unnamed peer may have no address at all
    peer = address_text(generic, bytes);
    if (path_.empty()) watch_for_dead_peer(fd);
    return fd;
}

void Listener::close() {
    if (fd_ < 0) return;
    ::close(std::exchange(fd_, -1));
    struct stat status = {};
    if (!path_.empty() && lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ &&
        status.st_ino == inode_)
        unlink(path_.c_str());
}

size_t raise_open_files_limit() {
    rlimit limit = {};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    if (limit.rlim_cur < limit.rlim_max) {
        rlimit raised = limit;
        raised.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
    }
    return limit.rlim_cur;
}

}  // namespace baleen::net
