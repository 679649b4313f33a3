// The recall evaluation: does the model find one fact among many in a long prompt? Each haystack
// goes through the model once; every question goes on from a fork of that session and costs only
// its own tokens. Decoding is greedy and unconstrained. Uses the engine's thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "agent/haystack.h"
#include "agent/progress.h"
#include "agent/share.h"
#include "engine/engine.h"

namespace baleen::agent {

struct RecallOptions {
    // Per length. A haystack with fewer facts is followed by others until all are asked.
    size_t questions = 100;
    uint64_t seed = 1;
};

struct RecallQuestion {
    size_t haystack = 0;
    std::string key;
    double depth = 0;      // of the fact in the haystack, 0 to 1
    bool exact = false;    // the whole answer, end marker included
    bool first = false;    // the value's first token, after the right words before it
    std::string expected;  // text of the answers, without the end marker
    std::string answer;
};

struct RecallRow {
    int64_t length = 0;  // prompt tokens
    int64_t blocks = 0;  // compressed entries that each CSA layer chooses index_topk of
    int64_t index_topk = 0;
    size_t haystacks = 0;
    size_t facts = 0;  // in all haystacks
    std::vector<RecallQuestion> questions;
    Share exact;
    Share first;
    std::array<Share, 10> depths;  // exact, by tenths of the depth
    double prefill_tok_s = 0;
    double decode_tok_s = 0;
    size_t kv_bytes = 0;  // of one haystack
    double seconds = 0;
};

// kInvalidArgument: the length leaves no room for the answer, or none for a fact.
Result<RecallRow> evaluate_recall(Engine& engine, const Tokenizer& tokenizer,
                                  const HaystackMaker& maker, int64_t length,
                                  const RecallOptions& options, const EvalProgress& progress);

// Which of num_facts facts to ask for: at most `wanted` different ones, evenly spread.
std::vector<size_t> spread_choice(size_t num_facts, size_t wanted, Rng& rng);

}  // namespace baleen::agent
