// Requests, answers and expectations of the scheduler's tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "engine/engine_fixture.h"
#include "engine/scheduler.h"

namespace baleen::test {

// What one choice got.
struct Answer {
    std::vector<TokenId> tokens;
    std::vector<double> logprobs;
    std::vector<double> model_logprobs;
    std::vector<std::vector<std::pair<TokenId, double>>> top;
    FinishReason reason = FinishReason::kFailed;
    std::string error;

    bool operator==(const Answer&) const = default;
};

struct Reply {
    CacheReport cache;
    std::vector<size_t> prefill_done;
    std::vector<Answer> choices;
    const Answer& only() const { return choices.at(0); }
};

inline void add_event(Reply& reply, const TokenEvent& event) {
    if (reply.choices.size() <= event.choice) reply.choices.resize(event.choice + 1);
    Answer& answer = reply.choices[event.choice];
    switch (event.kind) {
        case TokenEvent::Kind::kAdmitted: reply.cache = event.cache; break;
        case TokenEvent::Kind::kPrefill: reply.prefill_done.push_back(event.prefill_done); break;
        case TokenEvent::Kind::kToken: {
            answer.tokens.push_back(event.token);
            answer.logprobs.push_back(event.logprob);
            answer.model_logprobs.push_back(event.model_logprob);
            auto& top = answer.top.emplace_back();
            for (const TokenLogprob& t : event.top_logprobs) top.emplace_back(t.token, t.logprob);
            break;
        }
        case TokenEvent::Kind::kEnd:
            answer.reason = event.reason;
            answer.error = event.error.message;
            break;
    }
}

// Far away: tests do not depend on time, they hang if something is lost.
inline std::chrono::steady_clock::time_point never() {
    return std::chrono::steady_clock::now() + std::chrono::minutes(10);
}

inline Reply read_all(TokenStream& stream) {
    Reply reply;
    while (std::optional<TokenEvent> event = stream.next(never())) add_event(reply, *event);
    EXPECT_TRUE(stream.ended());
    return reply;
}

inline GenerateRequest greedy(std::vector<TokenId> prompt, int64_t tokens_max) {
    GenerateRequest request;
    request.prompt = std::move(prompt);
    request.sampling.greedy = true;
    request.tokens_max = tokens_max;
    request.top_logprobs = 3;
    return request;
}

inline GenerateRequest seeded(std::vector<TokenId> prompt, int64_t tokens_max, uint64_t seed) {
    GenerateRequest request = greedy(std::move(prompt), tokens_max);
    request.sampling = {.temperature = 0.9, .top_p = 0.95, .seed = seed};
    return request;
}

// The request's answers by the plainest means: one session, one token at a time.
inline std::vector<Answer> plain_answers(const GenerateRequest& request) {
    Engine engine(tiny_weights(), {.num_threads = 1});
    std::vector<Answer> answers;
    for (size_t i = 0; i < request.num_choices; ++i) {
        Session session = engine.new_session();
        session.extend(request.prompt).value();
        SamplingParams params = request.sampling;
        params.seed += i;
        Sampler sampler = Sampler::create(params, engine.vocab_size()).value();
        Answer& answer = answers.emplace_back();
        answer.reason = FinishReason::kLength;
        while (static_cast<int64_t>(answer.tokens.size()) < request.tokens_max) {
            const std::span<const float> logits = session.logits();
            const Sample sample = sampler.sample(logits).value();
            answer.tokens.push_back(sample.token);
            answer.logprobs.push_back(sample.logprob);
            answer.model_logprobs.push_back(
                request.top_logprobs < 0 ? 0 : model_logprob(logits, sample.token));
            auto& top = answer.top.emplace_back();
            std::vector<TokenId> order(logits.size());
            for (size_t t = 0; t < order.size(); ++t) order[t] = static_cast<TokenId>(t);
            std::ranges::stable_sort(order, std::greater(),
                                     [&](TokenId t) { return logits[static_cast<size_t>(t)]; });
            for (int t = 0; t < request.top_logprobs; ++t)
                top.emplace_back(order[static_cast<size_t>(t)],
                                 model_logprob(logits, order[static_cast<size_t>(t)]));
            if (std::ranges::find(request.stop_tokens, sample.token) != request.stop_tokens.end()) {
                answer.reason = FinishReason::kStop;
                break;
            }
            if (static_cast<int64_t>(answer.tokens.size()) < request.tokens_max)
                session.extend({&sample.token, 1}).value();
        }
    }
    return answers;
}

inline EngineOptions engine_options(size_t rows_max = 64) {
    EngineOptions options;
    options.num_threads = 2;
    options.model.rows_max = rows_max;
    return options;
}

inline std::unique_ptr<Engine> make_engine(const EngineOptions& options = engine_options()) {
    return std::make_unique<Engine>(tiny_weights(), options);
}

inline GenerateRequest copy(const GenerateRequest& request) {
    GenerateRequest c;
    c.prompt = request.prompt;
    c.boundaries = request.boundaries;
    c.sampling = request.sampling;
    c.tokens_max = request.tokens_max;
    c.stop_tokens = request.stop_tokens;
    c.num_choices = request.num_choices;
    c.top_logprobs = request.top_logprobs;
    return c;
}

}  // namespace baleen::test
