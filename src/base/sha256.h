// SHA-256 of bytes that may come in pieces, and its printed form. A wrapper of libcrypto; the one
// file that includes it. An object belongs to one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace baleen {

using Sha256Digest = std::array<uint8_t, 32>;

class Sha256 {
  public:
    Sha256();

    Sha256& update(std::span<const uint8_t> bytes);
    Sha256& update(std::string_view text);

    // The digest of everything since the last finish(); the next update begins a new one.
    Sha256Digest finish();

  private:
    struct Free {
        void operator()(void* context) const;
    };
    std::unique_ptr<void, Free> context_;
};

Sha256Digest sha256(std::span<const uint8_t> bytes);
Sha256Digest sha256(std::string_view text);

// Two characters of [0-9a-f] per byte.
std::string hex(std::span<const uint8_t> bytes);

// Fills out from what hex() printed of as many bytes; false, and out undefined, for anything else.
bool parse_hex(std::string_view text, std::span<uint8_t> out);

// The digest that hex() printed: exactly 64 characters of [0-9a-f].
std::optional<Sha256Digest> parse_sha256(std::string_view text);

}  // namespace baleen
