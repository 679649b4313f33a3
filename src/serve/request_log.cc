#include "serve/request_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace baleen::serve {

Result<std::unique_ptr<RequestLog>> RequestLog::open(const std::string& path) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return make_error(ErrorCode::kIo, "{}: cannot open for appending: {}", path,
                          std::strerror(errno));
    return std::unique_ptr<RequestLog>(new RequestLog(path, fd));
}

RequestLog::~RequestLog() {
    ::close(fd_);
}

void RequestLog::write(const Json& line) {
    const std::string text = dump_json(line) + "\n";
    const std::lock_guard lock(mutex_);
    // One write with O_APPEND: lines of two processes do not mix.
    if (::write(fd_, text.data(), text.size()) == static_cast<ssize_t>(text.size())) return;
    if (!std::exchange(has_failed_, true))
        log_warn("serve", "{}: cannot write, request log is incomplete: {}", path_,
                 std::strerror(errno));
}

}  // namespace baleen::serve
