// OpenAI Responses: the answer whole or as events. Output items in the order of the answer:
// reasoning, message, calls.
#include "serve/api_error.h"
#include "serve/endpoints.h"
#include "serve/requests.h"

namespace baleen::serve {
namespace {

Json usage_json(const Usage& usage) {
    return {{"input_tokens", usage.prompt_tokens},
            {"input_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
            {"output_tokens", usage.completion_tokens},
            {"output_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}},
            {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
}

// A field of the request as it came, for the response to repeat.
Json echoed(const JsonText& body, std::string_view field, Json otherwise) {
    const JsonText* value = body.find_set(field);
    if (value == nullptr) return otherwise;
    auto json = parse_json(value->dump_python());
    return json ? *std::move(json) : otherwise;
}

// The response object without its output.
Json response_head(const JsonText& body, const Job& job, const Opening& opening) {
    Json text = echoed(body, "text", Json::object());
    if (!json_has(text, "format")) text["format"] = {{"type", "text"}};
    return Json{
        {"id", "resp_" + opening.id},
        {"object", "response"},
        {"created_at", unix_time()},
        {"completed_at", nullptr},
        {"status", "in_progress"},
        {"background", false},
        {"error", nullptr},
        {"incomplete_details", nullptr},
        {"instructions", echoed(body, "instructions", nullptr)},
        {"max_output_tokens", job.tokens_max ? Json(*job.tokens_max) : Json(nullptr)},
        {"max_tool_calls", nullptr},
        {"metadata", echoed(body, "metadata", Json::object())},
        {"model", job.model},
        {"output", Json::array()},
        {"parallel_tool_calls", job.parallel_calls},
        {"previous_response_id", nullptr},
        {"prompt_cache_key", echoed(body, "prompt_cache_key", nullptr)},
        {"reasoning", echoed(body, "reasoning", {{"effort", nullptr}, {"summary", nullptr}})},
        {"safety_identifier", echoed(body, "safety_identifier", nullptr)},
        {"service_tier", "default"},
        {"store", false},
        {"temperature", job.sampling.temperature},
        {"text", std::move(text)},
        {"tool_choice", echoed(body, "tool_choice", "auto")},
        {"tools", echoed(body, "tools", Json::array())},
        {"top_logprobs", std::max(0, job.top_logprobs)},
        {"top_p", job.sampling.top_p},
        {"presence_penalty", 0.0},
        {"frequency_penalty", 0.0},
        {"truncation", echoed(body, "truncation", "disabled")},
        {"usage", nullptr},
        {"user", echoed(body, "user", nullptr)}};
}

Json text_part(std::string_view text) {
    return {{"type", "output_text"},
            {"text", text},
            {"annotations", Json::array()},
            {"logprobs", Json::array()}};
}

// Builds the output items, with or without a stream to tell of them.
class ResponsesSink final : public AnswerSink {
  public:
    // events: null for an answer in one piece.
    ResponsesSink(EventStream* events, const Job& job, const Opening& opening, Json head)
        : events_(events), job_(job), id_(opening.id), response_(std::move(head)) {}

    Result<void> open() {
        TRY(send("response.created", {{"response", response_}}));
        return send("response.in_progress", {{"response", response_}});
    }

    Result<void> event(size_t, const ParserEvent& event, const Choice& so_far) override {
        using Kind = ParserEvent::Kind;
        switch (event.kind) {
            case Kind::kReasoning: return reasoning(event.text, so_far);
            case Kind::kContent: return content(event.text, so_far);
            case Kind::kCallBegin: return begin_call(event, so_far);
            case Kind::kCallArguments: return arguments(event.text);
            case Kind::kCallEnd: return close(so_far);
        }
        return {};
    }

    Result<void> choice_ended(size_t, const Choice& whole) override {
        // A call that was cut off by the budget is left out.
        if (open_ == Item::kCall || open_ == Item::kCustom) {
            open_ = Item::kNone;
            return {};
        }
        return close(whole);
    }

    Result<void> keep_alive() override {
        return send("response.in_progress", {{"response", response_}});
    }

    const Json& finish(const Answer& answer) {
        const bool is_cut = answer.choices.front().finish == Finish::kLength;
        response_["status"] = is_cut ? "incomplete" : "completed";
        response_["completed_at"] = unix_time();
        if (is_cut) response_["incomplete_details"] = {{"reason", "max_output_tokens"}};
        response_["usage"] = usage_json(answer.usage);
        return response_;
    }

    Result<void> close_stream(const Answer& answer) {
        finish(answer);
        const bool is_cut = answer.choices.front().finish == Finish::kLength;
        return send(is_cut ? "response.incomplete" : "response.completed",
                    {{"response", response_}});
    }

    Result<void> fail_stream(const ApiError& error) {
        response_["status"] = "failed";
        response_["error"] = {{"code", error.code.empty() ? error.type : error.code},
                              {"message", error.message}};
        return send("response.failed", {{"response", response_}});
    }

  private:
    enum class Item : uint8_t { kNone, kReasoning, kMessage, kCall, kCustom };

    Result<void> send(std::string_view type, Json fields) {
        if (events_ == nullptr) return {};
        Json event = {{"type", type}, {"sequence_number", sequence_number_++}};
        event.update(fields);
        return events_->send(type, event);
    }

    // An event about the open item.
    Result<void> tell(std::string_view type, Json fields) {
        Json event = {{"item_id", item_["id"]}, {"output_index", response_["output"].size()}};
        event.update(fields);
        return send(type, std::move(event));
    }

    Result<void> add_item(Item kind, Json item) {
        open_ = kind;
        item_ = std::move(item);
        text_.clear();
        return send("response.output_item.added",
                    {{"output_index", response_["output"].size()}, {"item", item_}});
    }

    std::string item_id(std::string_view prefix) const {
        return fmt::format("{}_{}{}", prefix, id_, response_["output"].size());
    }

    Result<void> reasoning(const std::string& text, const Choice& so_far) {
        if (open_ != Item::kReasoning) {
            TRY(close(so_far));
            TRY(add_item(Item::kReasoning, {{"id", item_id("rs")},
                                            {"type", "reasoning"},
                                            {"status", "in_progress"},
                                            {"summary", Json::array()},
                                            {"content", Json::array()},
                                            {"encrypted_content", so_far.seal}}));
            TRY(tell("response.content_part.added",
                     {{"content_index", 0}, {"part", {{"type", "reasoning_text"}, {"text", ""}}}}));
        }
        text_ += text;
        return tell("response.reasoning_text.delta", {{"content_index", 0}, {"delta", text}});
    }

    Result<void> content(const std::string& text, const Choice& so_far) {
        if (open_ != Item::kMessage) {
            TRY(close(so_far));
            TRY(add_item(Item::kMessage, {{"id", item_id("msg")},
                                          {"type", "message"},
                                          {"status", "in_progress"},
                                          {"role", "assistant"},
                                          {"content", Json::array()}}));
            TRY(tell("response.content_part.added",
                     {{"content_index", 0}, {"part", text_part("")}}));
        }
        text_ += text;
        return tell("response.output_text.delta",
                    {{"content_index", 0}, {"delta", text}, {"logprobs", Json::array()}});
    }

    Result<void> begin_call(const ParserEvent& event, const Choice& so_far) {
        TRY(close(so_far));
        const auto route = job_.routes.find(event.text);
        const bool is_custom = route != job_.routes.end() && route->second.is_custom;
        Json item = {{"id", item_id(is_custom ? "ctc" : "fc")},
                     {"type", is_custom ? "custom_tool_call" : "function_call"},
                     {"status", "in_progress"},
                     {"call_id", so_far.call_ids[event.call_idx]},
                     {"name", route == job_.routes.end() ? event.text : route->second.name}};
        if (route != job_.routes.end() && !route->second.name_space.empty())
            item["namespace"] = route->second.name_space;
        item[is_custom ? "input" : "arguments"] = "";
        return add_item(is_custom ? Item::kCustom : Item::kCall, std::move(item));
    }

    Result<void> arguments(const std::string& text) {
        text_ += text;
        if (open_ == Item::kCustom) return {};  // told whole, once its string is known
        return tell("response.function_call_arguments.delta", {{"delta", text}});
    }

    // The string that a custom tool takes; all of the arguments if they have another form.
    std::string custom_input() const {
        const auto parsed = parse_json(text_);
        if (parsed && parsed->is_object() && parsed->size() == 1 && parsed->contains("input") &&
            (*parsed)["input"].is_string())
            return (*parsed)["input"].get<std::string>();
        return text_;
    }

    Result<void> close(const Choice& so_far) {
        switch (std::exchange(open_, Item::kNone)) {
            case Item::kNone: return {};
            case Item::kReasoning: {
                const Json part = {{"type", "reasoning_text"}, {"text", text_}};
                TRY(tell("response.reasoning_text.done", {{"content_index", 0}, {"text", text_}}));
                TRY(tell("response.content_part.done", {{"content_index", 0}, {"part", part}}));
                item_["content"] = Json::array({part});
                item_["encrypted_content"] = so_far.seal;
                break;
            }
            case Item::kMessage: {
                TRY(tell("response.output_text.done",
                         {{"content_index", 0}, {"text", text_}, {"logprobs", Json::array()}}));
                TRY(tell("response.content_part.done",
                         {{"content_index", 0}, {"part", text_part(text_)}}));
                item_["content"] = Json::array({text_part(text_)});
                break;
            }
            case Item::kCall:
                TRY(tell("response.function_call_arguments.done",
                         {{"name", item_["name"]}, {"arguments", text_}}));
                item_["arguments"] = text_;
                break;
            case Item::kCustom: {
                const std::string input = custom_input();
                TRY(tell("response.custom_tool_call_input.delta", {{"delta", input}}));
                TRY(tell("response.custom_tool_call_input.done", {{"input", input}}));
                item_["input"] = input;
                break;
            }
        }
        item_["status"] = "completed";
        const size_t output_index = response_["output"].size();
        response_["output"].push_back(item_);
        return send("response.output_item.done", {{"output_index", output_index}, {"item", item_}});
    }

    EventStream* events_;
    const Job& job_;
    const std::string id_;
    Json response_;
    Item open_ = Item::kNone;
    Json item_;         // the open one
    std::string text_;  // of the open one
    int64_t sequence_number_ = 0;
};

}  // namespace

Result<void> serve_responses(Service& service, net::Exchange& exchange, const JsonText& body) {
    const auto generation = TRY(
        start_generation(service, exchange, TRY(read_responses_request(body, service.options))));
    const Job& job = generation->job();
    const Opening& opening = generation->opening();
    Json head = response_head(body, job, opening);
    if (!job.stream) {
        ResponsesSink sink(nullptr, job, opening, std::move(head));
        const Answer answer = TRY(generation->run(&sink));
        respond_json(exchange, 200, sink.finish(answer), answer_headers(*generation, opening));
        return {};
    }
    EventStream events(exchange);
    TRY(events.begin(answer_headers(*generation, opening)));
    ResponsesSink sink(&events, job, opening, std::move(head));
    TRY(sink.open());
    const Result<Answer> answer = generation->run(&sink);
    TRY(answer ? sink.close_stream(*answer) : sink.fail_stream(api_error(answer.error())));
    events.end();
    return {};
}

}  // namespace baleen::serve
