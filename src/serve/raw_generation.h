// Completions without a protocol: tokens or text in, tokens and text out (/v1/completions,
// /generate). Used by one handler thread.
#pragma once

#include <string>
#include <vector>

#include "engine/scheduler.h"
#include "net/http_server.h"
#include "serve/service.h"
#include "text/raw_text.h"

namespace baleen::serve {

struct RawJob {
    std::string id;  // of the answer; empty: a random one
    std::vector<TokenId> prompt;
    SamplingParams sampling;
    bool seed_given = false;
    int64_t tokens_max = 16;
    std::vector<std::string> stops;
    std::vector<TokenId> stop_ids;  // beside the tokens that never belong into an answer
    bool ignore_eos = false;        // no token ends the text
    size_t choices = 1;
    int top_logprobs = -1;
};

struct RawToken {
    TokenId token = 0;
    double logprob = 0;        // of the distribution drawn from
    double model_logprob = 0;  // of the model's own
    std::vector<TokenLogprob> top;
};

struct RawChoice {
    explicit RawChoice(RawText raw) : text(std::move(raw)) {}
    RawText text;
    std::vector<RawToken> tokens;  // stop token included
    std::string finish;            // "stop", "length"
    std::string matched_stop;
    TokenId matched_token = -1;
    bool ended = false;
};

struct RawAnswer {
    std::vector<RawChoice> choices;
    CacheReport cache;
    std::string id;
};

// Called after every token and at the end of a choice; an error ends the generation.
using RawSink = std::function<Result<void>(size_t choice, const RawAnswer& so_far)>;

// The prompt's tokens when they fit the vocabulary and the context.
Result<void> check_prompt(const Service& service, const std::vector<TokenId>& prompt);

// keep_alive: called when nothing was sampled for a while; may be null, as sink may.
Result<RawAnswer> run_raw(Service& service, net::Exchange& exchange, RawJob job,
                          const RawSink& sink, const std::function<Result<void>()>& keep_alive);

}  // namespace baleen::serve
