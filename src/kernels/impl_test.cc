#include "kernels/impl.h"

#include <algorithm>
#include <set>

#include "kernels/cpu_features.h"
#include "kernels/elementwise_fixture.h"
#include "kernels/norm.h"

namespace baleen {
namespace {

using namespace elementwise_test;

TEST(Impl, AvailableOnesAreOrderedAndTheBestIsLast) {
    const std::vector<Impl> impls = available_impls();
    ASSERT_GE(impls.size(), 2u);
    EXPECT_EQ(impls[0], Impl::kRef);
    EXPECT_EQ(impls[1], Impl::kSimd);
    EXPECT_TRUE(std::is_sorted(impls.begin(), impls.end()));
    EXPECT_EQ(impls.back() == Impl::kAvx512, cpu_has_avx512_bf16_vnni_vbmi());
    EXPECT_EQ(best_impl(), impls.back());
}

TEST(Impl, NamesAreDistinct) {
    EXPECT_EQ(impl_name(Impl::kRef), "ref");
    EXPECT_EQ(impl_name(Impl::kSimd), "simd");
    EXPECT_EQ(impl_name(Impl::kAvx512), "avx512");
}

// The kernel tests rely on it: setting a target changes which function is called.
TEST(Impl, TestsReachEveryHighwayTarget) {
    std::set<size_t> entries;
    size_t targets = 0;
    for (const Variant& variant : all_variants()) {
        if (variant.target == 0) continue;
        ++targets;
        const TargetScope scope(variant);
        const float x[] = {3, 4};
        EXPECT_EQ(mean_square(variant.impl, x), 12.5f) << variant.name;
        entries.insert(hwy::GetChosenTarget().GetIndex());
    }
    EXPECT_GE(targets, 1u);
    EXPECT_EQ(entries.size(), targets);
}

}  // namespace
}  // namespace baleen
