#include "serve/generation.h"

#include <algorithm>

#include "base/json.h"
#include "base/log.h"
#include "base/secret.h"
#include "serve/cache_note.h"
#include "serve/request_log.h"
#include "text/arguments_wrapper.h"

namespace baleen::serve {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kAdmissionWait = std::chrono::seconds(1);
constexpr size_t kNameCharacters = 24;

double seconds_between(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double>(to - from).count();
}

// The job must outlive the parser.
ServingParserOptions parser_options(const Service& service, const Job& job, bool in_reasoning) {
    const auto is_wrapper = [&job](std::string_view tool, std::string_view parameter) {
        const auto declared = std::ranges::find(job.tools, tool, &ToolSchema::name);
        return declared != job.tools.end() && is_wrapper_name(*declared, parameter);
    };
    return {.in_reasoning = in_reasoning,
            .stops = job.stops,
            .json_mode = job.json != JsonOutput::kNone && !service.options.constrain,
            .parse_tools = job.tool_choice != ToolChoice::kNone || job.tools.empty(),
            .control_markers_only = service.options.control_markers_only,
            .is_wrapper = is_wrapper};
}

// The constraints of all choices: a script's tokens, a grammar, or none.
Result<std::optional<size_t>> constrain(Service& service, const Job& job, bool in_reasoning,
                                        GenerateRequest& request) {
    if (service.script != nullptr) {
        const Script::Answer answer = TRY(service.script->answer(job, in_reasoning));
        PromptTokens forced = TRY(tokenize(answer.completion, service.tokenizer));
        forced.tokens.push_back(service.tokenizer.token_id(kEos));
        for (size_t i = 0; i < job.choices; ++i)
            request.constraints.push_back(std::make_unique<ForcedTokens>(forced.tokens));
        return answer.turn;
    }
    if (service.options.constrain && (!job.tools.empty() || job.json != JsonOutput::kNone)) {
        const OutputRules rules{
            .in_reasoning = in_reasoning,
            .dialect = job.conversation.dialect,
            .tools = job.tools,
            .tool_choice = job.tools.empty() ? ToolChoice::kNone : job.tool_choice,
            .named = job.named_tool,
            .parallel_calls = job.parallel_calls,
            .json = job.json,
            .json_schema = job.json_schema};
        for (size_t i = 0; i < job.choices; ++i)
            request.constraints.push_back(TRY(make_output_constraint(service.vocabulary, rules)));
    }
    return std::optional<size_t>();
}

Result<int64_t> tokens_allowed(const Service& service, const Job& job, size_t prompt_tokens) {
    const int64_t room = service.options.context_tokens_max - static_cast<int64_t>(prompt_tokens);
    if (room <= 0)
        return make_error(ErrorCode::kInvalidArgument, "prompt is too long: {} tokens > {} maximum",
                          prompt_tokens, service.options.context_tokens_max - 1);
    return std::min(room, job.tokens_max.value_or(service.options.tokens_max_default));
}

// Reasoning of tool turns that neither the client nor we know (protocol row B1).
size_t count_missing_reasoning(const Conversation& conversation) {
    return static_cast<size_t>(
        std::ranges::count_if(conversation.messages, [](const Message& message) {
            return message.role == Role::kAssistant && !message.tool_calls.empty() &&
                   message.reasoning.empty() && message.sampled.empty();
        }));
}

std::string_view call_id_prefix(Api api) {
    return api == Api::kMessages ? "toolu_" : "call_";
}

}  // namespace

std::string_view finish_name(Finish finish) {
    switch (finish) {
        case Finish::kStop:
        case Finish::kStopSequence: return "stop";
        case Finish::kToolCalls: return "tool_calls";
        case Finish::kLength: return "length";
        case Finish::kCancelled: return "abort";
    }
    return "";
}

std::vector<TokenId> stop_tokens(const Tokenizer& tokenizer) {
    std::vector<TokenId> ids;
    for (const std::string_view text : {kEos, kBos, kUserMarker, kAssistantMarker})
        if (const TokenId id = tokenizer.token_id(text); id >= 0) ids.push_back(id);
    return ids;
}

// One choice while it comes.
struct Generation::Running {
    ServingParser parser;
    Choice choice;
    std::vector<ParserEvent> events;
    bool ended = false;
};

