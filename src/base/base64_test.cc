#include "base/base64.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace baleen {
namespace {

TEST(Base64, MatchesTheVectorsOfRfc4648) {
    const std::vector<std::pair<std::string, std::string>> vectors = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    for (const auto& [bytes, text] : vectors) {
        EXPECT_EQ(base64(bytes), text);
        EXPECT_EQ(parse_base64(text), bytes);
    }
}

TEST(Base64, EveryByteComesBackFromEveryPlace) {
    std::string bytes;
    for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
    for (size_t begin = 0; begin < 4; ++begin)
        for (size_t cut = 0; cut < 4; ++cut) {
            const std::string part = bytes.substr(begin, bytes.size() - begin - cut);
            EXPECT_EQ(parse_base64(base64(part)), part);
        }
}

TEST(Base64, OnlyOneSpellingIsRead) {
    for (const std::string_view bad :
         {"Z", "Zg", "Zg=", "Zg===", "====", "=g==", "Z===", "Zm=v",
          "Zh==", "Zm9=", "Zg==Zg==", "Zm9v\n", " Zm9", "Zm9\xff", "Zm-_"})
        EXPECT_FALSE(parse_base64(bad)) << bad;
}

}  // namespace
}  // namespace baleen
