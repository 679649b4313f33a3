#include "base/sha256.h"

#include <openssl/evp.h>

#include "base/check.h"

namespace baleen {
namespace {

// Fetched once: EVP_sha256() would look the implementation up again for every digest.
const EVP_MD* algorithm() {
    static const EVP_MD* const fetched = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    CHECK(fetched != nullptr);
    return fetched;
}

EVP_MD_CTX* context_of(void* context) {
    return static_cast<EVP_MD_CTX*>(context);
}

std::span<const uint8_t> bytes_of(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

}  // namespace

void Sha256::Free::operator()(void* context) const {
    EVP_MD_CTX_free(context_of(context));
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
    CHECK(context_ != nullptr);
    CHECK_EQ(EVP_DigestInit_ex2(context_of(context_.get()), algorithm(), nullptr), 1);
}

Sha256& Sha256::update(std::span<const uint8_t> bytes) {
    CHECK_EQ(EVP_DigestUpdate(context_of(context_.get()), bytes.data(), bytes.size()), 1);
    return *this;
}
Sha256& Sha256::update(std::string_view text) {
    return update(bytes_of(text));
}

Sha256Digest Sha256::finish() {
    Sha256Digest digest{};
    unsigned size = 0;
    CHECK_EQ(EVP_DigestFinal_ex(context_of(context_.get()), digest.data(), &size), 1);
    CHECK_EQ(size, digest.size());
    CHECK_EQ(EVP_DigestInit_ex2(context_of(context_.get()), nullptr, nullptr), 1);
    return digest;
}

Sha256Digest sha256(std::span<const uint8_t> bytes) {
    return Sha256().update(bytes).finish();
}
Sha256Digest sha256(std::string_view text) {
    return Sha256().update(text).finish();
}

std::string hex(std::span<const uint8_t> bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    text.reserve(2 * bytes.size());
    for (const uint8_t byte : bytes) {
        text += kDigits[byte >> 4];
        text += kDigits[byte & 15];
    }
    return text;
}

bool parse_hex(std::string_view text, std::span<uint8_t> out) {
    if (text.size() != 2 * out.size()) return false;
    for (size_t i = 0; i < out.size(); ++i) {
        const int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        out[i] = static_cast<uint8_t>(high << 4 | low);
    }
    return true;
}

std::optional<Sha256Digest> parse_sha256(std::string_view text) {
    Sha256Digest digest{};
    if (!parse_hex(text, digest)) return std::nullopt;
    return digest;
}

}  // namespace baleen
