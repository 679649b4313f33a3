#include "model/presets.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "base/file.h"

namespace baleen {
namespace {

Json published_config(const std::string& name) {
    const char* shared = std::getenv("BALEEN_SHARED");
    const std::string path = (shared ? std::string(shared) : "../shared") + "/spec/" + name;
    const Result<std::string> text = read_file(path, 1 << 20);
    if (!text) {
        ADD_FAILURE() << text.error().message;
        return {};
    }
    return parse_json(*text).value();
}

void expect_equal(const Config& config, const Json& json) {
    const auto number = [&](const char* key) { return json_number(json, key).value(); };
    const auto expect_int = [&](const char* key, int64_t value) {
        EXPECT_EQ(static_cast<double>(value), number(key)) << key;
    };
    expect_int("vocab_size", config.vocab_size);
    expect_int("hidden_size", config.hidden_size);
    expect_int("num_hidden_layers", config.num_hidden_layers);
    expect_int("num_hash_layers", config.num_hash_layers);
    expect_int("num_attention_heads", config.num_attention_heads);
    expect_int("head_dim", config.head_dim);
    expect_int("qk_rope_head_dim", config.qk_rope_head_dim);
    expect_int("q_lora_rank", config.q_lora_rank);
    expect_int("o_groups", config.o_groups);
    expect_int("o_lora_rank", config.o_lora_rank);
    expect_int("sliding_window", config.sliding_window);
    expect_int("max_position_embeddings", config.max_position_embeddings);
    expect_int("index_n_heads", config.index_n_heads);
    expect_int("index_head_dim", config.index_head_dim);
    expect_int("index_topk", config.index_topk);
    expect_int("n_routed_experts", config.n_routed_experts);
    expect_int("num_experts_per_tok", config.num_experts_per_tok);
    expect_int("moe_intermediate_size", config.moe_intermediate_size);
    expect_int("hc_mult", config.hc_mult);
    expect_int("hc_sinkhorn_iters", config.hc_sinkhorn_iters);
    expect_int("bos_token_id", config.bos_token_id);
    expect_int("eos_token_id", config.eos_token_id);
    expect_int("num_nextn_predict_layers", config.num_mtp_stages());
    EXPECT_EQ(config.rope_theta, number("rope_theta"));
    EXPECT_EQ(config.compress_rope_theta, number("compress_rope_theta"));
    EXPECT_EQ(config.routed_scaling_factor, number("routed_scaling_factor"));
    EXPECT_EQ(config.swiglu_limit, number("swiglu_limit"));
    EXPECT_EQ(config.hc_eps, number("hc_eps"));
    EXPECT_EQ(config.rms_norm_eps, number("rms_norm_eps"));
    EXPECT_EQ(json_string(json, "expert_dtype").value(), "fp4");
    EXPECT_EQ(config.expert_dtype, ExpertDType::kFp4);
    EXPECT_EQ(config.dspark.has_value(), json_has(json, "dspark_block_size"));

    const Json& yarn = json["rope_scaling"];
    ASSERT_TRUE(config.rope_scaling.has_value());
    EXPECT_EQ(config.rope_scaling->factor, json_number(yarn, "factor").value());
    EXPECT_EQ(static_cast<double>(config.rope_scaling->original_max_position_embeddings),
              json_number(yarn, "original_max_position_embeddings").value());
    EXPECT_EQ(config.rope_scaling->beta_fast, json_number(yarn, "beta_fast").value());
    EXPECT_EQ(config.rope_scaling->beta_slow, json_number(yarn, "beta_slow").value());

    const Json& ratios = json["compress_ratios"];
    ASSERT_EQ(config.compress_ratios.size(), ratios.size());
    for (size_t i = 0; i < ratios.size(); ++i)
        EXPECT_EQ(Json(config.compress_ratios[i]), ratios[i]) << "layer " << i;
}

TEST(Presets, FlashEqualsItsPublishedConfig) {
    const Json json = published_config("config-v4-flash.json");
    ASSERT_TRUE(json.is_object());
    expect_equal(flash_config(), json);
}

TEST(Presets, ProEqualsItsPublishedConfig) {
    const Json json = published_config("config-v4-pro.json");
    ASSERT_TRUE(json.is_object());
    expect_equal(pro_config(), json);
}

}  // namespace
}  // namespace baleen
