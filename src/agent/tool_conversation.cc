#include "agent/tool_conversation.h"

#include <algorithm>
#include <chrono>

#include "serve/generation.h"

namespace baleen::agent {
namespace {

// How soon a stop is noticed.
constexpr std::chrono::milliseconds kPatience{100};

Message text_message(Role role, std::string text) {
    return {.role = role, .content = {{.text = std::move(text), .unsupported_kind = ""}}};
}

bool same_arguments(const std::string& a, const std::string& b) {
    const auto left = parse_sorted_json(a), right = parse_sorted_json(b);
    return left && right && *left == *right;
}

}  // namespace

std::string malformation(const SampledText& sampled, bool in_reasoning) {
    if (!sampled.has_ended) return "it has no end";
    const Result<ParsedMessage> strict =
        parse_strict(sampled.text, in_reasoning ? ThinkingMode::kThinking : ThinkingMode::kChat);
    if (!strict) return strict.error().message;
    const ParsedMessage& served = sampled.message;
    const auto same_call = [](const ParsedCall& a, const ParsedCall& b) {
        return a.name == b.name && b.complete && same_arguments(a.arguments, b.arguments);
    };
    const bool same = strict->reasoning == served.reasoning && strict->content == served.content &&
                      std::ranges::equal(strict->tool_calls, served.tool_calls, same_call);
    return same ? "" : "the two parsers differ";
}

ToolConversation::ToolConversation(Scheduler& scheduler, const Tokenizer& tokenizer,
                                   const ToolTaskSet& set, size_t session_idx,
                                   const ToolworldOptions& options)
    : scheduler_(scheduler),
      tokenizer_(tokenizer),
      session_(set.sessions[session_idx]),
      session_idx_(session_idx),
      options_(options),
      stop_tokens_(serve::stop_tokens(tokenizer)) {
    conversation_.thinking_mode = session_.thinking_mode;
    conversation_.effort = session_.effort;
    Message system = text_message(Role::kSystem, session_.system);
    if (session_.has_tools) system.tools = set.tools;
    conversation_.messages.push_back(std::move(system));
}

Result<std::vector<TaskResult>> ToolConversation::run(std::stop_token stop) {
    World world = TRY(World::create(session_.files, options_.shell));
    std::vector<TaskResult> results;
    for (size_t i = 0; i < session_.tasks.size(); ++i)
        results.push_back(TRY(run_task(world, i, stop)));
    return results;
}

Result<TaskResult> ToolConversation::run_task(World& world, size_t task_idx, std::stop_token stop) {
    const ToolTask& task = session_.tasks[task_idx];
    TaskResult result{.session = session_idx_,
                      .turn = task_idx,
                      .kind = task.kind,
                      .mode = session_.mode(),
                      .needed_calls = task.calls};
    if (options_.earlier == EarlierReasoning::kDropped) drop_reasoning();
    conversation_.messages.push_back(text_message(Role::kUser, task.user));
    TurnOutcome outcome{.before = TRY(world.files())};
    while (result.messages.size() < options_.rounds_max) {
        bool in_reasoning = false;
        const SampledText sampled = TRY(sample(in_reasoning, stop));
        ToolMessage message{.text = sampled.text, .malformed = malformation(sampled, in_reasoning)};
        append(sampled, message.malformed.empty());
        outcome.answer = sampled.message.content;
        outcome.reasoning += (result.messages.empty() ? "" : "\n") + sampled.message.reasoning;
        // Copied: running calls appends to the conversation.
        const Message assistant = conversation_.messages.back();
        message.calls = TRY(run_calls(world, assistant));
        outcome.calls += message.calls;
        result.messages.push_back(std::move(message));
        if (result.messages.back().calls == 0) break;
    }
    outcome.after = TRY(world.files());
    result.calls = outcome.calls;
    result.answer = outcome.answer;
    result.failures = failures(task.calls, task.checks, outcome, outcomes_);
    outcomes_.push_back(std::move(outcome));
    return result;
}

Result<SampledText> ToolConversation::sample(bool& in_reasoning, std::stop_token stop) {
    const Prompt prompt = TRY(render(conversation_));
    PromptTokens tokens = TRY(tokenize(prompt, tokenizer_));
    in_reasoning = prompt.in_reasoning;
    GenerateRequest request{.prompt = std::move(tokens.tokens),
                            .boundaries = std::move(tokens.message_ends),
                            .sampling = options_.sampling,
                            .tokens_max = options_.tokens_max,
                            .stop_tokens = stop_tokens_};
    if (options_.script != nullptr) {
        const serve::Job job{.conversation = conversation_};
        const auto said = TRY(options_.script->answer(job, in_reasoning));
        std::vector<TokenId> forced = TRY(tokenize(said.completion, tokenizer_)).tokens;
        forced.push_back(tokenizer_.token_id(kEos));
        request.constraints.push_back(std::make_unique<serve::ForcedTokens>(std::move(forced)));
    }
    return read_stream(TRY(scheduler_.submit(std::move(request))), in_reasoning, stop);
}

Result<SampledText> ToolConversation::read_stream(TokenStream stream, bool in_reasoning,
                                                  std::stop_token stop) {
    SampledText sampled;
    ServingParser parser({.in_reasoning = in_reasoning});
    std::vector<ParserEvent> events;
    const TokenId end = tokenizer_.token_id(kEos);
    while (!stream.ended()) {
        if (stop.stop_requested()) return make_error(ErrorCode::kCancelled, "interrupted");
        const auto event = stream.next(std::chrono::steady_clock::now() + kPatience);
        if (!event) continue;
        if (event->kind == TokenEvent::Kind::kEnd && event->reason == FinishReason::kFailed)
            return event->error;
        if (event->kind != TokenEvent::Kind::kToken) continue;
        const bool is_known = tokenizer_.contains(event->token);
        const std::string_view bytes =
            is_known ? tokenizer_.token_bytes(event->token) : std::string_view("\uFFFD");
        sampled.text += bytes;
        if (std::ranges::find(stop_tokens_, event->token) != stop_tokens_.end()) {
            sampled.has_ended = event->token == end;
            continue;
        }
        sampled.tokens.push_back(event->token);
        const bool is_control = is_known && tokenizer_.is_added(event->token);
        parser.push(bytes, events,
                    is_control ? ServingParser::Origin::kControl : ServingParser::Origin::kText);
    }
    parser.finish(events);
    sampled.message = parser.message();
    return sampled;
}

void ToolConversation::append(const SampledText& sampled, bool is_well_formed) {
    Message message = text_message(Role::kAssistant, sampled.message.content);
    message.reasoning = sampled.message.reasoning;
    for (const ParsedCall& call : sampled.message.tool_calls)
        if (call.complete)
            message.tool_calls.push_back({.id = fmt::format("call_{}", calls_++),
                                          .name = call.name,
                                          .arguments = call.arguments});
    if (is_well_formed) message.sampled = sampled.tokens;
    conversation_.messages.push_back(std::move(message));
}

// Runs the message's calls in order and appends their texts; how many there were.
Result<size_t> ToolConversation::run_calls(World& world, const Message& message) {
    for (const ToolCall& call : message.tool_calls) {
        const Json arguments = TRY(parse_json(call.arguments));
        Message result = text_message(Role::kTool, TRY(world.run_tool(call.name, arguments)));
        result.tool_call_id = call.id;
        conversation_.messages.push_back(std::move(result));
    }
    return message.tool_calls.size();
}

void ToolConversation::drop_reasoning() {
    for (Message& message : conversation_.messages) {
        message.reasoning.clear();
        message.sampled.clear();
    }
}

}  // namespace baleen::agent
