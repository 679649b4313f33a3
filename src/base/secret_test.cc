#include "base/secret.h"

#include <gtest/gtest.h>

#include <set>

namespace baleen {
namespace {

// The first vectors of SipHash's own table for 128-bit output: key 00 01 .. 0f, text 00 01 ..
TEST(SipHash128, MatchesThePublishedVectors) {
    const KeyedHash::Key key = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    EXPECT_EQ(sip_hash_128(key, "").words,
              (std::array<uint64_t, 2>{0xe6a825ba047f81a3u, 0x930255c71472f66du}));
    EXPECT_EQ(sip_hash_128(key, std::string_view("\0", 1)).words,
              (std::array<uint64_t, 2>{0x44af996bd8c187dau, 0x45fc229b11597634u}));
}

TEST(KeyedHash, DependsOnKeyTextAndWhereStringsEnd) {
    const KeyedHash::Key key = KeyedHash::random_key();
    const auto hash = [&](std::initializer_list<std::string_view> texts) {
        KeyedHash h(key);
        for (const std::string_view text : texts) h.add(text);
        return h.finish().hex();
    };
    EXPECT_EQ(hash({"ab", "c"}), hash({"ab", "c"}));
    const std::set<std::string> distinct = {hash({"ab", "c"}), hash({"a", "bc"}), hash({"abc"}),
                                            hash({"abc", ""}), hash({}),          hash({""})};
    EXPECT_EQ(distinct.size(), 6u);
    EXPECT_NE(KeyedHash(KeyedHash::random_key()).add("a").finish().hex(), hash({"a"}));
}

TEST(RandomName, HasTheLengthAndNeverRepeats) {
    std::set<std::string> names;
    for (int i = 0; i < 1000; ++i) names.insert(random_name(24));
    EXPECT_EQ(names.size(), 1000u);
    for (const std::string& name : names) {
        EXPECT_EQ(name.size(), 24u);
        for (const char c : name) EXPECT_TRUE(std::isalnum(static_cast<unsigned char>(c)) != 0);
    }
}

TEST(EqualConstantTime, ComparesContent) {
    EXPECT_TRUE(equal_constant_time("", ""));
    EXPECT_TRUE(equal_constant_time("key", "key"));
    EXPECT_FALSE(equal_constant_time("key", "kez"));
    EXPECT_FALSE(equal_constant_time("key", "key "));
    EXPECT_FALSE(equal_constant_time("", "k"));
}

}  // namespace
}  // namespace baleen
