#include "kernels/compress.h"

#include <algorithm>

#include "kernels/elementwise_fixture.h"

namespace baleen {
namespace {

using namespace elementwise_test;

constexpr size_t kItemCounts[] = {1, 2, 4, 8, 128};

// kv, gate [items, channels]
std::vector<float> run(const Variant& variant, size_t items, const std::vector<float>& kv,
                       const std::vector<float>& gate, size_t offset) {
    const TargetScope scope(variant);
    Guarded values(kv, offset), gates(gate, (offset + 2) % 16);
    const size_t channels = kv.size() / items;
    std::vector<const float*> value_rows, gate_rows;
    for (size_t j = 0; j < items; ++j) {
        value_rows.push_back(values.span().data() + j * channels);
        gate_rows.push_back(gates.span().data() + j * channels);
    }
    Guarded entry(std::vector<float>(channels, 7.0f), (offset + 4) % 16);
    compress_window(variant.impl, value_rows, gate_rows, entry.span());
    return entry.values();
}

// Weights are relative to the largest, so their sum is at least 1. Each exp is 4 roundings off and
// sees an argument one rounding off (e^-a changes by a * 2^-24 of itself); sum and pooled sum add
// `items` roundings each, the division one.
void expect_near_f64(const Variant& variant, size_t items, const std::vector<float>& kv,
                     const std::vector<float>& gate) {
    const std::vector<float> entry = run(variant, items, kv, gate, 1);
    const size_t channels = entry.size();
    for (size_t i = 0; i < channels; ++i) {
        double max = gate[i];
        for (size_t j = 0; j < items; ++j) max = std::max(max, double{gate[j * channels + i]});
        double sum = 0, pooled = 0, magnitude = 0, drift = 0, kv_drift = 0;
        for (size_t j = 0; j < items; ++j) {
            const double a = gate[j * channels + i] - max;
            const double p = std::exp(a);
            const double value = kv[j * channels + i];
            sum += p;
            pooled += p * value;
            magnitude += p * std::abs(value);
            drift += p == 0 ? 0 : -a * p;
            kv_drift += p == 0 ? 0 : -a * p * std::abs(value);
        }
        const double roundings = 2 * static_cast<double>(items) + 10;
        const double bound =
            kUnit * (roundings * magnitude + kv_drift + magnitude / sum * drift) / sum;
        // Weights below the f32 range are lost, and so are bits of subnormal values.
        double largest = 1;
        for (size_t j = 0; j < items; ++j)
            largest = std::max(largest, std::abs(double{kv[j * channels + i]}));
        ASSERT_NEAR(entry[i], pooled / sum,
                    bound + static_cast<double>(items + 1) * kTiny * 2 * largest)
            << variant.name << " items " << items << " channel " << i;
    }
}

TEST(CompressWindow, IsWithinTheRoundingsOfF64) {
    Rng rng(1);
    for (const Variant& variant : all_variants())
        for (size_t items : kItemCounts)
            for (size_t channels : kLengths) {
                if (items * channels > 20'000) continue;
                for (Fill fill : kFills) {
                    const std::vector<float> kv = filled(fill, items * channels, rng);
                    std::vector<float> gate = filled(Fill::kUniform, items * channels, rng);
                    for (float& g : gate) g *= 8;
                    expect_near_f64(variant, items, kv, gate);
                    expect_near_f64(variant, items, kv, filled(fill, items * channels, rng));
                }
            }
}

TEST(CompressWindow, AlignmentAndPlaceDoNotChangeBits) {
    Rng rng(2);
    for (const Variant& variant : all_variants())
        for (size_t items : kItemCounts) {
            // Every channel alike: full vectors and tail must agree with each other too.
            const std::vector<float> column = filled(Fill::kUniform, 2 * items, rng);
            const std::vector<float> single(column.begin(),
                                            column.begin() + static_cast<long>(items));
            const std::vector<float> single_gate(column.begin() + static_cast<long>(items),
                                                 column.end());
            const float expected = run(variant, items, single, single_gate, 0)[0];
            for (size_t channels : kLengths)
                for (size_t offset : kOffsets) {
                    std::vector<float> kv, gate;
                    for (size_t j = 0; j < items; ++j) {
                        kv.insert(kv.end(), channels, single[j]);
                        gate.insert(gate.end(), channels, single_gate[j]);
                    }
                    for (float v : run(variant, items, kv, gate, offset))
                        ASSERT_EQ(v, expected) << variant.name << " items " << items;
                }
        }
}

// Equal gates weigh exactly 1 each: 2^30 swallows a 1 that is added to it.
TEST(CompressWindow, SumsInTheOrderOfTheItems) {
    for (const Variant& variant : all_variants()) {
        const std::vector<float> gate(3, 0.5f);
        EXPECT_EQ(run(variant, 3, {0x1p30f, 1, -0x1p30f}, gate, 0)[0], 0.0f) << variant.name;
        EXPECT_EQ(run(variant, 3, {0x1p30f, -0x1p30f, 1}, gate, 0)[0], 1.0f / 3) << variant.name;
    }
}

// Spec 5.3: the first block has no previous one. Gates of -infinity and values of 0 say the same
// as leaving the four items out.
TEST(CompressWindow, ItemsGatedByMinusInfinityDoNotCount) {
    Rng rng(3);
    constexpr size_t kChannels = 37;
    const std::vector<float> kv = filled(Fill::kUniform, 4 * kChannels, rng);
    const std::vector<float> gate = filled(Fill::kUniform, 4 * kChannels, rng);
    std::vector<float> kv8(4 * kChannels, 0.0f), gate8(4 * kChannels, -kInf);
    kv8.insert(kv8.end(), kv.begin(), kv.end());
    gate8.insert(gate8.end(), gate.begin(), gate.end());
    for (const Variant& variant : all_variants())
        EXPECT_TRUE(same(run(variant, 8, kv8, gate8, 0), run(variant, 4, kv, gate, 0)))
            << variant.name;
}

// softmax(0, ln 3) = 1/4, 3/4; far apart gates choose one item, without overflow on either side.
TEST(CompressWindow, GoldenValues) {
    for (const Variant& variant : all_variants()) {
        EXPECT_NEAR(run(variant, 2, {4, 8}, {0, std::log(3.0f)}, 0)[0], 7.0f, 2e-6);
        EXPECT_EQ(run(variant, 2, {4, 8}, {-kFloatMax, kFloatMax}, 0)[0], 8.0f) << variant.name;
        EXPECT_EQ(run(variant, 2, {4, 8}, {1e30f, -1e30f}, 0)[0], 4.0f) << variant.name;
        EXPECT_EQ(run(variant, 1, {4}, {-1e30f}, 0)[0], 4.0f) << variant.name;
    }
}

TEST(CompressWindow, NaNStaysInItsChannel) {
    Rng rng(4);
    for (const Variant& variant : all_variants())
        for (size_t channels : kLengths)
            for (size_t item = 0; item < 4; ++item) {
                std::vector<float> kv = filled(Fill::kUniform, 4 * channels, rng);
                std::vector<float> gate = filled(Fill::kUniform, 4 * channels, rng);
                gate[item * channels + channels / 2] = kNaN;
                std::vector<float> entry = run(variant, 4, kv, gate, 0);
                for (size_t i = 0; i < channels; ++i)
                    ASSERT_EQ(std::isnan(entry[i]), i == channels / 2) << variant.name;
                gate[item * channels + channels / 2] = 0;
                kv[item * channels] = kNaN;
                entry = run(variant, 4, kv, gate, 0);
                for (size_t i = 0; i < channels; ++i)
                    ASSERT_EQ(std::isnan(entry[i]), i == 0) << variant.name;
            }
}

}  // namespace
}  // namespace baleen
