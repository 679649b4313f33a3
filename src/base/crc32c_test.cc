#include "base/crc32c.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string_view>
#include <vector>

namespace baleen {
namespace {

uint32_t of(std::string_view text) {
    return crc32c({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

// RFC 3720, appendix B.4, and the check value of the CRC catalogues.
TEST(Crc32c, MatchesThePublishedVectors) {
    EXPECT_EQ(of(""), 0u);
    EXPECT_EQ(of("123456789"), 0xE3069283u);
    std::vector<uint8_t> bytes(32, 0);
    EXPECT_EQ(crc32c(bytes), 0x8A9136AAu);
    bytes.assign(32, 0xFF);
    EXPECT_EQ(crc32c(bytes), 0x62A8AB43u);
    std::iota(bytes.begin(), bytes.end(), uint8_t{0});
    EXPECT_EQ(crc32c(bytes), 0x46DD794Eu);
}

// One bit at a time, from the definition.
uint32_t slow_crc32c(const std::vector<uint8_t>& bytes) {
    uint32_t rest = ~uint32_t{0};
    for (const uint8_t byte : bytes)
        for (int bit = 0; bit < 8; ++bit) {
            const uint32_t out = (rest ^ byte >> bit) & 1;
            rest = rest >> 1 ^ (out != 0 ? 0x82F63B78u : 0);
        }
    return ~rest;
}

TEST(Crc32c, EveryLengthAndEveryCutGiveTheSame) {
    std::vector<uint8_t> bytes;
    for (int size = 0; size < 70; ++size) {
        const std::span<const uint8_t> whole = bytes;
        EXPECT_EQ(crc32c(whole), slow_crc32c(bytes)) << size;
        for (size_t cut = 0; cut <= bytes.size(); ++cut)
            EXPECT_EQ(crc32c(whole.subspan(cut), crc32c(whole.first(cut))), crc32c(whole));
        bytes.push_back(static_cast<uint8_t>(size * 37 + 11));
    }
}

}  // namespace
}  // namespace baleen
