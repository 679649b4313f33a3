// The log: one line per event on stderr, "TIME LEVEL COMPONENT MESSAGE", where the message is a few
// words followed by key=value pairs. Values that come from outside go through quoted(), so that
// a line stays one line and a value stays one word. Any thread may log.
//
// Only `engine` and what stands above it log, and `net` when it listens; everything below returns
// errors.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace baleen {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kOff };

// "debug", "info", "warn", "error" or "off".
Result<LogLevel> parse_log_level(std::string_view name);
void set_log_level(LogLevel level);  // kInfo at the start
bool log_enabled(LogLevel level);

// The value as it is if it is one plain word, else in double quotes with escapes.
std::string quoted(std::string_view value);

// One line, whatever the level; control characters in it are escaped.
void log_line(LogLevel level, std::string_view component, std::string_view message);

// log_info("net", "listening address={}", address);
template <typename... Args>
void log_at(LogLevel level, std::string_view component, fmt::format_string<Args...> format,
            Args&&... args) {
    if (log_enabled(level))
        log_line(level, component, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_debug(std::string_view component, fmt::format_string<Args...> format, Args&&... args) {
    log_at(LogLevel::kDebug, component, format, std::forward<Args>(args)...);
}
template <typename... Args>
void log_info(std::string_view component, fmt::format_string<Args...> format, Args&&... args) {
    log_at(LogLevel::kInfo, component, format, std::forward<Args>(args)...);
}
template <typename... Args>
void log_warn(std::string_view component, fmt::format_string<Args...> format, Args&&... args) {
    log_at(LogLevel::kWarn, component, format, std::forward<Args>(args)...);
}
template <typename... Args>
void log_error(std::string_view component, fmt::format_string<Args...> format, Args&&... args) {
    log_at(LogLevel::kError, component, format, std::forward<Args>(args)...);
}

}  // namespace baleen
