// OpenAI Chat Completions, as OpenAI, DeepSeek and the coding agents write it.
#include <algorithm>

#include "serve/requests.h"
#include "text/chat_json.h"

namespace baleen::serve {
namespace {

// The vendor's text, word for word: clients match on it.
constexpr std::string_view kReasoningMissing =
    "The `reasoning_content` in the thinking mode must be passed back to the API.";

Result<void> check_parts(const Message& message) {
    for (size_t i = 0; i < message.content.size(); ++i)
        if (const std::string& kind = message.content[i].unsupported_kind; !kind.empty())
            return make_error(ErrorCode::kInvalidArgument,
                              "content[{}] is of type {}, this model reads text only", i, kind);
    return {};
}

Result<Message> read_message(const JsonText& json, const ServiceOptions& options, bool is_last) {
    JsonText copy = json;
    const JsonText* role = json.find_set("role");
    if (role != nullptr && role->is_string()) {
        if (role->string() == "developer") copy.set("role", JsonText::of_string("system"));
        if (role->string() == "function") copy.set("role", JsonText::of_string("tool"));
    }
    Message message = TRY(message_from_json(copy, options.dialect));
    // Fields of the encoder that a client may not set.
    message.tools.clear();
    message.response_format.clear();
    message.task = Task::kNone;
    const bool is_prefix = TRY(bool_field(json, "prefix")).value_or(false);
    if (is_prefix && (!is_last || message.role != Role::kAssistant))
        return make_error(ErrorCode::kInvalidArgument,
                          "prefix is true, allowed only on a last message of the assistant");
    message.without_eos = is_prefix;
    if (message.role != Role::kTool) TRY(check_parts(message));
    return message;
}

Result<void> read_chat_messages(const JsonText& body, const ServiceOptions& options, Job& job) {
    const JsonText* messages = body.find_set("messages");
    if (messages == nullptr || !messages->is_array() || messages->size() == 0)
        return make_error(ErrorCode::kInvalidArgument,
                          "messages is missing or empty, expected a list of messages");
    for (size_t i = 0; i < messages->size(); ++i) {
        auto message = read_message(messages->at(i), options, i + 1 == messages->size());
        if (!message) return std::move(message).error().in(fmt::format("messages[{}]", i));
        job.conversation.messages.push_back(*std::move(message));
    }
    const Message& last = job.conversation.messages.back();
    if (last.role == Role::kSystem)
        return make_error(ErrorCode::kInvalidArgument,
                          "messages: the last one is of role system, expected user, tool or an "
                          "assistant message with \"prefix\": true");
    if (last.role == Role::kAssistant && !last.without_eos)
        return make_error(ErrorCode::kInvalidArgument,
                          "messages: the last one is of role assistant and has no \"prefix\": "
                          "true, so there is nothing to answer");
    return {};
}

Result<void> read_tools(const JsonText& body, Job& job, ReadTools& tools) {
    if (body.find_set("functions") != nullptr)
        return make_error(ErrorCode::kInvalidArgument,
                          "functions is the old form of this API, expected tools");
    const JsonText* list = body.find_set("tools");
    if (list == nullptr) return {};
    if (!list->is_array()) return wrong_field("tools", *list, "a list");
    for (size_t i = 0; i < list->size(); ++i) {
        const JsonText& tool = list->at(i);
        const JsonText* type = tool.find_set("type");
        if (type != nullptr && type->is_string() && type->string() != "function") {
            job.warnings.push_back(
                fmt::format("tools[{}] of type {} is left out", i, type->string()));
            continue;
        }
        const JsonText* function = tool.find_set("function");
        if (function == nullptr || !function->is_object())
            return make_error(ErrorCode::kInvalidArgument,
                              "tools[{}].function is missing, expected an object", i);
        const Result<void> added = add_tool(*function, job, tools.schemas);
        if (!added) return Error(added.error()).in(fmt::format("tools[{}].function", i));
    }
    return {};
}

Result<void> read_tool_choice(const JsonText& body, Job& job) {
    const JsonText* choice = body.find_set("tool_choice");
    if (choice == nullptr) return {};
    if (choice->is_string()) return choose_tool(choice->string(), "", job);
    if (const JsonText* function = choice->find_set("function")) {
        const auto name = TRY(string_field(*function, "name"));
        if (name) return choose_tool("named", *name, job);
    }
    if (const JsonText* allowed = choice->find_set("allowed_tools")) {  // the tools stay visible
        const auto mode = TRY(string_field(*allowed, "mode"));
        return choose_tool(mode.value_or("auto"), "", job);
    }
    return wrong_field(
        "tool_choice", *choice,
        "none, auto, required or {\"type\": \"function\", \"function\": {\"name\"}}");
}

Result<Thinking> read_thinking(const JsonText& body) {
    Thinking thinking;
    if (const JsonText* template_arguments = body.find_set("chat_template_kwargs")) {
        thinking.enabled = TRY(bool_field(*template_arguments, "thinking"));
        if (const auto enabled = TRY(bool_field(*template_arguments, "enable_thinking")))
            thinking.enabled = enabled;
        if (const JsonText* effort = template_arguments->find_set("reasoning_effort"))
            TRY(read_effort_name("chat_template_kwargs.reasoning_effort", *effort, thinking));
    }
    if (const auto enabled = TRY(bool_field(body, "enable_thinking"))) thinking.enabled = enabled;
    if (const JsonText* value = body.find_set("thinking")) {
        if (value->kind() == JsonText::Kind::kBool) {
            thinking.enabled = value->boolean();
        } else {
            const auto type = TRY(string_field(*value, "type"));
            if (!type || (*type != "enabled" && *type != "disabled" && *type != "adaptive"))
                return wrong_field("thinking", *value,
                                   "{\"type\": \"enabled\", \"disabled\" or \"adaptive\"}");
            thinking.enabled = *type != "disabled";
        }
    }
    if (const JsonText* reasoning = body.find_set("reasoning")) {
        if (const auto enabled = TRY(bool_field(*reasoning, "enabled"))) thinking.enabled = enabled;
        if (const JsonText* effort = reasoning->find_set("effort"))
            TRY(read_effort_name("reasoning.effort", *effort, thinking));
    }
    if (const JsonText* effort = body.find_set("reasoning_effort"))
        TRY(read_effort_name("reasoning_effort", *effort, thinking));
    return thinking;
}

Result<void> read_limits(const JsonText& body, const ServiceOptions& options, Job& job) {
    job.tokens_max = TRY(int_field(body, "max_completion_tokens", 1, INT32_MAX));
    if (!job.tokens_max) job.tokens_max = TRY(int_field(body, "max_tokens", 1, INT32_MAX));
    job.stops = TRY(stops_field(body, "stop"));
    const auto choices_max = static_cast<int64_t>(options.choices_max);
    job.choices = static_cast<size_t>(TRY(int_field(body, "n", 1, choices_max)).value_or(1));
    if (TRY(bool_field(body, "logprobs")).value_or(false))
        job.top_logprobs =
            static_cast<int>(TRY(int_field(body, "top_logprobs", 0, 20)).value_or(0));
    for (const char* penalty : {"presence_penalty", "frequency_penalty"})
        if (TRY(number_field(body, penalty, {-2, 2})).value_or(0) != 0)
            job.warnings.push_back(fmt::format("{} has no effect on this model", penalty));
    if (const JsonText* bias = body.find_set("logit_bias"); bias != nullptr && bias->size() > 0)
        return make_error(ErrorCode::kInvalidArgument, "logit_bias is not supported");
    return {};
}

// With the strict switch: what the vendor's API answers (spec section 14).
Result<void> check_as_vendor(const JsonText& messages, const Job& job) {
    if (job.conversation.thinking_mode != ThinkingMode::kThinking || job.tools.empty()) return {};
    if (job.tool_choice == ToolChoice::kRequired || job.tool_choice == ToolChoice::kNamed)
        return make_error(ErrorCode::kInvalidArgument,
                          "Thinking mode does not support this tool_choice");
    for (const JsonText& message : messages.items())
        if (message.find_set("tool_calls") != nullptr &&
            message.find_set("reasoning_content") == nullptr)
            return make_error(ErrorCode::kInvalidArgument, "{}", kReasoningMissing);
    return {};
}

}  // namespace

Result<Job> read_chat_request(const JsonText& body, const ServiceOptions& options) {
    Job job{.api = Api::kChat};
    job.conversation.dialect = options.dialect;
    job.model = TRY(string_field(body, "model")).value_or(options.model_name);
    job.stream = TRY(bool_field(body, "stream")).value_or(false);
    if (const JsonText* stream = body.find_set("stream_options"))
        job.stream_usage = TRY(bool_field(*stream, "include_usage")).value_or(false);
    TRY(read_sampling(body, job));
    TRY(read_limits(body, options, job));
    TRY(read_chat_messages(body, options, job));
    ReadTools tools;
    TRY(read_tools(body, job, tools));
    job.parallel_calls = TRY(bool_field(body, "parallel_tool_calls")).value_or(true);
    TRY(read_tool_choice(body, job));
    if (const JsonText* format = body.find_set("response_format"))
        TRY(read_response_format(*format, job, tools));
    apply_thinking(TRY(read_thinking(body)), options.context_tokens_max, job);
    if (TRY(bool_field(body, "keep_reasoning")).value_or(false))
        job.conversation.drop_thinking = false;
    job.cache_key = TRY(string_field(body, "prompt_cache_key")).value_or("");
    if (options.strict_deepseek) TRY(check_as_vendor(*body.find_set("messages"), job));
    TRY(finish_conversation(std::move(tools), options, job));
    return job;
}

}  // namespace baleen::serve
