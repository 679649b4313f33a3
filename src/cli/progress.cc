#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <utility>

namespace baleen::cli {

Progress::Progress(std::string what, Unit unit)
    : what_(std::move(what)), unit_(unit), is_terminal_(::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
    if (line_open_) fmt::print(stderr, "\n");
}

void Progress::update(uint64_t done, uint64_t total) {
    if (total == 0) return;
    const auto now = std::chrono::steady_clock::now();
    if (!is_terminal_) {
        const uint64_t tenths = done / (total / 10 + 1);
        if (tenths <= tenths_shown_) return;
        if (unit_ != Unit::kBytes && now - last_drawn_ < std::chrono::seconds(10)) return;
        tenths_shown_ = tenths;
        last_drawn_ = now;
        fmt::print(stderr, "{}\n", text(done, total));
        return;
    }
    const bool first_or_last = !line_open_ || done == total;
    if (!first_or_last && now - last_drawn_ < std::chrono::milliseconds(100)) return;
    last_drawn_ = now;
    line_open_ = true;
    constexpr size_t kWidth = 30;
    const auto filled =
        static_cast<size_t>(static_cast<double>(done) / static_cast<double>(total) * kWidth);
    fmt::print(stderr, "\r[{}{}] {}\033[K", std::string(filled, '#'),
               std::string(kWidth - filled, ' '), text(done, total));
    std::fflush(stderr);
}

std::string Progress::text(uint64_t done, uint64_t total) const {
    if (unit_ == Unit::kBytes)
        return fmt::format("{}: {} of {}", what_, bytes_text(done), bytes_text(total));
    if (unit_ == Unit::kSteps) return fmt::format("{}: {} of {}", what_, done, total);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - created_;
    return fmt::format("{}: {} of {} tokens, {:.1f} tok/s", what_, done, total,
                       static_cast<double>(done) / elapsed.count());
}

std::string bytes_text(uint64_t bytes) {
    constexpr std::array<const char*, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
    auto value = static_cast<double>(bytes);
    size_t unit = 0;
    while (value >= 999.95 && unit + 1 < kUnits.size()) {
        value /= 1000;
        ++unit;
    }
    return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace baleen::cli
