// The text evaluation: how well the model predicts a text, through the engine and its quantised KV.
// The text is cut into windows; each is a sequence of its own that begins with the
// beginning-of-text token, and every token of the text is predicted once. Uses the engine's thread.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "agent/progress.h"
#include "engine/engine.h"
#include "text/tokenizer.h"

namespace baleen::agent {

struct PerplexityOptions {
    int64_t context = 4096;  // tokens of a window, the first one not of the text; 2 and up
    size_t windows_max = SIZE_MAX;
};

// Tokens at positions [begin, end) of their windows.
struct PerplexityBand {
    int64_t begin = 0;
    int64_t end = 0;
    size_t tokens = 0;
    size_t bytes = 0;
    double nats = 0;  // sum of -log p

    double bits_per_byte() const;
    double perplexity() const;  // of a token
};

struct PerplexityReport {
    size_t windows = 0;
    PerplexityBand all;
    // Bands end at 128, 256, 512, ...: as long as all before them together.
    std::vector<PerplexityBand> bands;
    double tok_s = 0;
    double seconds = 0;
};

// kInvalidArgument: the text is empty or no UTF-8, or the model is too short for a window.
Result<PerplexityReport> evaluate_perplexity(Engine& engine, const Tokenizer& tokenizer,
                                             std::string_view text,
                                             const PerplexityOptions& options,
                                             const EvalProgress& progress);

}  // namespace baleen::agent
