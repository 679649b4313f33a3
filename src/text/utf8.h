// UTF-8 at the byte level: checking, decoding what was checked, and repairing what was not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace baleen {

struct Utf8Step {
    enum class Kind { kValid, kInvalid, kIncomplete };
    Kind kind;
    // kValid: length of the character, 1 to 4. kInvalid: length of the maximal ill-formed subpart
    // (one U+FFFD replaces it). kIncomplete: all that is there, 1 to 3 bytes, could become valid.
    size_t size;
};

// Looks at the first character. REQUIRES: bytes is not empty.
Utf8Step utf8_step(std::string_view bytes);

// Offset of the first byte that is not part of a valid character, or npos.
size_t first_invalid_utf8(std::string_view text);

void append_utf8(char32_t code, std::string& out);

// Moves what is complete from the front of pending to out, with U+FFFD for ill-formed bytes. An
// incomplete character at the end, at most 3 bytes, stays in pending.
void drain_utf8(std::string& pending, std::string& out);

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

struct Utf8Char {
    char32_t code;
    uint32_t size;  // bytes, 1 to 4
};

// REQUIRES: at points to the first byte of a valid character.
inline Utf8Char decode_valid_utf8(const char* at) {
    const auto byte = [at](int i) { return static_cast<char32_t>(static_cast<uint8_t>(at[i])); };
    const char32_t lead = byte(0);
    if (lead < 0x80) return {lead, 1};
    if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
    if (lead < 0xF0) return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
    return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F),
            4};
}

}  // namespace baleen
