// What ModelOptions::ablation takes away from the attention, and that it takes nothing else.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "engine/engine.h"
#include "engine/engine_fixture.h"

namespace baleen {
namespace {

using test::random_tokens;

using Logits = std::vector<float>;

// Three layers with these compress_ratios, a window of 32 tokens and index_topk entries.
std::shared_ptr<const Weights> weights_of(std::vector<int64_t> ratios, int64_t topk) {
    Json config = preset_config(SynthPreset::kTiny);
    config["num_hidden_layers"] = 3;
    config["num_hash_layers"] = 1;
    ratios.push_back(0);
    config["compress_ratios"] = ratios;
    config["sliding_window"] = 32;
    config["index_topk"] = topk;
    return test::make_weights(config, "baleen_ablation_");
}

EngineOptions options_of(Ablation ablation) {
    EngineOptions options;
    options.num_threads = 2;
    options.model.rows_max = 96;
    options.model.ablation = ablation;
    return options;
}

Logits last_logits(const std::shared_ptr<const Weights>& weights, Ablation ablation,
                   std::span<const TokenId> tokens, size_t chunk_tokens = SIZE_MAX) {
    Engine engine(weights, options_of(ablation));
    Session session = engine.new_session();
    session.extend(tokens, nullptr, chunk_tokens).value();
    return {session.logits().begin(), session.logits().end()};
}

// [rows][index_topk] of the one CSA layer; rows of all tokens.
std::vector<std::vector<float>> selections(const std::shared_ptr<const Weights>& weights,
                                           Ablation ablation, std::span<const TokenId> tokens) {
    Engine engine(weights, options_of(ablation));
    std::vector<std::vector<float>> rows;
    engine.model().set_trace(
        [&](const std::string& name, std::span<const float> values, std::span<const size_t> shape) {
            if (!name.ends_with(".attn.topk")) return;
            for (size_t row = 0; row < shape[0]; ++row) {
                const std::span<const float> entries = values.subspan(row * shape[1], shape[1]);
                rows.emplace_back(entries.begin(), entries.end());
            }
        });
    Session session = engine.new_session();
    session.extend(tokens).value();
    return rows;
}

TEST(Ablation, WindowOnlySeesNothingBeyondTheWindows) {
    const auto weights = weights_of({0, 4, 128}, 16);
    std::vector<TokenId> tokens = random_tokens(400, 1);
    const Logits full = last_logits(weights, Ablation::kNone, tokens);
    const Logits window = last_logits(weights, Ablation::kWindowOnly, tokens);
    EXPECT_NE(full, window);
    tokens[400 - 3 * 32 - 1] ^= 1;  // one before the reach of three windows
    EXPECT_EQ(last_logits(weights, Ablation::kWindowOnly, tokens), window);
    EXPECT_NE(last_logits(weights, Ablation::kNone, tokens), full);
    tokens[399 - 31] ^= 1;
    EXPECT_NE(last_logits(weights, Ablation::kWindowOnly, tokens), window);
}

TEST(Ablation, NoHcaLeavesCsaAsItIs) {
    const std::vector<TokenId> tokens = random_tokens(400, 2);
    const auto csa = weights_of({0, 4, 4}, 16);
    EXPECT_EQ(last_logits(csa, Ablation::kNoHca, tokens),
              last_logits(csa, Ablation::kNone, tokens));
    const auto hca = weights_of({0, 128, 128}, 16);
    EXPECT_EQ(last_logits(hca, Ablation::kNoHca, tokens),
              last_logits(hca, Ablation::kWindowOnly, tokens));
    EXPECT_NE(last_logits(hca, Ablation::kNoHca, tokens),
              last_logits(hca, Ablation::kNone, tokens));
}

TEST(Ablation, RandomEntriesAreAsManyDistinctAndVisible) {
    const auto weights = weights_of({0, 4, 128}, 16);
    const std::vector<TokenId> tokens = random_tokens(400, 3);
    const auto chosen = selections(weights, Ablation::kNone, tokens);
    const auto drawn = selections(weights, Ablation::kRandomEntries, tokens);
    ASSERT_EQ(drawn.size(), tokens.size());
    size_t different = 0;
    for (size_t row = 0; row < tokens.size(); ++row) {
        const size_t visible = (row + 1) / 4;
        if (visible <= 16) {
            EXPECT_EQ(drawn[row], chosen[row]);
            continue;
        }
        EXPECT_TRUE(std::ranges::is_sorted(drawn[row]));
        EXPECT_EQ(std::ranges::adjacent_find(drawn[row]), drawn[row].end());
        EXPECT_GE(drawn[row].front(), 0);
        EXPECT_LT(drawn[row].back(), static_cast<float>(visible));
        different += drawn[row] != chosen[row] ? 1 : 0;
    }
    EXPECT_GT(different, 300u);
}

TEST(Ablation, RandomEntriesAreDrawnEvenly) {
    const auto weights = weights_of({0, 4, 128}, 16);
    Engine engine(weights, options_of(Ablation::kRandomEntries));
    Session prefix = engine.new_session();
    prefix.extend(random_tokens(399, 5)).value();
    std::vector<size_t> counts(100);
    engine.model().set_trace(
        [&](const std::string& name, std::span<const float> values, std::span<const size_t>) {
            if (name.ends_with(".attn.topk"))
                for (const float entry : values) ++counts[static_cast<size_t>(entry)];
        });
    for (uint64_t seed = 0; seed < 40; ++seed)  // four rows, all with 100 visible entries
        prefix.fork().extend(random_tokens(4, seed)).value();
    // 160 draws of 16 of 100: 25.6 each, with a standard deviation of 4.6.
    EXPECT_GT(*std::ranges::min_element(counts), 5u);
    EXPECT_LT(*std::ranges::max_element(counts), 50u);
}

TEST(Ablation, BitsDoNotDependOnChunks) {
    const auto weights = weights_of({0, 4, 128}, 16);
    const std::vector<TokenId> tokens = random_tokens(400, 4);
    for (const Ablation ablation :
         {Ablation::kRandomEntries, Ablation::kWindowOnly, Ablation::kNoHca})
        EXPECT_EQ(last_logits(weights, ablation, tokens, 7), last_logits(weights, ablation, tokens))
            << static_cast<int>(ablation);
}

TEST(Ablation, IsOffByDefault) {
    EXPECT_EQ(ModelOptions().ablation, Ablation::kNone);
}

}  // namespace
}  // namespace baleen