Result<std::unique_ptr<Generation>> Generation::start(Service& service, Job job) {
    const size_t replayed = service.replay.recall(job.conversation, job.seals);
    service.metrics.replayed_messages += replayed;
    if (job.conversation.thinking_mode == ThinkingMode::kThinking && !job.tools.empty()) {
        const size_t missing = count_missing_reasoning(job.conversation);
        service.metrics.missing_reasoning += missing;
        if (missing > 0)
            job.warnings.push_back(fmt::format(
                "reasoning of {} earlier tool turns is unknown: rendered as empty", missing));
    }
    const Prompt prompt = TRY(render(job.conversation));
    PromptTokens tokens = TRY(tokenize(prompt, service.tokenizer));
    GenerateRequest request{.boundaries = tokens.message_ends,
                            .sampling = job.sampling,
                            .stop_tokens = stop_tokens(service.tokenizer),
                            .num_choices = job.choices,
                            .top_logprobs = job.top_logprobs};
    request.tokens_max = TRY(tokens_allowed(service, job, tokens.tokens.size()));
    request.prompt = std::move(tokens.tokens);
    if (!job.seed_given) request.sampling.seed = KeyedHash::random_key()[0];
    const auto turn = TRY(constrain(service, job, prompt.in_reasoning, request));
    const size_t prompt_tokens = request.prompt.size();
    const std::vector<TokenId> stops = request.stop_tokens;
    TokenStream stream = TRY(service.scheduler.submit(std::move(request)));

    std::unique_ptr<Generation> generation(
        new Generation(service, std::move(job), std::move(stream)));
    generation->stop_tokens_ = stops;
    generation->message_ends_ = std::move(tokens.message_ends);
    generation->replayed_messages_ = replayed;
    generation->scripted_turn_ = turn;
    generation->opening_.prompt_tokens = prompt_tokens;
    if (generation->job_.echo_prompt)
        generation->opening_.prompt_text = prompt.text(&service.tokenizer);
    for (size_t i = 0; i < generation->job_.choices; ++i)
        generation->choices_.push_back(std::make_unique<Running>(Running{
            .parser = ServingParser(parser_options(service, generation->job_, prompt.in_reasoning)),
            .choice = {.seal = random_name(kNameCharacters)}}));
    return generation;
}

Generation::Generation(Service& service, Job job, TokenStream stream)
    : service_(service),
      job_(std::move(job)),
      stream_(std::move(stream)),
      begun_(Clock::now()),
      last_write_(begun_),
      last_token_(begun_) {
    opening_.id = random_name(kNameCharacters);
    opening_.warnings = job_.warnings;
}

Generation::~Generation() = default;

void Generation::note_cache(const CacheReport& report) {
    admitted_ = true;
    cache_ = report;
    opening_.cache_note = cache_note(report, job_, message_ends_);
}

const Opening& Generation::opening() {
    const auto deadline = Clock::now() + kAdmissionWait;
    while (!admitted_) {
        const auto event = stream_.next(deadline);
        if (!event) break;
        // Nothing else comes before the admission but the end of a request that was cancelled.
        if (event->kind != TokenEvent::Kind::kAdmitted) {
            opening_.cache_note = "not admitted";
            early_end_ = *event;
            break;
        }
        note_cache(event->cache);
    }
    if (!admitted_ && opening_.cache_note.empty()) opening_.cache_note = "queued";
    return opening_;
}

Result<Answer> Generation::run(AnswerSink* sink) {
    const auto deadline = begun_ + service_.options.request_time_max;
    Result<void> outcome;
    if (early_end_) outcome = handle(*early_end_, sink);
    while (outcome && !std::ranges::all_of(choices_, [](const auto& c) { return c->ended; })) {
        const auto silence_ends = last_write_ + service_.options.keep_alive;
        const auto event = stream_.next(std::min(silence_ends, deadline));
        if (event) {
            outcome = handle(*event, sink);
        } else if (stream_.ended()) {
            break;
        } else if (Clock::now() >= deadline) {
            outcome = make_error(ErrorCode::kCancelled, "the request took longer than {} s",
                                 service_.options.request_time_max.count());
        }
        if (outcome && sink != nullptr &&
            Clock::now() >= last_write_ + service_.options.keep_alive) {
            outcome = sink->keep_alive();
            last_write_ = Clock::now();
        }
    }
    stream_.cancel();
    Answer answer{
        .usage = {.prompt_tokens = opening_.prompt_tokens, .cached_tokens = cache_.cached_tokens}};
    for (const auto& running : choices_) {
        answer.usage.completion_tokens += running->choice.tokens.size();
        answer.usage.reasoning_tokens += running->choice.reasoning_tokens;
        answer.choices.push_back(std::move(running->choice));
    }
    log_end(answer, outcome ? "" : outcome.error().message);
    if (!outcome) return std::move(outcome).error();
    return answer;
}

