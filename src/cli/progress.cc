#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <utility>

namespace baleen::cli {

Progress::Progress(std::string what)
    : what_(std::move(what)), is_terminal_(::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
    if (line_open_) fmt::print(stderr, "\n");
}

void Progress::update(uint64_t bytes_done, uint64_t bytes_total) {
    if (bytes_total == 0) return;
    const std::string text =
        fmt::format("{}: {} of {}", what_, bytes_text(bytes_done), bytes_text(bytes_total));
    if (!is_terminal_) {
        const uint64_t tenths = bytes_done / (bytes_total / 10 + 1);
        if (tenths <= tenths_shown_) return;
        tenths_shown_ = tenths;
        fmt::print(stderr, "{}\n", text);
        return;
    }
    const auto now = std::chrono::steady_clock::now();
    if (bytes_done < bytes_total && now - last_drawn_ < std::chrono::milliseconds(100)) return;
    last_drawn_ = now;
    line_open_ = true;
    constexpr size_t kWidth = 30;
    const auto filled = static_cast<size_t>(static_cast<double>(bytes_done) /
                                            static_cast<double>(bytes_total) * kWidth);
    fmt::print(stderr, "\r[{}{}] {}\033[K", std::string(filled, '#'),
               std::string(kWidth - filled, ' '), text);
    std::fflush(stderr);
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
