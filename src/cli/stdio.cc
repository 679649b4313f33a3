#include "cli/stdio.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace baleen::cli {

Result<std::string> read_stdin() {
    constexpr size_t kChunk = size_t{1} << 16;
    std::string text;
    for (;;) {
        const size_t size = text.size();
        if (size > kStdinBytesMax)
            return make_error(ErrorCode::kExhausted, "stdin: more than {} bytes", kStdinBytesMax);
        text.resize(size + kChunk);
        const ssize_t n = ::read(STDIN_FILENO, text.data() + size, kChunk);
        text.resize(size + static_cast<size_t>(n > 0 ? n : 0));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return make_error(ErrorCode::kIo, "stdin: cannot read: {}", std::strerror(errno));
        if (n == 0) return text;
    }
}

Result<void> write_stdout(std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return make_error(ErrorCode::kIo, "stdout: cannot write: {}", std::strerror(errno));
        text.remove_prefix(static_cast<size_t>(n));
    }
    return {};
}

}  // namespace baleen::cli
