#include "base/sha256.h"

#include <gtest/gtest.h>

namespace baleen {
namespace {

// The examples of FIPS 180-4.
TEST(Sha256, MatchesThePublishedVectors) {
    EXPECT_EQ(hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(hex(sha256("abc")),
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    EXPECT_EQ(hex(sha256(std::string(1000000, 'a'))),
              "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesGiveTheDigestOfTheWholeAndAnObjectServesAgain) {
    std::string text;
    for (int i = 0; i < 300; ++i) text += static_cast<char>(i * 7);
    Sha256 hash;
    for (size_t cut = 0; cut <= text.size(); cut += 13) {
        hash.update(std::string_view(text).substr(0, cut)).update("");
        hash.update(std::string_view(text).substr(cut));
        EXPECT_EQ(hash.finish(), sha256(text)) << cut;
    }
}

TEST(Sha256, OnlyWhatHexPrintsIsReadBack) {
    const Sha256Digest digest = sha256("abc");
    std::string text = hex(digest);
    EXPECT_EQ(parse_sha256(text), digest);
    EXPECT_FALSE(parse_sha256(""));
    EXPECT_FALSE(parse_sha256(text + "0"));
    EXPECT_FALSE(parse_sha256(text.substr(1)));
    for (const char c : {'A', 'g', '/', ':', '`', ' ', '\0'}) {
        std::string bad = text;
        bad[63] = c;
        EXPECT_FALSE(parse_sha256(bad)) << c;
    }
}

}  // namespace
}  // namespace baleen
