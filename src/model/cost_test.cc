#include "model/cost.h"

#include <gtest/gtest.h>

#include <vector>

#include "model/presets.h"

namespace baleen {
namespace {

double giga(const MultiplyAdds& macs) {
    return static_cast<double>(macs.equivalent_fp8_flops()) / 1e9;
}

double mebi(int64_t bytes) {
    return static_cast<double>(bytes) / 1048576.0;
}

double percent(double part, double whole) {
    return 100.0 * part / whole;
}

// The table of spec 12.3, as printed: one decimal everywhere.
struct Row {
    int64_t context;
    double v32_gf, pro_gf, pro_flops_percent, flash_gf, flash_flops_percent;
    double v32_mib, pro_mib, pro_kv_percent, flash_mib, flash_kv_percent;
};
constexpr Row kTable[] = {
    {4096, 150.8, 122.6, 81.3, 33.0, 21.9, 187.8, 24.0, 12.8, 16.8, 8.9},
    {32768, 179.4, 128.0, 71.3, 35.4, 19.7, 1502.1, 161.6, 10.8, 112.9, 7.5},
    {131072, 277.7, 146.5, 52.8, 43.6, 15.7, 6008.5, 633.3, 10.5, 442.3, 7.4},
    {262144, 408.7, 171.2, 41.9, 54.6, 13.4, 12017.0, 1262.2, 10.5, 881.6, 7.3},
    {524288, 670.7, 220.6, 32.9, 76.7, 11.4, 24034.0, 2520.1, 10.5, 1760.2, 7.3},
    {1000000, 1146.1, 310.2, 27.1, 116.6, 10.2, 45841.2, 4802.7, 10.5, 3354.5, 7.3},
    {1048576, 1194.6, 319.4, 26.7, 120.7, 10.1, 48068.0, 5035.8, 10.5, 3517.3, 7.3},
};
// Half of the last printed digit, and a little for the rounding of a printed 5.
constexpr double kPrinted = 0.0501;

TEST(Cost, ReproducesEveryRowOfTheSpecTable) {
    const Config flash = flash_config();
    const Config pro = pro_config();
    for (const Row& row : kTable) {
        SCOPED_TRACE(row.context);
        const double v32_gf = giga(v32_decode_cost(row.context).total());
        const double pro_gf = giga(decode_cost(pro, row.context).total());
        const double flash_gf = giga(decode_cost(flash, row.context).total());
        EXPECT_NEAR(v32_gf, row.v32_gf, kPrinted);
        EXPECT_NEAR(pro_gf, row.pro_gf, kPrinted);
        EXPECT_NEAR(flash_gf, row.flash_gf, kPrinted);
        EXPECT_NEAR(percent(pro_gf, v32_gf), row.pro_flops_percent, kPrinted);
        EXPECT_NEAR(percent(flash_gf, v32_gf), row.flash_flops_percent, kPrinted);
        const double v32_mib = mebi(v32_kv_bytes(row.context));
        const double pro_mib = mebi(kv_bytes(pro, row.context));
        const double flash_mib = mebi(kv_bytes(flash, row.context));
        EXPECT_NEAR(v32_mib, row.v32_mib, kPrinted);
        EXPECT_NEAR(pro_mib, row.pro_mib, kPrinted);
        EXPECT_NEAR(flash_mib, row.flash_mib, kPrinted);
        EXPECT_NEAR(percent(pro_mib, v32_mib), row.pro_kv_percent, kPrinted);
        EXPECT_NEAR(percent(flash_mib, v32_mib), row.flash_kv_percent, kPrinted);
    }
}

// The six figures of the report, to the printed digit, and the GQA-8 claim of "about 2 %".
TEST(Cost, ReproducesTheReportAtOneMillion) {
    constexpr int64_t kContext = 1000000;
    const double v32_gf = giga(v32_decode_cost(kContext).total());
    EXPECT_NEAR(v32_gf / giga(decode_cost(pro_config(), kContext).total()), 3.69, 0.005);
    EXPECT_NEAR(v32_gf / giga(decode_cost(flash_config(), kContext).total()), 9.83, 0.005);
    const double v32_mib = mebi(v32_kv_bytes(kContext));
    const double pro_mib = mebi(kv_bytes(pro_config(), kContext));
    const double flash_mib = mebi(kv_bytes(flash_config(), kContext));
    EXPECT_NEAR(v32_mib / pro_mib, 9.54, 0.005);
    EXPECT_NEAR(v32_mib / flash_mib, 13.67, 0.005);
    EXPECT_NEAR(percent(pro_mib, mebi(gqa8_kv_bytes(61, kContext))), 2.02, 0.005);
    EXPECT_NEAR(percent(flash_mib, mebi(gqa8_kv_bytes(43, kContext))), 2.00, 0.005);
}

// Components in the order of CostBreakdown, as spec 12.3's cost_model.py prints them (two decimals;
// the spec's text rounds them once more: 15.15 for the 15.1498 of Flash's MoE became 15.2).
void expect_breakdown(const CostBreakdown& cost, const std::vector<double>& printed) {
    const auto components = cost.components();
    ASSERT_EQ(printed.size(), components.size());
    for (size_t i = 0; i < printed.size(); ++i)
        EXPECT_NEAR(giga(components[i].second), printed[i], 0.00501) << components[i].first;
}

TEST(Cost, ReproducesTheBreakdownLine) {
    expect_breakdown(decode_cost(flash_config(), 1000000),
                     {9.55, 1.24, 0.14, 15.15, 0.18, 2.12, 43.01, 45.22});
    expect_breakdown(decode_cost(pro_config(), 1000000),
                     {37.34, 3.17, 0.34, 56.42, 0.67, 3.71, 61.44, 147.17});
    expect_breakdown(v32_decode_cost(1000000), {24.59, 0, 0, 48.36, 0.43, 3.71, 999.42, 69.59});
}

// Multiply-adds outside attention scores equal the weights touched: 13, 49 and 37 billion
// published.
TEST(Cost, LinearWorkEqualsTheActiveParameters) {
    const auto billions = [](const CostBreakdown& cost) {
        return static_cast<double>(cost.total().total() - cost.indexer.total() -
                                   cost.core_attention.total()) /
               1e9;
    };
    EXPECT_NEAR(billions(decode_cost(flash_config(), 1000)), 13.3, kPrinted);
    EXPECT_NEAR(billions(decode_cost(pro_config(), 1000)), 48.8, kPrinted);
    EXPECT_NEAR(billions(v32_decode_cost(1000)), 37.5, kPrinted);
}

// A shape in which no two widths agree, so that a width taken for another shows.
Config odd_config() {
    Config config = flash_config();
    config.vocab_size = 1009;
    config.hidden_size = 96;
    config.num_hidden_layers = 4;
    config.num_attention_heads = 6;
    config.head_dim = 160;
    config.qk_rope_head_dim = 32;
    config.q_lora_rank = 40;
    config.o_groups = 3;
    config.o_lora_rank = 56;
    config.sliding_window = 24;
    config.compress_ratios = {0, 4, 8, 4, 0};
    config.index_n_heads = 5;
    config.index_head_dim = 64;
    config.index_topk = 7;
    config.n_routed_experts = 10;
    config.num_experts_per_tok = 2;
    config.moe_intermediate_size = 48;
    config.hc_mult = 3;
    return config;
}

struct Shape {
    int64_t rows, cols;
};

int64_t elements(const std::vector<Shape>& shapes) {
    int64_t sum = 0;
    for (const Shape& shape : shapes) sum += shape.rows * shape.cols;
    return sum;
}

// The tensor shapes of spec 2.2 written out for odd_config(): a token multiplies by each element of
// a linear's weight once, and wo_a's groups are side by side in its rows.
TEST(Cost, AgreesWithTheTensorShapesOfAnotherConfig) {
    const int64_t common =
        elements({{40, 96}, {6 * 160, 40}, {160, 96}, {3 * 56, 6 * 160 / 3}, {96, 3 * 56}});
    const int64_t csa = elements({{320, 96}, {320, 96}, {128, 96}, {128, 96}, {5, 96}});
    const int64_t hca = elements({{160, 96}, {160, 96}});
    const int64_t expert = elements({{48, 96}, {48, 96}, {96, 48}});
    const CostBreakdown cost = decode_cost(odd_config(), 1003);
    EXPECT_EQ(cost.attention_linear,
              (MultiplyAdds{.fp8 = 4 * common + 2 * elements({{5 * 64, 40}})}));
    EXPECT_EQ(cost.compressor, (MultiplyAdds{.bf16 = 2 * csa + hca}));
    EXPECT_EQ(cost.hyper_connection, (MultiplyAdds{.bf16 = 4 * 2 * elements({{15, 3 * 96}})}));
    EXPECT_EQ(cost.moe, (MultiplyAdds{.fp8 = 4 * 3 * expert}));
    EXPECT_EQ(cost.router, (MultiplyAdds{.bf16 = 4 * elements({{10, 96}})}));
    EXPECT_EQ(cost.head, (MultiplyAdds{.bf16 = elements({{1009, 96}})}));
    // 1003 tokens: 250 blocks of 4, 125 blocks of 8.
    EXPECT_EQ(cost.indexer, (MultiplyAdds{.fp4 = 2 * 250 * 5 * 64}));
    const int64_t rows = 24 + 2 * (24 + 7) + (24 + 125);
    EXPECT_EQ(cost.core_attention, (MultiplyAdds{.bf16 = rows * 6 * 2 * 160}));

    // 128 e4m3, 2 scales, 32 bf16: 194 bytes, padded to 200.
    EXPECT_EQ(kv_row_bytes(odd_config()), 200);
    EXPECT_EQ(index_key_bytes(odd_config()), 34);
    EXPECT_EQ(kv_bytes(odd_config(), 1003), (4 * 24 + 2 * 250 + 125) * 200 + 2 * 250 * 34);
}

// Before the window is full, and before the first block, only what exists counts.
TEST(Cost, ShortContextsCountWhatExists) {
    const Config flash = flash_config();
    const int64_t per_row = 2 * 64 * 512;
    EXPECT_EQ(decode_cost(flash, 1).indexer.total(), 0);
    EXPECT_EQ(decode_cost(flash, 1).core_attention.total(), 43 * per_row);
    EXPECT_EQ(decode_cost(flash, 4).core_attention.total(), (43 * 4 + 21) * per_row);
    EXPECT_EQ(decode_cost(flash, 127).core_attention.total(), (43 * 127 + 21 * 31) * per_row);
    EXPECT_EQ(decode_cost(flash, 128).core_attention.total(), (43 * 128 + 21 * 32 + 20) * per_row);
    EXPECT_EQ(kv_row_bytes(flash), 584);
    EXPECT_EQ(index_key_bytes(flash), 68);
    EXPECT_EQ(kv_bytes(flash, 1), 43 * 584);
    EXPECT_EQ(kv_bytes(flash, 4), (43 * 4 + 21) * 584 + 21 * 68);
}

}  // namespace
}  // namespace baleen
