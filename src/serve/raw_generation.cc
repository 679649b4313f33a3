#include "serve/raw_generation.h"

#include <algorithm>

#include "base/log.h"
#include "base/secret.h"
#include "serve/generation.h"

namespace baleen::serve {
namespace {

using Clock = std::chrono::steady_clock;

Result<GenerateRequest> scheduler_request(const Service& service, const RawJob& job) {
    GenerateRequest request{.prompt = job.prompt,
                            .boundaries = {job.prompt.size()},
                            .sampling = job.sampling,
                            .stop_tokens = job.stop_ids,
                            .num_choices = job.choices,
                            .top_logprobs = job.top_logprobs};
    if (!job.ignore_eos)
        for (const TokenId id : stop_tokens(service.tokenizer)) request.stop_tokens.push_back(id);
    if (!job.seed_given) request.sampling.seed = KeyedHash::random_key()[0];
    const int64_t room =
        service.options.context_tokens_max - static_cast<int64_t>(job.prompt.size());
    request.tokens_max = std::min(room, job.tokens_max);
    return request;
}

Result<void> take(const TokenEvent& event, const std::vector<TokenId>& stop_ids,
                  RawChoice& choice) {
    if (event.kind == TokenEvent::Kind::kEnd) {
        if (event.reason == FinishReason::kFailed) return event.error;
        if (event.reason == FinishReason::kCancelled)
            return make_error(ErrorCode::kCancelled, "the request was cancelled");
        choice.text.finish();
        choice.finish = event.reason == FinishReason::kLength ? "length" : "stop";
        choice.ended = true;
        return {};
    }
    choice.tokens.push_back({event.token, event.logprob, event.model_logprob, event.top_logprobs});
    if (std::ranges::find(stop_ids, event.token) != stop_ids.end()) {
        choice.matched_token = event.token;
    } else if (!choice.text.push(event.token)) {
        choice.finish = "stop";
        choice.matched_stop = choice.text.stop();
        choice.ended = true;
    }
    return {};
}

}  // namespace

Result<void> check_prompt(const Service& service, const std::vector<TokenId>& prompt) {
    if (prompt.empty())
        return make_error(ErrorCode::kInvalidArgument, "the prompt is empty, expected text or ids");
    const int64_t vocab = service.scheduler.config().vocab_size;
    for (size_t i = 0; i < prompt.size(); ++i)
        if (prompt[i] < 0 || prompt[i] >= vocab)
            return make_error(ErrorCode::kInvalidArgument,
                              "prompt token {} is {}, expected 0 to {}", i, prompt[i], vocab - 1);
    if (static_cast<int64_t>(prompt.size()) >= service.options.context_tokens_max)
        return make_error(ErrorCode::kInvalidArgument, "prompt is too long: {} tokens > {} maximum",
                          prompt.size(), service.options.context_tokens_max - 1);
    return {};
}

Result<RawAnswer> run_raw(Service& service, net::Exchange& exchange, RawJob job,
                          const RawSink& sink, const std::function<Result<void>()>& keep_alive) {
    TRY(check_prompt(service, job.prompt));
    const auto begun = Clock::now();
    GenerateRequest request = TRY(scheduler_request(service, job));
    const std::vector<TokenId> stop_ids = request.stop_tokens;
    TokenStream stream = TRY(service.scheduler.submit(std::move(request)));
    exchange.on_gone(stream.canceller());
    RawAnswer answer{.id = job.id.empty() ? random_name(24) : job.id};
    for (size_t i = 0; i < job.choices; ++i)
        answer.choices.emplace_back(RawText(service.tokenizer, job.stops));
    const auto deadline = begun + service.options.request_time_max;
    auto last_event = begun;
    while (!std::ranges::all_of(answer.choices, &RawChoice::ended)) {
        const auto event = stream.next(std::min(deadline, last_event + service.options.keep_alive));
        if (!event) {
            if (stream.ended()) break;
            if (Clock::now() >= deadline)
                return make_error(ErrorCode::kCancelled, "the request took longer than {} s",
                                  service.options.request_time_max.count());
            if (keep_alive) TRY(keep_alive());
            last_event = Clock::now();
            continue;
        }
        last_event = Clock::now();
        if (event->kind == TokenEvent::Kind::kAdmitted) answer.cache = event->cache;
        if (event->kind != TokenEvent::Kind::kToken && event->kind != TokenEvent::Kind::kEnd)
            continue;
        RawChoice& choice = answer.choices[event->choice];
        if (choice.ended) continue;
        TRY(take(*event, stop_ids, choice));
        if (sink) TRY(sink(event->choice, answer));
    }
    stream.cancel();
    size_t sampled = 0;
    for (const RawChoice& choice : answer.choices) {
        sampled += choice.tokens.size();
        service.metrics.count_finish(choice.finish);
    }
    service.metrics.prompt_tokens += job.prompt.size();
    service.metrics.cached_tokens += answer.cache.cached_tokens;
    service.metrics.completion_tokens += sampled;
    log_info("serve", "raw {} prompt={} cached={} completion={} seconds={:.3f}", answer.id,
             job.prompt.size(), answer.cache.cached_tokens, sampled,
             std::chrono::duration<double>(Clock::now() - begun).count());
    return answer;
}

}  // namespace baleen::serve
