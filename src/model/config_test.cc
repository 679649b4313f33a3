#include "model/config.h"

#include <gtest/gtest.h>

#include <functional>

#include "model/config_fixture.h"

namespace baleen {
namespace {

TEST(Config, ReadsTheOfficialFiles) {
    const auto flash = Config::from_json(test::official_config("config-v4-flash.json"));
    ASSERT_TRUE(flash) << flash.error().message;
    EXPECT_EQ(flash->hidden_size, 4096);
    EXPECT_EQ(flash->num_mtp_stages(), 1);
    EXPECT_EQ(flash->attention_kind(1), AttentionKind::kWindow);
    EXPECT_EQ(flash->attention_kind(42), AttentionKind::kCsa);
    EXPECT_EQ(flash->attention_kind(41), AttentionKind::kHca);
    EXPECT_EQ(flash->attention_kind(43), AttentionKind::kWindow);
    EXPECT_EQ(flash->expert_dtype, ExpertDType::kFp4);
    EXPECT_TRUE(flash->expert_dtype_stated);
    ASSERT_TRUE(flash->rope_scaling);
    EXPECT_EQ(flash->rope_scaling->factor, 16);
    EXPECT_FALSE(flash->dspark);
    EXPECT_TRUE(flash->uses_hash_routing(2));
    EXPECT_FALSE(flash->uses_hash_routing(3));
    const auto pro = Config::from_json(test::official_config("config-v4-pro.json"));
    ASSERT_TRUE(pro) << pro.error().message;
    EXPECT_EQ(pro->n_routed_experts, 384);
    EXPECT_EQ(pro->routed_scaling_factor, 2.5);
}

// Everything to_json writes stands in the official file with the same value.
TEST(Config, ToJsonIsTheOfficialFile) {
    for (const char* file : {"config-v4-flash.json", "config-v4-pro.json"}) {
        const Json official = test::official_config(file);
        const auto config = Config::from_json(official);
        ASSERT_TRUE(config);
        const Json written = config->to_json();
        for (const auto& [key, value] : written.items()) EXPECT_EQ(official[key], value) << key;
        const auto again = Config::from_json(written);
        ASSERT_TRUE(again) << again.error().message;
        EXPECT_EQ(again->to_json(), written);
    }
}

// One change to the tiny config, and a piece of the message it must lead to.
struct Rule {
    const char* name;
    std::function<void(Json&)> change;
    const char* message;
};

template <typename T>
std::function<void(Json&)> set(const char* key, T value) {
    return [key, value](Json& json) { json[key] = value; };
}
std::function<void(Json&)> erase(const char* key) {
    return [key](Json& json) { json.erase(key); };
}

const Rule kRules[] = {
    {"zero vocab", set("vocab_size", 0), "vocab_size is 0, expected an integer 1 to"},
    {"huge vocab", set("vocab_size", int64_t{1} << 40), "vocab_size is 1099511627776"},
    {"float hidden", set("hidden_size", 256.5), "hidden_size is 256.5"},
    {"text hidden", set("hidden_size", "x"), "hidden_size is \"x\""},
    {"missing hidden", erase("hidden_size"), "hidden_size is missing"},
    {"hidden % 32", set("hidden_size", 272), "hidden_size is 272, expected a multiple of 32"},
    {"layers 0", set("num_hidden_layers", 0), "num_hidden_layers is 0"},
    {"too many layers", set("num_hidden_layers", 100000), "num_hidden_layers is 100000"},
    {"hash layers", set("num_hash_layers", 7), "num_hash_layers is 7, expected at most"},
    {"negative hash layers", set("num_hash_layers", -1), "num_hash_layers is -1"},
    {"rope not less", set("qk_rope_head_dim", 128), "qk_rope_head_dim is 128, expected less"},
    {"odd rope", set("qk_rope_head_dim", 63), "expected an even number"},
    {"nope % 64", set("head_dim", 160), "head_dim - qk_rope_head_dim is 96, expected a multiple"},
    {"groups", set("o_groups", 3), "num_attention_heads is 4, expected a multiple of o_groups = 3"},
    {"groups 0", set("o_groups", 0), "o_groups is 0"},
    {"q rank", set("q_lora_rank", 1 << 20), "q_lora_rank is 1048576"},
    {"o rank", set("o_lora_rank", 0), "o_lora_rank is 0"},
    {"window", set("sliding_window", 0), "sliding_window is 0"},
    {"kv heads", set("num_key_value_heads", 2), "num_key_value_heads is 2, only 1"},
    {"ratio 3", [](Json& j) { j["compress_ratios"][3] = 3; }, "compress_ratios[3] is 3"},
    {"ratio 1", [](Json& j) { j["compress_ratios"][3] = 1; }, "compress_ratios[3] is 1"},
    {"ratio 256", [](Json& j) { j["compress_ratios"][3] = 256; }, "compress_ratios[3] is 256"},
    {"ratio text", [](Json& j) { j["compress_ratios"][3] = "4"; }, "compress_ratios[3] is \"4\""},
    {"mtp ratio", [](Json& j) { j["compress_ratios"][6] = 4; }, "expected 0 for the MTP stages"},
    {"few ratios", set("compress_ratios", std::vector<int>{0, 4}), "has 2 entries"},
    {"no ratios", erase("compress_ratios"), "compress_ratios is missing"},
    {"two stages", [](Json& j) { j["compress_ratios"].push_back(0); }, "has 2 entries after"},
    {"rope theta", set("rope_theta", 0.5), "rope_theta is 0.5, expected more than 1"},
    {"compress theta", erase("compress_rope_theta"), "compress_rope_theta is missing"},
    {"index heads", erase("index_n_heads"), "index_n_heads is missing"},
    {"index dim 96", set("index_head_dim", 96), "index_head_dim is 96, expected a power of two"},
    {"index dim 32", set("index_head_dim", 32), "expected at least qk_rope_head_dim"},
    {"index topk", set("index_topk", 0), "index_topk is 0"},
    {"per token", set("num_experts_per_tok", 9), "num_experts_per_tok is 9, expected at most"},
    {"experts", set("n_routed_experts", 5000), "n_routed_experts is 5000"},
    {"inner", set("moe_intermediate_size", 100),
     "moe_intermediate_size is 100, expected a multiple"},
    {"scoring", set("scoring_func", "sigmoid"), "scoring_func is \"sigmoid\""},
    {"topk method", set("topk_method", "greedy"), "topk_method is \"greedy\""},
    {"norm topk", set("norm_topk_prob", false), "norm_topk_prob is false"},
    {"shared", set("n_shared_experts", 2), "n_shared_experts is 2"},
    {"act", set("hidden_act", "gelu"), "hidden_act is \"gelu\""},
    {"tied", set("tie_word_embeddings", true), "tie_word_embeddings is true"},
    {"bias", set("attention_bias", true), "attention_bias is true"},
    {"type", set("model_type", "deepseek_v3"), "model_type is \"deepseek_v3\""},
    {"nested", set("text_config", 1), "text_config is present"},
    {"expert dtype", set("expert_dtype", "fp16"), "expert_dtype is \"fp16\""},
    {"scaling", set("routed_scaling_factor", 0), "routed_scaling_factor is 0"},
    {"swiglu", set("swiglu_limit", -1), "swiglu_limit is -1"},
    {"eps", set("rms_norm_eps", 0.0), "rms_norm_eps is 0"},
    {"hc eps", set("hc_eps", 2), "hc_eps is 2"},
    {"hc mult", set("hc_mult", 17), "hc_mult is 17"},
    {"sinkhorn", set("hc_sinkhorn_iters", 0), "hc_sinkhorn_iters is 0"},
    {"bos", set("bos_token_id", 512), "bos_token_id is 512, expected below vocab_size"},
    {"eos", set("eos_token_id", 512), "eos_token_id is 512"},
    {"rope kind", [](Json& j) { j["rope_scaling"]["type"] = "linear"; }, "rope_scaling.type is"},
    {"rope text", set("rope_scaling", "yarn"), "rope_scaling is \"yarn\", expected an object"},
    {"rope factor", [](Json& j) { j["rope_scaling"]["factor"] = 0.5; }, "rope_scaling.factor is"},
    {"rope betas", [](Json& j) { j["rope_scaling"]["beta_slow"] = 64; }, "rope_scaling.beta_fast"},
    {"block size",
     [](Json& j) {
         j["quantization_config"]["weight_block_size"] = {64, 64};
     },
     "quantization_config.weight_block_size is [64,64]"},
    {"scale format", [](Json& j) { j["quantization_config"]["scale_fmt"] = "f32"; },
     "quantization_config.scale_fmt"},
    {"dspark stages", set("dspark_markov_rank", 8), "dspark_block_size is missing"},
};

TEST(Config, EachRuleNamesKeyAndValue) {
    ASSERT_TRUE(Config::from_json(test::tiny_config()));
    for (const Rule& rule : kRules) {
        Json json = test::tiny_config();
        rule.change(json);
        const auto config = Config::from_json(json);
        ASSERT_FALSE(config) << rule.name;
        EXPECT_NE(config.error().message.find(rule.message), std::string::npos)
            << rule.name << ": " << config.error().message;
    }
}

TEST(Config, AllViolationsAreInOneMessage) {
    Json json = test::tiny_config();
    json["hidden_size"] = 100;
    json["hidden_act"] = "relu";
    json.erase("vocab_size");
    const auto config = Config::from_json(json);
    ASSERT_FALSE(config);
    for (const char* key : {"hidden_size", "hidden_act", "vocab_size"})
        EXPECT_NE(config.error().message.find(key), std::string::npos) << config.error().message;
    EXPECT_EQ(config.error().message.find('\n'), std::string::npos);
}

TEST(Config, IndexerKeysMayBeAbsentWithoutCsaLayers) {
    Json json = test::tiny_config();
    json["compress_ratios"] = {0, 0, 128, 128, 2, 64, 0};
    for (const char* key : {"index_n_heads", "index_head_dim", "index_topk"}) json.erase(key);
    const auto config = Config::from_json(json);
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->attention_kind(4), AttentionKind::kHca);
}

TEST(Config, WindowOnlyWritesItselfBack) {
    Json json = test::tiny_config();
    json["compress_ratios"] = {0, 0, 0, 0, 0, 0};
    json.erase("compress_rope_theta");
    const auto config = Config::from_json(json);
    ASSERT_TRUE(config) << config.error().message;
    const auto again = Config::from_json(config->to_json());
    ASSERT_TRUE(again) << again.error().message;
}

TEST(Config, AbsentExpertDTypeIsFp4UntilTheCheckpointSaysOtherwise) {
    Json json = test::tiny_config();
    json.erase("expert_dtype");
    const auto config = Config::from_json(json);
    ASSERT_TRUE(config);
    EXPECT_EQ(config->expert_dtype, ExpertDType::kFp4);
    EXPECT_FALSE(config->expert_dtype_stated);
}

TEST(Config, OptionalKeys) {
    Json json = test::tiny_config();
    json["rope_scaling"] = nullptr;
    json["rms_norm_eps"] = 1e-20;  // Vision-Exp, spec 13.2
    json["compress_ratios"].erase(6);
    json["something_else"] = {{"nested", 1}};
    const auto config = Config::from_json(json);
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_FALSE(config->rope_scaling);
    EXPECT_EQ(config->rms_norm_eps, 1e-20);
    EXPECT_EQ(config->num_mtp_stages(), 0);
}

TEST(Config, DSparkKeys) {
    const auto config = Config::from_json(test::tiny_dspark_config());
    ASSERT_TRUE(config) << config.error().message;
    ASSERT_TRUE(config->dspark);
    EXPECT_EQ(config->num_mtp_stages(), 3);
    EXPECT_EQ(config->dspark->target_layer_ids, (std::vector<int64_t>{3, 4, 5}));
    const Json written = config->to_json();
    const auto again = Config::from_json(written);
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(again->to_json(), written);
    EXPECT_EQ(written["dspark_markov_rank"], 32);
    const Rule rules[] = {
        {"order", set("dspark_target_layer_ids", std::vector<int>{4, 3}), "ascending"},
        {"range", set("dspark_target_layer_ids", std::vector<int>{6}), "target_layer_ids[0] is 6"},
        {"none", set("dspark_target_layer_ids", std::vector<int>{}), "is empty"},
        {"noise", set("dspark_noise_token_id", 512), "dspark_noise_token_id is 512"},
        {"rank", set("dspark_markov_rank", 0), "dspark_markov_rank is 0"},
        {"no stage", [](Json& j) { j["compress_ratios"] = {0, 0, 4, 128, 4, 128}; },
         "has 0 entries"},
    };
    for (const Rule& rule : rules) {
        Json json = test::tiny_dspark_config();
        rule.change(json);
        const auto bad = Config::from_json(json);
        ASSERT_FALSE(bad) << rule.name;
        EXPECT_NE(bad.error().message.find(rule.message), std::string::npos) << bad.error().message;
    }
}

TEST(Config, EveryTypeInEveryPlaceIsAnErrorOrAccepted) {
    // No combination may crash, and a refusal names the key.
    const Json values[] = {nullptr,
                           true,
                           -1,
                           0,
                           1e300,
                           "text",
                           Json::array(),
                           Json::object(),
                           UINT64_MAX,
                           INT64_MIN,
                           Json::array({Json::object()})};
    const Json good = test::tiny_config();
    for (const auto& [key, unused] : good.items())
        for (const Json& value : values) {
            Json json = good;
            json[key] = value;
            const auto config = Config::from_json(json);
            if (!config) {
                EXPECT_NE(config.error().message.find(key), std::string::npos)
                    << key << ": " << config.error().message;
            }
        }
    EXPECT_FALSE(Config::from_json(Json::array()));
}

}  // namespace
}  // namespace baleen
