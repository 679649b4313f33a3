// The tiny checkpoint that the engine's tests run, made once per test program.
#pragma once

#include <unistd.h>

#include <cstdlib>
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

inline const std::string& tiny_checkpoint() {
    static const std::string& directory = *[] {
        auto* path = new std::string((std::filesystem::temp_directory_path() /
                                      ("baleen_engine_test_" + std::to_string(::getpid())))
                                         .string());
        ThreadPool pool(1);
        write_synthetic_checkpoint(preset_config(SynthPreset::kTiny),
                                   {.directory = *path, .seed = 11}, pool)
            .value();
        std::atexit([] { std::filesystem::remove_all(tiny_checkpoint()); });
        return path;
    }();
    return directory;
}

inline std::shared_ptr<const Weights> tiny_weights() {
    static const auto weights = Weights::load(tiny_checkpoint()).value();
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
