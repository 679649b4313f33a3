#include "net/request_target.h"

#include <algorithm>

namespace baleen::net {
namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

enum class Plus { kLiteral, kSpace };  // in a query '+' means a space

std::optional<std::string> percent_decode(std::string_view text, Plus plus) {
    std::string out;
    out.reserve(text.size());
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '+' && plus == Plus::kSpace) {
            out += ' ';
        } else if (text[i] != '%') {
            out += text[i];
        } else {
            if (i + 2 >= text.size()) return std::nullopt;
            const int high = hex_digit(text[i + 1]);
            const int low = hex_digit(text[i + 2]);
            if (high < 0 || low < 0 || (high == 0 && low == 0)) return std::nullopt;
            out += static_cast<char>(high * 16 + low);
            i += 2;
        }
    }
    return out;
}

// Puts the decoded "key=value" of a query behind the others.
bool add_parameter(std::string_view text, Target& target) {
    const size_t equals = text.find('=');
    const auto key = percent_decode(text.substr(0, equals), Plus::kSpace);
    const auto value = equals == std::string_view::npos
                           ? std::string()
                           : percent_decode(text.substr(equals + 1), Plus::kSpace);
    if (!key || !value) return false;
    target.query.emplace_back(*key, *value);
    return true;
}

// Removes "http://host" in front. False if what is left is no path; an empty one stands for "/".
bool strip_origin(std::string_view& text) {
    for (const std::string_view scheme : {"http://", "https://"}) {
        if (!text.starts_with(scheme)) continue;
        text.remove_prefix(scheme.size());
        const size_t host_bytes = std::min(text.find_first_of("/?"), text.size());
        text.remove_prefix(host_bytes);
        return host_bytes > 0;
    }
    return text.starts_with('/');
}

}  // namespace

std::optional<Target> parse_target(std::string_view text) {
    if (text == "*") return Target{"/", {}};
    if (text.find('#') != std::string_view::npos || !strip_origin(text)) return std::nullopt;
    const size_t question = text.find('?');
    auto path = percent_decode(text.substr(0, question), Plus::kLiteral);
    if (!path) return std::nullopt;
    if (path->empty()) *path += '/';
    Target target{std::move(*path), {}};
    if (question == std::string_view::npos) return target;
    for (std::string_view rest = text.substr(question + 1); !rest.empty();) {
        const size_t end = rest.find('&');
        if (end != 0 && !add_parameter(rest.substr(0, end), target)) return std::nullopt;
        rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
    return target;
}

}  // namespace baleen::net
