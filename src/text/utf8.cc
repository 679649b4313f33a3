#include "text/utf8.h"

#include <cstring>

namespace baleen {
namespace {

struct Lead {
    size_t size;         // bytes of a character that starts so; 0: starts none
    uint8_t second_min;  // range of the second byte (Unicode 16.0, table 3-7)
    uint8_t second_max;
};

Lead lead_of(uint8_t byte) {
    if (byte < 0x80) return {1, 0, 0};
    if (byte < 0xC2) return {0, 0, 0};
    if (byte < 0xE0) return {2, 0x80, 0xBF};
    if (byte == 0xE0) return {3, 0xA0, 0xBF};  // no overlong forms
    if (byte == 0xED) return {3, 0x80, 0x9F};  // no surrogates
    if (byte < 0xF0) return {3, 0x80, 0xBF};
    if (byte == 0xF0) return {4, 0x90, 0xBF};
    if (byte < 0xF4) return {4, 0x80, 0xBF};
    if (byte == 0xF4) return {4, 0x80, 0x8F};  // up to U+10FFFF
    return {0, 0, 0};
}

}  // namespace

Utf8Step utf8_step(std::string_view bytes) {
    const Lead lead = lead_of(static_cast<uint8_t>(bytes[0]));
    if (lead.size == 0) return {Utf8Step::Kind::kInvalid, 1};
    for (size_t i = 1; i < lead.size; ++i) {
        if (i == bytes.size()) return {Utf8Step::Kind::kIncomplete, i};
        const auto byte = static_cast<uint8_t>(bytes[i]);
        const uint8_t min = i == 1 ? lead.second_min : 0x80;
        const uint8_t max = i == 1 ? lead.second_max : 0xBF;
        if (byte < min || byte > max) return {Utf8Step::Kind::kInvalid, i};
    }
    return {Utf8Step::Kind::kValid, lead.size};
}

size_t first_invalid_utf8(std::string_view text) {
    size_t at = 0;
    while (at < text.size()) {
        uint64_t word = 0;
        if (at + sizeof word <= text.size()) {
            std::memcpy(&word, text.data() + at, sizeof word);
            if ((word & 0x8080808080808080u) == 0) {  // eight ASCII bytes at once
                at += sizeof word;
                continue;
            }
        }
        const Utf8Step step = utf8_step(text.substr(at));
        if (step.kind != Utf8Step::Kind::kValid) return at;
        at += step.size;
    }
    return std::string_view::npos;
}

void append_utf8(char32_t code, std::string& out) {
    const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xC0 | code >> 6);
        put(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        put(0xE0 | code >> 12);
        put(0x80 | (code >> 6 & 0x3F));
        put(0x80 | (code & 0x3F));
    } else {
        put(0xF0 | code >> 18);
        put(0x80 | (code >> 12 & 0x3F));
        put(0x80 | (code >> 6 & 0x3F));
        put(0x80 | (code & 0x3F));
    }
}

void drain_utf8(std::string& pending, std::string& out) {
    std::string_view rest = pending;
    while (!rest.empty()) {
        const Utf8Step step = utf8_step(rest);
        if (step.kind == Utf8Step::Kind::kIncomplete) break;
        out +=
            step.kind == Utf8Step::Kind::kValid ? rest.substr(0, step.size) : kReplacementCharacter;
        rest.remove_prefix(step.size);
    }
    pending.erase(0, pending.size() - rest.size());
}

}  // namespace baleen