Result<void> Generation::handle(const TokenEvent& event, AnswerSink* sink) {
    switch (event.kind) {
        case TokenEvent::Kind::kAdmitted: note_cache(event.cache); return {};
        case TokenEvent::Kind::kPrefill:
            return sink == nullptr ? Result<void>()
                                   : sink->prefill(event.prefill_done, opening_.prompt_tokens);
        case TokenEvent::Kind::kToken: return take_token(event.choice, event, sink);
        case TokenEvent::Kind::kEnd:
            if (choices_[event.choice]->ended) return {};
            if (event.reason == FinishReason::kFailed) return event.error;
            if (event.reason == FinishReason::kCancelled)
                return make_error(ErrorCode::kCancelled, "the request was cancelled");
            return end_choice(event.choice, event.reason, sink);
    }
    return {};
}

Result<void> Generation::take_token(size_t choice_idx, const TokenEvent& event, AnswerSink* sink) {
    Running& running = *choices_[choice_idx];
    if (running.ended) return {};  // sampled after a stop sequence
    const auto now = Clock::now();
    (has_token_ ? service_.metrics.token_seconds : service_.metrics.first_token_seconds)
        .observe(seconds_between(has_token_ ? last_token_ : begun_, now));
    has_token_ = true;
    last_token_ = now;
    Choice& choice = running.choice;
    choice.tokens.push_back(event.token);
    if (std::ranges::find(stop_tokens_, event.token) != stop_tokens_.end()) return {};
    const bool in_reasoning = running.parser.in_reasoning();
    if (in_reasoning) ++choice.reasoning_tokens;
    const Tokenizer& tokenizer = service_.tokenizer;
    if (!tokenizer.contains(event.token))
        running.parser.push("\uFFFD", running.events);
    else
        running.parser.push(tokenizer.token_bytes(event.token), running.events,
                            tokenizer.is_added(event.token) ? ServingParser::Origin::kControl
                                                            : ServingParser::Origin::kText);
    if (job_.top_logprobs >= 0 && !in_reasoning && !running.parser.in_calls())
        choice.logprobs.push_back({event.token, event.model_logprob, event.top_logprobs});
    TRY(emit(choice_idx, sink));
    if (running.parser.stopped()) return end_choice(choice_idx, FinishReason::kStop, sink);
    return {};
}

// Hands the parser's events to the sink, each call with an id of its own.
Result<void> Generation::emit(size_t choice_idx, AnswerSink* sink) {
    Running& running = *choices_[choice_idx];
    for (const ParserEvent& event : running.events) {
        if (event.kind == ParserEvent::Kind::kCallBegin)
            running.choice.call_ids.push_back(std::string(call_id_prefix(job_.api)) +
                                              random_name(kNameCharacters));
        if (sink != nullptr) {
            TRY(sink->event(choice_idx, event, running.choice));
            last_write_ = Clock::now();
        }
    }
    running.events.clear();
    return {};
}

Result<void> Generation::end_choice(size_t choice_idx, FinishReason reason, AnswerSink* sink) {
    Running& running = *choices_[choice_idx];
    running.parser.finish(running.events);
    TRY(emit(choice_idx, sink));
    Choice& choice = running.choice;
    choice.message = running.parser.message();
    const bool has_call = std::ranges::any_of(choice.message.tool_calls,
                                              [](const ParsedCall& call) { return call.complete; });
    choice.finish = has_call                          ? Finish::kToolCalls
                    : running.parser.stopped()        ? Finish::kStopSequence
                    : reason == FinishReason::kLength ? Finish::kLength
                                                      : Finish::kStop;
    choice.stop_sequence = running.parser.stop_sequence();
    service_.metrics.repaired_values += running.parser.repaired_values();
    service_.metrics.unwrapped_calls += running.parser.unwrapped_calls();
    service_.metrics.malformed_calls += running.parser.is_malformed() ? 1 : 0;
    count_calls(choice);
    remember(choice_idx);
    running.ended = true;
    if (sink != nullptr) TRY(sink->choice_ended(choice_idx, choice));
    return {};
}

