// The tiny checkpoint that the engine's tests run, made once per test program.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "base/token.h"
#include "model/synth.h"
#include "model/synth_presets.h"
#include "model/weights.h"

namespace baleen::test {

inline std::shared_ptr<const Weights> make_weights(const Json& config, const std::string& name) {
    const std::string directory =
        (std::filesystem::temp_directory_path() / (name + std::to_string(::getpid()))).string();
    ThreadPool pool(1);
    write_synthetic_checkpoint(config, {.directory = directory, .seed = 11}, pool).value();
    auto weights = Weights::load(directory).value();
    std::filesystem::remove_all(directory);  // the mapping keeps the bytes
    return weights;
}

inline std::shared_ptr<const Weights> tiny_weights() {
    static const auto weights =
        make_weights(preset_config(SynthPreset::kTiny), "baleen_engine_test_");
    return weights;
}

// Every layer kind once and a short window: replays are short (at most 192 + 128 + 127 tokens).
inline std::shared_ptr<const Weights> small_weights() {
    static const auto weights = [] {
        Json config = preset_config(SynthPreset::kTiny);
        config["num_hidden_layers"] = 3;
        config["num_hash_layers"] = 1;
        config["compress_ratios"] = {0, 4, 128, 0};
        config["sliding_window"] = 32;
        return make_weights(config, "baleen_engine_small_");
    }();
    return weights;
}

inline std::vector<TokenId> random_tokens(size_t n, uint64_t seed) {
    Rng rng(seed);
    std::vector<TokenId> tokens(n);
    for (TokenId& t : tokens)
        t = static_cast<TokenId>(
            rng.next_below(static_cast<uint64_t>(tiny_weights()->config.vocab_size)));
    return tokens;
}

}  // namespace baleen::test
