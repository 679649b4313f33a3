#include "base/base64.h"

#include <array>
#include <cstdint>

namespace baleen {
namespace {

constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr uint8_t kNoDigit = 255;

constexpr std::array<uint8_t, 256> kValues = [] {
    std::array<uint8_t, 256> values{};
    values.fill(kNoDigit);
    for (size_t i = 0; i < kDigits.size(); ++i)
        values[static_cast<uint8_t>(kDigits[i])] = static_cast<uint8_t>(i);
    return values;
}();

}  // namespace

std::string base64(std::string_view bytes) {
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (size_t at = 0; at < bytes.size(); at += 3) {
        const std::string_view group = bytes.substr(at, 3);
        uint32_t bits = 0;
        for (size_t i = 0; i < 3; ++i)
            bits = bits << 8 | (i < group.size() ? static_cast<uint8_t>(group[i]) : 0u);
        for (size_t i = 0; i < 4; ++i)
            text += i <= group.size() ? kDigits[bits >> (18 - 6 * i) & 63] : '=';
    }
    return text;
}

std::optional<std::string> parse_base64(std::string_view text) {
    if (text.size() % 4 != 0) return std::nullopt;
    std::string bytes;
    bytes.reserve(text.size() / 4 * 3);
    for (; !text.empty(); text.remove_prefix(4)) {
        const bool is_last = text.size() == 4;
        const size_t num_digits = !is_last || text[3] != '=' ? 4 : text[2] != '=' ? 3 : 2;
        uint32_t bits = 0;
        for (size_t i = 0; i < 4; ++i) {
            const uint8_t value = i < num_digits ? kValues[static_cast<uint8_t>(text[i])] : 0;
            if (value == kNoDigit) return std::nullopt;
            bits = bits << 6 | value;
        }
        const size_t num_bytes = num_digits - 1;
        if ((bits & ((1u << (24 - 8 * num_bytes)) - 1)) != 0) return std::nullopt;
        for (size_t i = 0; i < num_bytes; ++i) bytes += static_cast<char>(bits >> (16 - 8 * i));
    }
    return bytes;
}

}  // namespace baleen
