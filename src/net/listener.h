// A listening socket for an address as a person writes it, and what it needs from the system.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/result.h"

namespace baleen::net {

// Owns the descriptor and, of a Unix socket, the file. Move-only.
class Listener {
  public:
    // host: an address, "[::1]", a name, or "unix:PATH". A name that has IPv4 addresses gets one of
    // those. A socket file that nobody listens on is replaced; any other file is an error.
    static Result<Listener> open(const std::string& host, uint16_t port);
    Listener(Listener&& other) noexcept;
    Listener& operator=(Listener&&) = delete;
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;
    ~Listener() { close(); }

    int fd() const { return fd_; }
    const std::string& address() const { return address_; }
    // The next connection, non-blocking and closed on exec; -1 with errno.
    int accept(std::string& peer) const;
    // Closes, and removes the socket file if it is still ours.
    void close();

  private:
    Listener() = default;
    static Result<Listener> open_unix(const std::string& path);
    static Result<Listener> open_tcp(const std::string& host, uint16_t port);

    int fd_ = -1;
    std::string address_;
    std::string path_;  // of a Unix socket
    dev_t device_ = 0;  // of the socket file
    ino_t inode_ = 0;
};

// Raises the limit of open files to the hard limit; returns it.
size_t raise_open_files_limit();

}  // namespace baleen::net