void Generation::count_calls(const Choice& choice) {
    for (const ParsedCall& call : choice.message.tool_calls) {
        if (!call.complete) continue;
        ++service_.metrics.tool_calls;
        if (std::ranges::find(job_.tools, call.name, &ToolSchema::name) == job_.tools.end())
            ++service_.metrics.unknown_tools;
        for (const Message& message : job_.conversation.messages)
            for (const ToolCall& earlier : message.tool_calls)
                if (earlier.name == call.name && earlier.arguments == call.arguments) {
                    ++service_.metrics.repeated_calls;
                    return;
                }
    }
}

// What was sampled comes back in the next request, unless the client saw less of it than the model
// wrote (a stop sequence) or a call was cut off.
void Generation::remember(size_t choice_idx) {
    const Choice& choice = choices_[choice_idx]->choice;
    if (choice.finish == Finish::kStopSequence) return;
    if (!std::ranges::all_of(choice.message.tool_calls, &ParsedCall::complete)) return;
    SampledAnswer answer{.tokens = choice.tokens,
                         .message = choice.message,
                         .thinking_mode = job_.conversation.thinking_mode};
    const auto is_stop = [&](TokenId id) {
        return std::ranges::find(stop_tokens_, id) != stop_tokens_.end();
    };
    if (!answer.tokens.empty() && is_stop(answer.tokens.back())) answer.tokens.pop_back();
    std::vector<std::string> keys = choice.call_ids;
    keys.push_back(choice.seal);
    keys.push_back(service_.replay.place_after(job_.conversation.messages, choice.message));
    service_.replay.remember(std::move(answer), keys);
}

void Generation::log_end(const Answer& answer, std::string_view outcome) {
    Metrics& metrics = service_.metrics;
    const Usage& usage = answer.usage;
    metrics.prompt_tokens += usage.prompt_tokens;
    metrics.cached_tokens += usage.cached_tokens;
    metrics.completion_tokens += usage.completion_tokens;
    metrics.reasoning_tokens += usage.reasoning_tokens;
    const double seconds = seconds_between(begun_, Clock::now());
    metrics.request_seconds.observe(seconds);
    std::string finish;
    for (const Choice& choice : answer.choices) {
        const std::string_view name =
            outcome.empty() ? finish_name(choice.finish) : std::string_view("abort");
        metrics.count_finish(name);
        finish += (finish.empty() ? "" : ",") + std::string(name);
    }
    log_info("serve",
             "{} {} model={} dialect={} mode={} effort={} prompt={} cached={} replayed_window={} "
             "completion={} reasoning={} finish={} seconds={:.3f} cache=\"{}\"{}{}",
             api_name(job_.api), opening_.id, job_.model, dialect_name(job_.conversation.dialect),
             mode_name(job_.conversation), effort_text(job_.conversation), usage.prompt_tokens,
             usage.cached_tokens, cache_.replayed_tokens, usage.completion_tokens,
             usage.reasoning_tokens, finish, seconds, opening_.cache_note,
             outcome.empty() ? "" : " error=", outcome);
    if (!service_.request_log) return;
    const auto divergence = cache_.diverged ? Json(opening_.cache_note) : Json(nullptr);
    service_.request_log->write(
        Json{{"id", opening_.id},
             {"api", api_name(job_.api)},
             {"prompt_tokens", usage.prompt_tokens},
             {"cached_tokens", usage.cached_tokens},
             {"completion_tokens", usage.completion_tokens},
             {"reasoning_tokens", usage.reasoning_tokens},
             {"finish_reason", finish},
             {"tools", !job_.tools.empty()},
             {"divergence", divergence},
             {"scripted_turn", scripted_turn_ ? Json(*scripted_turn_) : Json(nullptr)},
             {"replayed_messages", replayed_messages_},
             {"seconds", seconds}});
}

}  // namespace baleen::serve
