#include "base/secret.h"

#include <sys/random.h>

#include <bit>
#include <cstring>

#include "base/check.h"

namespace baleen {
namespace {

void fill_random(void* bytes, size_t size) {
    auto* at = static_cast<uint8_t*>(bytes);
    while (size > 0) {
        const ssize_t got = getrandom(at, size, 0);
        CHECK_GT(got, 0);  // at most 256 bytes at a time: never interrupted, never short
        at += got;
        size -= static_cast<size_t>(got);
    }
}

struct SipState {
    uint64_t v0, v1, v2, v3;

    void round() {
        v0 += v1;
        v1 = std::rotl(v1, 13) ^ v0;
        v0 = std::rotl(v0, 32);
        v2 += v3;
        v3 = std::rotl(v3, 16) ^ v2;
        v0 += v3;
        v3 = std::rotl(v3, 21) ^ v0;
        v2 += v1;
        v1 = std::rotl(v1, 17) ^ v2;
        v2 = std::rotl(v2, 32);
    }
    void absorb(uint64_t word) {
        v3 ^= word;
        round();
        round();
        v0 ^= word;
    }
    uint64_t squeeze() {
        for (int i = 0; i < 4; ++i) round();
        return v0 ^ v1 ^ v2 ^ v3;
    }
};

}  // namespace

std::string random_name(size_t characters) {
    static constexpr std::string_view kAlphabet =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    std::string name;
    while (name.size() < characters) {
        std::array<uint8_t, 64> bytes;
        fill_random(bytes.data(), bytes.size());
        for (const uint8_t byte : bytes)  // rejection: each letter is as likely as any other
            if (byte < 4 * kAlphabet.size() && name.size() < characters)
                name += kAlphabet[byte % kAlphabet.size()];
    }
    return name;
}

bool equal_constant_time(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    unsigned difference = 0;
    for (size_t i = 0; i < a.size(); ++i)
        difference |=
            static_cast<unsigned>(static_cast<uint8_t>(a[i]) ^ static_cast<uint8_t>(b[i]));
    return difference == 0;
}

std::string Fingerprint::hex() const {
    return fmt::format("{:016x}{:016x}", words[0], words[1]);
}

KeyedHash::Key KeyedHash::random_key() {
    Key key;
    fill_random(key.data(), sizeof key);
    return key;
}

KeyedHash& KeyedHash::add(std::string_view text) {
    const uint64_t size = text.size();
    text_.append(text);
    text_.append(reinterpret_cast<const char*>(&size), sizeof size);
    return *this;
}

Fingerprint KeyedHash::finish() const {
    return sip_hash_128(key_, text_);
}

Fingerprint sip_hash_128(const KeyedHash::Key& key, std::string_view text) {
    SipState s{key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du ^ 0xee,
               key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u};
    size_t i = 0;
    for (; i + 8 <= text.size(); i += 8) {
        uint64_t word;
        std::memcpy(&word, text.data() + i, 8);
        s.absorb(word);
    }
    uint64_t last = static_cast<uint64_t>(text.size()) << 56;
    for (size_t j = 0; i + j < text.size(); ++j)
        last |= static_cast<uint64_t>(static_cast<uint8_t>(text[i + j])) << (8 * j);
    s.absorb(last);
    s.v2 ^= 0xee;
    Fingerprint result;
    result.words[0] = s.squeeze();
    s.v1 ^= 0xdd;
    result.words[1] = s.squeeze();
    return result;
}

}  // namespace baleen
