#include "agent/share.h"

#include <gtest/gtest.h>

namespace baleen::agent {
namespace {

TEST(Share, CountsHits) {
    Share share;
    EXPECT_EQ(share.value(), 0);
    share.add(true);
    share.add(false);
    share.add({.hits = 2, .trials = 2});
    EXPECT_EQ(share.hits, 3u);
    EXPECT_EQ(share.value(), 0.75);
}

TEST(Share, IntervalIsWilsons) {
    // Values from the closed formula, worked out apart.
    const Interval half = Share{.hits = 5, .trials = 10}.interval();
    EXPECT_NEAR(half.low, 0.236593, 1e-6);
    EXPECT_NEAR(half.high, 0.763407, 1e-6);
    const Interval most = Share{.hits = 98, .trials = 100}.interval();
    EXPECT_NEAR(most.low, 0.929988, 1e-6);
    EXPECT_NEAR(most.high, 0.994498, 1e-6);
}

TEST(Share, IntervalAtTheEnds) {
    const Interval none = Share{.hits = 0, .trials = 20}.interval();
    EXPECT_EQ(none.low, 0);
    EXPECT_NEAR(none.high, 0.161125, 1e-6);
    const Interval all = Share{.hits = 20, .trials = 20}.interval();
    EXPECT_NEAR(all.low, 0.838875, 1e-6);
    EXPECT_EQ(all.high, 1);
    const Interval unknown = Share{}.interval();
    EXPECT_EQ(unknown.low, 0);
    EXPECT_EQ(unknown.high, 1);
}

}  // namespace
}  // namespace baleen::agent
