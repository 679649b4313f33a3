#include "model/kv_spec.h"

#include <gtest/gtest.h>

#include "model/config_fixture.h"

namespace baleen {
namespace {

struct Expected {
    const char* file;
    double bytes_per_token;  // spec 12.2
    size_t num_layers;
    size_t state_bytes;  // spec 5.5, less the upper lanes of the previous block
};

TEST(KvSpec, LayoutAgreesWithTheCostModel) {
    const Expected cases[] = {
        {"config-v4-flash.json", 3514.25, 44, 21 * (48 + 12) * 1024 + 20 * 512 * 1024},
        {"config-v4-pro.json", 5031.4375, 62, 30 * (48 + 12) * 1024 + 31 * 512 * 1024},
    };
    for (const Expected& expected : cases) {
        const auto config = Config::from_json(test::official_config(expected.file));
        ASSERT_TRUE(config) << config.error().message;
        const KvLayout layout(kv_spec(*config, KvEncoding::kPacked));
        EXPECT_EQ(layout.layers.size(), expected.num_layers);
        EXPECT_EQ(layout.ring_bytes, expected.num_layers * 128 * 584);
        EXPECT_EQ(layout.state_floats * 4, expected.state_bytes);
        // A page is rounded up to 64 bytes.
        const double page = expected.bytes_per_token * 128;
        EXPECT_GE(static_cast<double>(layout.page_bytes), page);
        EXPECT_LT(static_cast<double>(layout.page_bytes), page + 64);
    }
}

}  // namespace
}  // namespace baleen
