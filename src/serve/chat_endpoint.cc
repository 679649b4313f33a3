// OpenAI Chat Completions: the answer whole or as chunks.
#include <algorithm>

#include "serve/api_error.h"
#include "serve/endpoints.h"
#include "serve/requests.h"

namespace baleen::serve {
namespace {

Json usage_json(const Usage& usage) {
    return {{"prompt_tokens", usage.prompt_tokens},
            {"completion_tokens", usage.completion_tokens},
            {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
            {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
            {"completion_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}},
            {"prompt_cache_hit_tokens", usage.cached_tokens},
            {"prompt_cache_miss_tokens", usage.prompt_tokens - usage.cached_tokens}};
}

Json token_json(const Tokenizer& tokenizer, TokenId token, double logprob) {
    const std::string_view bytes =
        tokenizer.contains(token) ? tokenizer.token_bytes(token) : std::string_view();
    Json list = Json::array();
    for (const char c : bytes) list.push_back(static_cast<unsigned char>(c));
    return {{"token", bytes}, {"logprob", logprob}, {"bytes", std::move(list)}};
}

Json logprobs_json(const Tokenizer& tokenizer, std::span<const ContentToken> tokens) {
    Json content = Json::array();
    for (const ContentToken& token : tokens) {
        Json entry = token_json(tokenizer, token.token, token.logprob);
        entry["top_logprobs"] = Json::array();
        for (const TokenLogprob& top : token.top)
            entry["top_logprobs"].push_back(token_json(tokenizer, top.token, top.logprob));
        content.push_back(std::move(entry));
    }
    return {{"content", std::move(content)}};
}

Json call_json(const std::string& id, const std::string& name, const std::string& arguments) {
    return {
        {"id", id}, {"type", "function"}, {"function", {{"name", name}, {"arguments", arguments}}}};
}

Json message_json(const Choice& choice, bool is_thinking) {
    const ParsedMessage& parsed = choice.message;
    Json message = {{"role", "assistant"}, {"content", parsed.content}};
    Json calls = Json::array();
    for (size_t i = 0; i < parsed.tool_calls.size(); ++i)
        if (const ParsedCall& call = parsed.tool_calls[i]; call.complete)
            calls.push_back(call_json(choice.call_ids[i], call.name, call.arguments));
    if (is_thinking) {
        message["reasoning_content"] = parsed.reasoning;
        message["reasoning"] = parsed.reasoning;
    }
    if (!calls.empty()) {
        if (parsed.content.empty()) message["content"] = nullptr;
        message["tool_calls"] = std::move(calls);
    }
    return message;
}

// Chunks as they come.
class ChatSink final : public AnswerSink {
  public:
    ChatSink(EventStream& events, const Service& service, const Job& job, const Opening& opening)
        : events_(events),
          service_(service),
          job_(job),
          logprobs_sent_(job.choices),
          head_({{"id", "chatcmpl-" + opening.id},
                 {"object", "chat.completion.chunk"},
                 {"created", unix_time()},
                 {"model", job.model}}) {}

    // The role, for every choice.
    Result<void> open() {
        for (size_t i = 0; i < job_.choices; ++i)
            TRY(send(i, {{"role", "assistant"}, {"content", ""}}, nullptr, Json(nullptr)));
        return {};
    }

    Result<void> event(size_t choice, const ParserEvent& event, const Choice& so_far) override {
        using Kind = ParserEvent::Kind;
        switch (event.kind) {
            case Kind::kReasoning:
                return send(choice, {{"reasoning_content", event.text}, {"reasoning", event.text}},
                            nullptr, Json(nullptr));
            case Kind::kContent:
                return send(choice, {{"content", event.text}}, nullptr,
                            new_logprobs(choice, so_far));
            case Kind::kCallBegin: {
                Json call = call_json(so_far.call_ids[event.call_idx], event.text, "");
                return send_call(choice, event.call_idx, std::move(call));
            }
            case Kind::kCallArguments:
                return send_call(choice, event.call_idx,
                                 {{"function", {{"arguments", event.text}}}});
            case Kind::kCallEnd: return {};
        }
        return {};
    }

    Result<void> choice_ended(size_t choice, const Choice& whole) override {
        return send(choice, Json::object(), finish_name(whole.finish), new_logprobs(choice, whole));
    }

    Result<void> keep_alive() override { return events_.comment(); }

    Result<void> close(const Usage& usage) {
        if (job_.stream_usage) {
            Json chunk = head_;
            chunk["choices"] = Json::array();
            chunk["usage"] = usage_json(usage);
            TRY(events_.send(chunk));
        }
        return events_.send_text("[DONE]");
    }

  private:
    Result<void> send_call(size_t choice, size_t call_idx, Json call) {
        Json entry = {{"index", call_idx}};
        entry.update(call);
        return send(choice, {{"tool_calls", Json::array({std::move(entry)})}}, nullptr,
                    Json(nullptr));
    }

    Result<void> send(size_t choice, Json delta, const Json& finish_reason, Json logprobs) {
        Json chunk = head_;
        Json entry = {{"index", choice}, {"delta", std::move(delta)}};
        if (job_.top_logprobs >= 0) entry["logprobs"] = std::move(logprobs);
        entry["finish_reason"] = finish_reason;
        chunk["choices"] = Json::array({std::move(entry)});
        return events_.send(chunk);
    }

    // Of the tokens since the last chunk of this choice.
    Json new_logprobs(size_t choice, const Choice& so_far) {
        const auto all = std::span(so_far.logprobs);
        if (all.size() == logprobs_sent_[choice]) return nullptr;
        Json json = logprobs_json(service_.tokenizer, all.subspan(logprobs_sent_[choice]));
        logprobs_sent_[choice] = all.size();
        return json;
    }

    EventStream& events_;
    const Service& service_;
    const Job& job_;
    std::vector<size_t> logprobs_sent_;  // [choices]
    const Json head_;
};

Result<void> stream_chat(Service& service, net::Exchange& exchange, Generation& generation) {
    const Opening& opening = generation.opening();
    EventStream events(exchange);
    TRY(events.begin(answer_headers(generation, opening)));
    ChatSink sink(events, service, generation.job(), opening);
    TRY(sink.open());
    const Result<Answer> answer = generation.run(&sink);
    if (!answer) {
        const ApiError error = api_error(answer.error());
        TRY(events.send(error_json(error, ErrorStyle::kOpenAi)));
        TRY(events.send_text("[DONE]"));
    } else {
        TRY(sink.close(answer->usage));
    }
    events.end();
    return {};
}

}  // namespace

Result<void> serve_chat(Service& service, net::Exchange& exchange, const JsonText& body) {
    const auto generation =
        TRY(start_generation(service, exchange, TRY(read_chat_request(body, service.options))));
    const Job& job = generation->job();
    if (job.stream) return stream_chat(service, exchange, *generation);
    const Opening& opening = generation->opening();
    const Answer answer = TRY(generation->run(nullptr));
    Json choices = Json::array();
    for (size_t i = 0; i < answer.choices.size(); ++i) {
        const Choice& choice = answer.choices[i];
        const bool is_thinking = job.conversation.thinking_mode == ThinkingMode::kThinking;
        choices.push_back(
            {{"index", i},
             {"message", message_json(choice, is_thinking)},
             {"logprobs", job.top_logprobs >= 0 ? logprobs_json(service.tokenizer, choice.logprobs)
                                                : Json(nullptr)},
             {"finish_reason", finish_name(choice.finish)}});
    }
    Json response = {{"id", "chatcmpl-" + opening.id}, {"object", "chat.completion"},
                     {"created", unix_time()},         {"model", job.model},
                     {"choices", std::move(choices)},  {"usage", usage_json(answer.usage)}};
    if (job.echo_prompt) response["baleen"] = {{"prompt", opening.prompt_text}};
    respond_json(exchange, 200, response, answer_headers(*generation, opening));
    return {};
}

}  // namespace baleen::serve
