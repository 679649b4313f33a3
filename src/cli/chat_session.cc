#include "cli/chat_session.h"

#include <algorithm>

#include "base/json.h"
#include "serve/requests.h"
#include "text/chat_json.h"

namespace baleen::cli {
namespace {

std::string text_of(const Message& message) {
    std::string text;
    for (const ContentPart& part : message.content) text += part.text;
    return text;
}

Message text_message(Role role, std::string text) {
    return {.role = role, .content = {{.text = std::move(text), .unsupported_kind = ""}}};
}

std::string_view role_name(Role role) {
    switch (role) {
        case Role::kUser: return "user";
        case Role::kAssistant: return "assistant";
        case Role::kTool: return "tool";
        case Role::kSystem: return "system";
        case Role::kDeveloper: return "developer";
        case Role::kLatestReminder: return "latest_reminder";
    }
    return "";
}

Json to_json(const Message& message) {
    Json json = {{"role", role_name(message.role)}, {"content", text_of(message)}};
    if (!message.reasoning.empty()) json["reasoning_content"] = message.reasoning;
    for (const ToolCall& call : message.tool_calls)
        json["tool_calls"].push_back(
            {{"id", call.id},
             {"type", "function"},
             {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
    if (!message.tool_call_id.empty()) json["tool_call_id"] = message.tool_call_id;
    return json;
}

Message answer_message(const serve::Choice& choice) {
    Message message = text_message(Role::kAssistant, choice.message.content);
    message.reasoning = choice.message.reasoning;
    for (size_t i = 0; i < choice.message.tool_calls.size(); ++i)
        if (const ParsedCall& call = choice.message.tool_calls[i]; call.complete)
            message.tool_calls.push_back(
                {.id = choice.call_ids[i], .name = call.name, .arguments = call.arguments});
    return message;
}

auto last_user(std::vector<Message>& messages) {
    return std::find_if(messages.rbegin(), messages.rend(),
                        [](const Message& message) { return message.role == Role::kUser; });
}

}  // namespace

Result<serve::Thinking> parse_thinking(std::string_view name) {
    if (name == "off") return serve::Thinking{.enabled = false, .effort = {}};
    if (name == "high") return serve::Thinking{.enabled = true, .effort = Effort::kHigh};
    if (name == "max") return serve::Thinking{.enabled = true, .effort = Effort::kMax};
    return make_error(ErrorCode::kInvalidArgument, "thinking is '{}', expected high, max or off",
                      name);
}

std::string_view thinking_name(const serve::Thinking& thinking) {
    if (!thinking.enabled.value_or(true)) return "off";
    return thinking.effort == Effort::kMax ? "max" : "high";
}

ChatSession::ChatSession(serve::Service& service, Settings settings)
    : service_(service), settings_(std::move(settings)) {}

Result<void> ChatSession::declare_tools(std::string_view text) {
    const JsonText list = TRY(JsonText::parse(text));
    if (!list.is_array())
        return make_error(ErrorCode::kInvalidArgument, "expected a JSON list of tools");
    for (size_t i = 0; i < list.size(); ++i) {
        const JsonText* const function = list.at(i).find_set("function");
        tools_.push_back(function != nullptr ? *function : list.at(i));
        serve::Job trial;
        std::vector<std::string> schemas;
        const Result<void> added = serve::add_tool(tools_.back(), trial, schemas);
        if (!added) return Error(added.error()).in(fmt::format("tool {}", i));
    }
    return {};
}

void ChatSession::say(std::string text) {
    messages_.push_back(text_message(Role::kUser, std::move(text)));
}

void ChatSession::give_result(const ToolCall& call, std::string result) {
    Message message = text_message(Role::kTool, std::move(result));
    message.tool_call_id = call.id;
    messages_.push_back(std::move(message));
}

void ChatSession::keep(std::string reasoning, std::string content) {
    Message message = text_message(Role::kAssistant, std::move(content));
    message.reasoning = std::move(reasoning);
    messages_.push_back(std::move(message));
}

Result<serve::Job> ChatSession::job() const {
    serve::Job job{.api = serve::Api::kChat, .model = service_.options.model_name};
    job.conversation.dialect = service_.options.dialect;
    if (!settings_.system.empty())
        job.conversation.messages.push_back(text_message(Role::kSystem, settings_.system));
    std::ranges::copy(messages_, std::back_inserter(job.conversation.messages));
    serve::apply_thinking(settings_.thinking, service_.options.context_tokens_max, job);
    job.sampling = settings_.sampling;
    job.seed_given = settings_.seed.has_value();
    job.sampling.seed = settings_.seed.value_or(0);
    serve::ReadTools tools;
    for (const JsonText& function : tools_) TRY(serve::add_tool(function, job, tools.schemas));
    TRY(serve::finish_conversation(std::move(tools), service_.options, job));
    return job;
}

Result<ChatSession::Turn> ChatSession::answer(serve::AnswerSink& sink) {
    const auto generation = TRY(serve::Generation::start(service_, TRY(job())));
    const serve::Answer answer = TRY(generation->run(&sink));
    const serve::Choice& choice = answer.choices.front();
    messages_.push_back(answer_message(choice));
    return Turn{.message = messages_.back(),
                .finish = choice.finish,
                .usage = answer.usage,
                .warnings = generation->job().warnings};
}

std::optional<std::string> ChatSession::undo() {
    const auto user = last_user(messages_);
    if (user == messages_.rend()) return std::nullopt;
    std::string text = text_of(*user);
    messages_.erase(user.base() - 1, messages_.end());
    return text;
}

bool ChatSession::retract_answer() {
    const auto user = last_user(messages_);
    messages_.erase(user.base(), messages_.end());
    return !messages_.empty();
}

void ChatSession::clear() {
    messages_.clear();
}

std::string ChatSession::to_json() const {
    Json messages = Json::array();
    if (!settings_.system.empty())
        messages.push_back({{"role", "system"}, {"content", settings_.system}});
    for (const Message& message : messages_) messages.push_back(cli::to_json(message));
    const bool is_thinking = settings_.thinking.enabled.value_or(true);
    Json json = {{"messages", std::move(messages)},
                 {"thinking_mode", is_thinking ? "thinking" : "chat"},
                 {"dialect", dialect_name(service_.options.dialect)}};
    if (is_thinking) json["reasoning_effort"] = thinking_name(settings_.thinking);
    return dump_json(json, 2) + "\n";
}

Result<void> ChatSession::load_json(std::string_view text) {
    JsonText json = TRY(JsonText::parse(text));
    if (!json.is_object())
        return make_error(ErrorCode::kInvalidArgument, "expected an object with \"messages\"");
    json.erase("tools");
    Conversation loaded = TRY(conversation_from_json(json, service_.options.dialect));
    std::vector<Message>& messages = loaded.messages;
    std::string system;
    if (!messages.empty() && messages.front().role == Role::kSystem) {
        system = text_of(messages.front());
        messages.erase(messages.begin());
    }
    const auto is_known = [](const Message& message) {
        return message.role == Role::kUser || message.role == Role::kAssistant ||
               message.role == Role::kTool;
    };
    if (!std::ranges::all_of(messages, is_known))
        return make_error(ErrorCode::kInvalidArgument,
                          "messages: after a first system message, expected only the roles user, "
                          "assistant and tool");
    settings_.system = std::move(system);
    if (json.find_set("thinking_mode") != nullptr) {
        const bool is_thinking = loaded.thinking_mode == ThinkingMode::kThinking;
        const bool is_max = loaded.effort == Effort::kMax;
        settings_.thinking = TRY(parse_thinking(!is_thinking ? "off" : is_max ? "max" : "high"));
    }
    messages_ = std::move(messages);
    return {};
}

}  // namespace baleen::cli
