// Anthropic Messages: the answer whole or as events, and count_tokens.
#include "serve/api_error.h"
#include "serve/endpoints.h"
#include "serve/requests.h"

namespace baleen::serve {
namespace {

std::string_view stop_reason(Finish finish) {
    switch (finish) {
        case Finish::kStop: return "end_turn";
        case Finish::kStopSequence: return "stop_sequence";
        case Finish::kToolCalls: return "tool_use";
        case Finish::kLength: return "max_tokens";
        case Finish::kCancelled: return "end_turn";
    }
    return "";
}

Json stop_sequence(const Choice& choice) {
    return choice.finish == Finish::kStopSequence ? Json(choice.stop_sequence) : Json(nullptr);
}

// Anthropic's input_tokens are those that were not in the cache.
Json usage_json(const Usage& usage) {
    return {{"input_tokens", usage.prompt_tokens - usage.cached_tokens},
            {"cache_creation_input_tokens", 0},
            {"cache_read_input_tokens", usage.cached_tokens},
            {"output_tokens", usage.completion_tokens},
            {"reasoning_tokens", usage.reasoning_tokens}};
}

Json message_head(const Job& job, const Opening& opening) {
    return {{"id", "msg_" + opening.id},
            {"type", "message"},
            {"role", "assistant"},
            {"model", job.model}};
}

Result<Json> content_json(const Choice& choice) {
    const ParsedMessage& parsed = choice.message;
    Json content = Json::array();
    if (!parsed.reasoning.empty())
        content.push_back(
            {{"type", "thinking"}, {"thinking", parsed.reasoning}, {"signature", choice.seal}});
    if (!parsed.content.empty()) content.push_back({{"type", "text"}, {"text", parsed.content}});
    for (size_t i = 0; i < parsed.tool_calls.size(); ++i) {
        const ParsedCall& call = parsed.tool_calls[i];
        if (!call.complete) continue;
        content.push_back({{"type", "tool_use"},
                           {"id", choice.call_ids[i]},
                           {"name", call.name},
                           {"input", TRY(parse_json(call.arguments))}});
    }
    return content;
}

// Blocks as they come: at most one is open.
class MessagesSink final : public AnswerSink {
  public:
    explicit MessagesSink(EventStream& events) : events_(events) {}

    Result<void> event(size_t, const ParserEvent& event, const Choice& so_far) override {
        using Kind = ParserEvent::Kind;
        switch (event.kind) {
            case Kind::kReasoning:
                TRY(open(Block::kThinking, so_far,
                         {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}}));
                return delta({{"type", "thinking_delta"}, {"thinking", event.text}});
            case Kind::kContent:
                TRY(open(Block::kText, so_far, {{"type", "text"}, {"text", ""}}));
                return delta({{"type", "text_delta"}, {"text", event.text}});
            case Kind::kCallBegin:
                TRY(close(so_far));
                return open(Block::kTool, so_far,
                            {{"type", "tool_use"},
                             {"id", so_far.call_ids[event.call_idx]},
                             {"name", event.text},
                             {"input", Json::object()}});
            case Kind::kCallArguments:
                return delta({{"type", "input_json_delta"}, {"partial_json", event.text}});
            case Kind::kCallEnd: return close(so_far);
        }
        return {};
    }

    Result<void> choice_ended(size_t, const Choice& whole) override { return close(whole); }

    Result<void> keep_alive() override { return events_.send("ping", {{"type", "ping"}}); }

  private:
    enum class Block : uint8_t { kNone, kThinking, kText, kTool };

    Result<void> open(Block block, const Choice& so_far, Json content_block) {
        if (block == open_ && block != Block::kTool) return {};
        TRY(close(so_far));
        open_ = block;
        return events_.send("content_block_start", {{"type", "content_block_start"},
                                                    {"index", index_},
                                                    {"content_block", std::move(content_block)}});
    }

    Result<void> delta(Json delta) {
        return events_.send(
            "content_block_delta",
            {{"type", "content_block_delta"}, {"index", index_}, {"delta", std::move(delta)}});
    }

    Result<void> close(const Choice& so_far) {
        if (open_ == Block::kNone) return {};
        if (open_ == Block::kThinking)
            TRY(delta({{"type", "signature_delta"}, {"signature", so_far.seal}}));
        open_ = Block::kNone;
        return events_.send("content_block_stop",
                            {{"type", "content_block_stop"}, {"index", index_++}});
    }

    EventStream& events_;
    Block open_ = Block::kNone;
    size_t index_ = 0;
};

Result<void> stream_messages(net::Exchange& exchange, Generation& generation) {
    const Opening& opening = generation.opening();
    EventStream events(exchange);
    TRY(events.begin(answer_headers(generation, opening)));
    Json message = message_head(generation.job(), opening);
    message["content"] = Json::array();
    message["stop_reason"] = nullptr;
    message["stop_sequence"] = nullptr;
    message["usage"] = usage_json(
        {.prompt_tokens = opening.prompt_tokens, .cached_tokens = generation.cached_tokens()});
    TRY(events.send("message_start", {{"type", "message_start"}, {"message", message}}));
    MessagesSink sink(events);
    const Result<Answer> answer = generation.run(&sink);
    if (!answer) {
        TRY(events.send("error", error_json(api_error(answer.error()), ErrorStyle::kAnthropic)));
    } else {
        const Choice& choice = answer->choices.front();
        TRY(events.send("message_delta", {{"type", "message_delta"},
                                          {"delta",
                                           {{"stop_reason", stop_reason(choice.finish)},
                                            {"stop_sequence", stop_sequence(choice)}}},
                                          {"usage", usage_json(answer->usage)}}));
        TRY(events.send("message_stop", {{"type", "message_stop"}}));
    }
    events.end();
    return {};
}

}  // namespace

Result<void> serve_messages(Service& service, net::Exchange& exchange, const JsonText& body) {
    const auto generation =
        TRY(start_generation(service, exchange, TRY(read_messages_request(body, service.options))));
    const Job& job = generation->job();
    if (job.stream) return stream_messages(exchange, *generation);
    const Opening& opening = generation->opening();
    const Answer answer = TRY(generation->run(nullptr));
    const Choice& choice = answer.choices.front();
    Json response = message_head(job, opening);
    response["content"] = TRY(content_json(choice));
    response["stop_reason"] = stop_reason(choice.finish);
    response["stop_sequence"] = stop_sequence(choice);
    response["usage"] = usage_json(answer.usage);
    respond_json(exchange, 200, response, answer_headers(*generation, opening));
    return {};
}

Result<void> serve_count_tokens(Service& service, net::Exchange& exchange, const JsonText& body) {
    Job job = TRY(read_messages_request(body, service.options));
    service.replay.recall(job.conversation, job.seals);
    const PromptTokens tokens = TRY(tokenize(TRY(render(job.conversation)), service.tokenizer));
    respond_json(exchange, 200, {{"input_tokens", tokens.tokens.size()}});
    return {};
}

}  // namespace baleen::serve
