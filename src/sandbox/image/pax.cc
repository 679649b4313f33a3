#include "sandbox/image/pax.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "base/base64.h"
#include "sandbox/image/tar_format.h"

namespace baleen::sandbox::image {
namespace {

// (uint32_t)-1 means "no change" to chown.
constexpr uint64_t kIdMax = 0xfffffffe;

Result<uint64_t> decimal(std::string_view key, std::string_view text, uint64_t max) {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value > max)
        return make_error(ErrorCode::kCorrupt, "pax {} is '{}', expected a number 0 to {}", key,
                          text.substr(0, 40), max);
    return value;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// %XX becomes the byte; a lone % stands for itself.
std::string url_decoded(std::string_view text) {
    std::string decoded;
    for (size_t i = 0; i < text.size(); ++i) {
        const bool is_escape = text[i] == '%' && i + 2 < text.size() &&
                               hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0;
        if (!is_escape) {
            decoded += text[i];
            continue;
        }
        decoded += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
        i += 2;
    }
    return decoded;
}

// libarchive leaves the padding out.
Result<std::string> base64_decoded(std::string_view text) {
    std::string padded(text);
    while (padded.size() % 4 != 0) padded += '=';
    std::optional<std::string> decoded = parse_base64(padded);
    if (!decoded) return make_error(ErrorCode::kCorrupt, "pax attribute is no base64");
    return *std::move(decoded);
}

Result<void> add_xattr(std::string name, std::string_view value, PaxValues& values) {
    if (name.find('\0') != std::string::npos)
        return make_error(ErrorCode::kCorrupt, "pax attribute with a zero byte in its name");
    if (is_kept_xattr(name))
        set_xattr(values.xattrs, name, std::string(value));
    else if (!name.starts_with("trusted.overlay."))  // an overlay's bookkeeping
        ++values.num_dropped_xattrs;
    return {};
}

Result<void> set_value(std::string_view key, std::string_view value, PaxValues& values) {
    // An empty value takes an earlier one back.
    const bool is_set = !value.empty();
    if (key == "path") {
        values.path = is_set ? std::optional(std::string(value)) : std::nullopt;
    } else if (key == "linkpath") {
        values.link_path = is_set ? std::optional(std::string(value)) : std::nullopt;
    } else if (key == "size") {
        values.size.reset();
        if (is_set) values.size = TRY(decimal(key, value, std::numeric_limits<int64_t>::max()));
    } else if (key == "uid") {
        values.uid.reset();
        if (is_set) values.uid = static_cast<uint32_t>(TRY(decimal(key, value, kIdMax)));
    } else if (key == "gid") {
        values.gid.reset();
        if (is_set) values.gid = static_cast<uint32_t>(TRY(decimal(key, value, kIdMax)));
    } else if (key == "mtime") {
        values.mtime.reset();
        if (is_set) values.mtime = TRY(parse_pax_time(value));
    } else if (key.starts_with(tar::kPaxXattr)) {
        return add_xattr(std::string(key.substr(tar::kPaxXattr.size())), value, values);
    } else if (key.starts_with(tar::kPaxXattrBase64)) {
        return add_xattr(url_decoded(key.substr(tar::kPaxXattrBase64.size())),
                         TRY(base64_decoded(value)), values);
    } else if (key.starts_with("GNU.sparse.") || key == "SCHILY.realsize") {
        return make_error(ErrorCode::kUnsupported,
                          "a sparse file; write the archive without --sparse");
    }
    return {};
}

}  // namespace

Result<void> parse_pax(std::string_view records, PaxValues& values) {
    while (!records.empty()) {
        size_t length = 0;
        const auto [end, error] =
            std::from_chars(records.data(), records.data() + records.size(), length);
        const auto digits = static_cast<size_t>(end - records.data());
        if (error != std::errc() || length > records.size() || length < digits + 2 ||
            records[digits] != ' ' || records[length - 1] != '\n')
            return make_error(ErrorCode::kCorrupt, "pax record of a wrong length");
        const std::string_view record = records.substr(digits + 1, length - digits - 2);
        const size_t equals = record.find('=');
        if (equals == std::string_view::npos || equals == 0)
            return make_error(ErrorCode::kCorrupt, "pax record without a key");
        TRY(set_value(record.substr(0, equals), record.substr(equals + 1), values));
        records.remove_prefix(length);
    }
    return {};
}

std::string pax_record(std::string_view key, std::string_view value) {
    const size_t rest = key.size() + value.size() + 3;  // space, equals, newline
    size_t length = rest + 1;
    // The length counts its own digits.
    while (std::to_string(length).size() + rest != length)
        length = std::to_string(length).size() + rest;
    return fmt::format("{} {}={}\n", length, key, value);
}

Result<PaxTime> parse_pax_time(std::string_view text) {
    const auto bad = [&] {
        return make_error(ErrorCode::kCorrupt, "time '{}' is no decimal number of seconds",
                          text.substr(0, 40));
    };
    const bool is_negative = text.starts_with('-');
    const size_t dot = std::min(text.find('.'), text.size());
    PaxTime time;
    const auto [end, error] = std::from_chars(text.data(), text.data() + dot, time.seconds);
    if (error != std::errc() || end != text.data() + dot) return bad();
    uint32_t unit = 100'000'000;
    for (const char digit : text.substr(std::min(dot + 1, text.size()))) {
        if (digit < '0' || digit > '9') return bad();
        time.nanoseconds += unit * static_cast<uint32_t>(digit - '0');
        unit /= 10;  // 0 from the tenth digit on
    }
    if (is_negative && time.nanoseconds > 0) {
        if (time.seconds == std::numeric_limits<int64_t>::min()) return bad();
        --time.seconds;
        time.nanoseconds = 1'000'000'000 - time.nanoseconds;
    }
    return time;
}

std::string pax_time_text(const PaxTime& time) {
    if (time.nanoseconds == 0) return fmt::format("{}", time.seconds);
    if (time.seconds >= 0) return fmt::format("{}.{:09}", time.seconds, time.nanoseconds);
    // -2 s and 500,000,000 ns is -1.5.
    return fmt::format("-{}.{:09}", -(time.seconds + 1), 1'000'000'000 - time.nanoseconds);
}

}  // namespace baleen::sandbox::image
