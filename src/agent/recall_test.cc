#include "agent/recall.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace baleen::agent {
namespace {

TEST(SpreadChoice, AsksEveryPartOnce) {
    Rng rng(1);
    const std::vector<size_t> chosen = spread_choice(1000, 10, rng);
    ASSERT_EQ(chosen.size(), 10u);
    for (size_t i = 0; i < chosen.size(); ++i) EXPECT_EQ(chosen[i] / 100, i);
}

TEST(SpreadChoice, AllOfFew) {
    Rng rng(2);
    EXPECT_EQ(spread_choice(4, 10, rng), (std::vector<size_t>{0, 1, 2, 3}));
    EXPECT_EQ(spread_choice(4, 4, rng), (std::vector<size_t>{0, 1, 2, 3}));
    EXPECT_TRUE(spread_choice(4, 0, rng).empty());
}

}  // namespace
}  // namespace baleen::agent
