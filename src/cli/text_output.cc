#include "cli/text_output.h"

#include <unistd.h>

#include "cli/stdio.h"

namespace baleen::cli {

Result<bool> TextOutput::push(TokenId id) {
    const bool goes_on = raw_.push(id);
    TRY(write_certain());
    return goes_on;
}

Result<void> TextOutput::finish() {
    raw_.finish();
    TRY(write_certain());
    const bool in_line = !text().empty() && text().back() != '\n';
    if (echo_ == Echo::kStdout && in_line && ::isatty(STDOUT_FILENO) == 1)
        return write_stdout("\n");
    return {};
}

Result<void> TextOutput::write_certain() {
    const std::string_view fresh =
        std::string_view(text()).substr(written_, raw_.certain() - written_);
    written_ = raw_.certain();
    return echo_ == Echo::kStdout ? write_stdout(fresh) : Result<void>();
}

}  // namespace baleen::cli
