#include "base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <atomic>
#include <memory>

namespace baleen {
namespace {

std::atomic<LogLevel> lowest_level{LogLevel::kInfo};

spdlog::level::level_enum spdlog_level(LogLevel level) {
    switch (level) {
        case LogLevel::kDebug: return spdlog::level::debug;
        case LogLevel::kInfo: return spdlog::level::info;
        case LogLevel::kWarn: return spdlog::level::warn;
        case LogLevel::kError: return spdlog::level::err;
        case LogLevel::kOff: break;
    }
    return spdlog::level::off;
}

// Never destroyed: a thread that outlives main may still log.
spdlog::sinks::sink& stderr_sink() {
    static spdlog::sinks::sink& sink = *[] {
        auto* made = new spdlog::sinks::stderr_sink_mt();
        made->set_formatter(std::make_unique<spdlog::pattern_formatter>(
            "%Y-%m-%dT%H:%M:%S.%eZ %l %n %v", spdlog::pattern_time_type::utc));
        return made;
    }();
    return sink;
}

bool is_control(char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

void append_escaped(std::string& out, char c) {
    if (c == '\n')
        out += "\\n";
    else
        out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
}

}  // namespace

Result<LogLevel> parse_log_level(std::string_view name) {
    if (name == "debug") return LogLevel::kDebug;
    if (name == "info") return LogLevel::kInfo;
    if (name == "warn") return LogLevel::kWarn;
    if (name == "error") return LogLevel::kError;
    if (name == "off") return LogLevel::kOff;
    return make_error(ErrorCode::kInvalidArgument,
                      "log level '{}' is none of debug, info, warn, error, off", name);
}

void set_log_level(LogLevel level) {
    lowest_level.store(level, std::memory_order_relaxed);
}

bool log_enabled(LogLevel level) {
    return level != LogLevel::kOff && level >= lowest_level.load(std::memory_order_relaxed);
}

std::string quoted(std::string_view value) {
    bool plain = !value.empty();
    for (const char c : value)
        if (is_control(c) || c == ' ' || c == '"' || c == '\\' || c == '=') plain = false;
    if (plain) return std::string(value);
    std::string out = "\"";
    for (const char c : value) {
        if (c == '"' || c == '\\')
            (out += '\\') += c;
        else if (is_control(c))
            append_escaped(out, c);
        else
            out += c;
    }
    return out += '"';
}

void log_line(LogLevel level, std::string_view component, std::string_view message) {
    std::string line;
    line.reserve(message.size());
    for (const char c : message) {
        if (is_control(c))
            append_escaped(line, c);
        else
            line += c;
    }
    stderr_sink().log(spdlog::details::log_msg(
        spdlog::string_view_t(component.data(), component.size()), spdlog_level(level),
        spdlog::string_view_t(line.data(), line.size())));
}

}  // namespace baleen
