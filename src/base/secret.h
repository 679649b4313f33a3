// Secrets and keyed hashes: names that nobody can guess, and fingerprints of text from outside that
// nobody can forge without the key.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace baleen {

// bits / 5.95 characters of [0-9A-Za-z], from the system's entropy.
std::string random_name(size_t characters);

// True if equal, in time that depends on the lengths only.
bool equal_constant_time(std::string_view a, std::string_view b);

// A 128-bit value, printable and usable as a map key.
struct Fingerprint {
    std::array<uint64_t, 2> words{};
    bool operator==(const Fingerprint&) const = default;
    std::string hex() const;
};

// SipHash-2-4 with a 128-bit result (Aumasson and Bernstein) and a key from the system's entropy:
// a hash of a sequence of strings, each ended by its length, so that ("ab", "c") is not ("a",
// "bc").
class KeyedHash {
  public:
    using Key = std::array<uint64_t, 2>;
    static Key random_key();

    explicit KeyedHash(const Key& key) : key_(key) {}
    KeyedHash& add(std::string_view text);
    Fingerprint finish() const;

  private:
    Key key_;
    std::string text_;
};

// SipHash-2-4-128 of one string: the published test vectors are in secret_test.cc.
Fingerprint sip_hash_128(const KeyedHash::Key& key, std::string_view text);

}  // namespace baleen

template <>
struct std::hash<baleen::Fingerprint> {
    size_t operator()(const baleen::Fingerprint& f) const noexcept { return f.words[0]; }
};
