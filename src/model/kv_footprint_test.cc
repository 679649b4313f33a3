#include "model/kv_footprint.h"

#include <gtest/gtest.h>

#include "model/config_fixture.h"

namespace baleen {
namespace {

constexpr double kMiB = 1 << 20;

struct Expected {
    const char* file;
    double bytes_per_token;  // spec 12.2
    double at_million_mib;   // spec 12.3, which leaves out the compressor state and the MTP window
    uint64_t state_bytes;
};

TEST(KvFootprint, AgreesWithTheCostModel) {
    const Expected cases[] = {
        {"config-v4-flash.json", 3514.25, 3354.5, 21 * (48 + 12) * 1024 + 20 * 512 * 1024},
        {"config-v4-pro.json", 5031.4375, 4802.7, 30 * (48 + 12) * 1024 + 31 * 512 * 1024},
    };
    for (const Expected& expected : cases) {
        const auto config = Config::from_json(test::official_config(expected.file));
        ASSERT_TRUE(config) << config.error().message;
        const KvFootprint f = kv_footprint(*config, 1'000'000);
        EXPECT_EQ(f.row_bytes, 584u);
        EXPECT_EQ(f.index_key_bytes, 68u);
        EXPECT_DOUBLE_EQ(f.bytes_per_token, expected.bytes_per_token);
        EXPECT_EQ(f.compressor_state_bytes, expected.state_bytes);
        const uint64_t mtp_window = 128 * 584;
        const uint64_t published = f.total_bytes() - f.compressor_state_bytes - mtp_window;
        EXPECT_NEAR(static_cast<double>(published) / kMiB, expected.at_million_mib, 0.05);
    }
}

TEST(KvFootprint, GrowsByWholeBlocksOnly) {
    const auto config = Config::from_json(test::tiny_config());
    ASSERT_TRUE(config);
    EXPECT_EQ(kv_footprint(*config, 3).total_bytes(), kv_footprint(*config, 0).total_bytes());
    const KvFootprint at_127 = kv_footprint(*config, 127);
    const KvFootprint at_128 = kv_footprint(*config, 128);
    // The tiny schedule has two layers of ratio 4 and two of ratio 128.
    EXPECT_EQ(at_128.entry_bytes - at_127.entry_bytes, 4 * at_128.row_bytes);
    EXPECT_EQ(at_128.index_bytes - at_127.index_bytes, 2 * at_128.index_key_bytes);
}

}  // namespace
}  // namespace baleen
