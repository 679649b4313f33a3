#include "net/response.h"

#include <algorithm>
#include <array>
#include <boost/beast/http/status.hpp>
#include <ctime>
#include <string_view>

#include "base/check.h"

namespace baleen::net {
namespace {

bool is_token(std::string_view name) {
    constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
    return !name.empty() && std::all_of(name.begin(), name.end(), [&](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               kMarks.find(c) != std::string_view::npos;
    });
}

bool is_ours(std::string_view name) {
    constexpr std::array<std::string_view, 4> kOurs = {"connection", "content-length", "date",
                                                       "transfer-encoding"};
    const auto equal = [](char a, char b) { return (a | 0x20) == b; };
    return std::any_of(kOurs.begin(), kOurs.end(), [&](std::string_view ours) {
        return std::equal(name.begin(), name.end(), ours.begin(), ours.end(), equal);
    });
}

void append_header(std::string& out, std::string_view name, std::string_view value) {
    ((out += name) += ": ");
    for (const char c : value) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
    out += "\r\n";
}

// As HTTP wants it: "Tue, 24 Nov 2026 16:27:50 GMT", whatever the locale.
std::string http_date() {
    constexpr std::array<std::string_view, 7> kDays = {"Sun", "Mon", "Tue", "Wed",
                                                       "Thu", "Fri", "Sat"};
    constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const std::time_t now = std::time(nullptr);
    std::tm utc = {};
    gmtime_r(&now, &utc);
    return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
                       kDays[static_cast<size_t>(utc.tm_wday)], utc.tm_mday,
                       kMonths[static_cast<size_t>(utc.tm_mon)], utc.tm_year + 1900, utc.tm_hour,
                       utc.tm_min, utc.tm_sec);
}

std::string reason(int status) {
    const auto phrase =
        boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(status));
    return {phrase.data(), phrase.size()};
}

}  // namespace

bool status_has_body(int status) {
    return status != 204 && status != 304;
}

std::string response_head(int status, const Headers& headers, Framing framing, HttpVersion version,
                          AfterAnswer after) {
    CHECK_GE(status, 200);
    CHECK_LE(status, 599);
    std::string out = fmt::format("HTTP/1.1 {} {}\r\n", status, reason(status));
    append_header(out, "Date", http_date());
    for (const auto& [name, value] : headers) {
        if (!is_token(name) || is_ours(name))
            check_failed(__FILE__, __LINE__, "a header that a handler may set", name);
        append_header(out, name, value);
    }
    if (framing.kind == Framing::Kind::kLength)
        append_header(out, "Content-Length", fmt::format("{}", framing.length));
    if (framing.kind == Framing::Kind::kChunked) append_header(out, "Transfer-Encoding", "chunked");
    if (after == AfterAnswer::kClose)
        append_header(out, "Connection", "close");
    else if (version == HttpVersion::k10)
        append_header(out, "Connection", "keep-alive");
    return out += "\r\n";
}

std::string chunk_size_line(size_t bytes) {
    return fmt::format("{:x}\r\n", bytes);
}

}  // namespace baleen::net
