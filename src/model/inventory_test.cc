#include "model/inventory.h"

#include <gtest/gtest.h>

#include <set>

#include "model/config_fixture.h"

namespace baleen {
namespace {

// Spec section 2: the published totals of the four releases.
struct Release {
    const char* name;
    const char* file;
    bool dspark;
    uint64_t tensors;
    uint64_t bytes;
};
constexpr Release kReleases[] = {
    {"flash", "config-v4-flash.json", false, 69187, 159609485896},
    {"pro", "config-v4-pro.json", false, 145116, 864704792696},
    {"flash-0731", "config-v4-flash.json", true, 72317, 166878536440},
    {"pro-0813", "config-v4-pro.json", true, 149782, 892727580904},
};

// The later releases' config (spec 13.1): two more ratios and the DSpark keys.
void make_dspark(Json& json) {
    const int64_t layers = json["num_hidden_layers"];
    json["compress_ratios"].push_back(0);
    json["compress_ratios"].push_back(0);
    json["dspark_block_size"] = 5;
    json["dspark_noise_token_id"] = 128799;
    json["dspark_target_layer_ids"] = {layers - 3, layers - 2, layers - 1};
    json["dspark_markov_rank"] = layers == 43 ? 256 : 512;
}

TEST(Inventory, PublishedTotals) {
    for (const Release& release : kReleases) {
        Json json = test::official_config(release.file);
        if (release.dspark) make_dspark(json);
        const auto config = Config::from_json(json);
        ASSERT_TRUE(config) << release.name << ": " << config.error().message;
        const InventoryTotal total = inventory_total(*config);
        EXPECT_EQ(total.num_tensors, release.tensors) << release.name;
        EXPECT_EQ(total.bytes, release.bytes) << release.name;
    }
}

// Spec 1.1: Flash-Base is published as 292B; 292.5e9 are its bytes with FP8 experts (290.96e9
// elements).
TEST(Inventory, Fp8ExpertsGiveTheSizeOfFlashBase) {
    Json json = test::official_config("config-v4-flash.json");
    json["expert_dtype"] = "fp8";
    const auto config = Config::from_json(json);
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(inventory_total(*config).num_tensors, 69187u);
    EXPECT_EQ(inventory_total(*config).bytes, 292502338120u);
}

// Spec 2.4: one routed expert of Flash takes 12,582,912 + 786,432 bytes.
TEST(Inventory, RoutedExpertBytes) {
    const auto config = Config::from_json(test::official_config("config-v4-flash.json"));
    ASSERT_TRUE(config);
    uint64_t weights = 0;
    uint64_t scales = 0;
    visit_inventory(*config, [&](const TensorSpec& spec) {
        if (!spec.name.starts_with("layers.7.ffn.experts.200.")) return;
        (spec.role == TensorRole::kBlockScale ? scales : weights) += spec.bytes();
    });
    EXPECT_EQ(weights, 12582912u);
    EXPECT_EQ(scales, 786432u);
}

TEST(Inventory, NamesAreDistinctAndGroupsAddUp) {
    const auto config = Config::from_json(test::tiny_config());
    ASSERT_TRUE(config) << config.error().message;
    std::set<std::string, std::less<>> names;
    std::array<uint64_t, kNumTensorGroups> bytes{};
    visit_inventory(*config, [&](const TensorSpec& spec) {
        EXPECT_TRUE(names.emplace(spec.name).second) << spec.name;
        bytes[static_cast<size_t>(spec.group)] += spec.bytes();
    });
    uint64_t sum = 0;
    for (size_t g = 0; g < kNumTensorGroups; ++g) {
        EXPECT_GT(bytes[g], 0u) << group_name(static_cast<TensorGroup>(g));
        sum += bytes[g];
    }
    EXPECT_EQ(sum, inventory_total(*config).bytes);
    for (const char* name :
         {"layers.0.ffn.gate.tid2eid", "layers.2.ffn.gate.bias", "layers.2.attn.indexer.wq_b.scale",
          "layers.3.attn.compressor.ape", "mtp.0.e_proj.weight", "mtp.0.hc_head_fn"})
        EXPECT_TRUE(names.contains(name)) << name;
    for (const char* name : {"layers.0.attn.compressor.ape", "layers.3.attn.indexer.wq_b.weight",
                             "layers.0.ffn.gate.bias", "mtp.0.embed.weight"})
        EXPECT_FALSE(names.contains(name)) << name;
}

}  // namespace
}  // namespace baleen
