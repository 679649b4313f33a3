// Anthropic Messages, as Anthropic's SDKs and Claude Code write it.
#include <algorithm>

#include "serve/requests.h"
#include "text/chat_json.h"

namespace baleen::serve {
namespace {

// Claude Code puts a line that changes with every prompt in front of its system text: an
// accounting mark, no instruction. It would break the prefix of every request.
constexpr std::string_view kBillingHeader = "x-anthropic-billing-header:";

Result<std::string> block_type(const JsonText& block) {
    const auto type = TRY(string_field(block, "type"));
    if (!type)
        return make_error(ErrorCode::kInvalidArgument,
                          "type is missing, expected the kind of the content block");
    return *type;
}

Result<std::string> system_text(const JsonText& system) {
    std::string text;
    const auto add = [&](std::string_view part) {
        if (part.starts_with(kBillingHeader)) return;
        if (!text.empty()) text += "\n\n";
        text += part;
    };
    if (system.is_string()) {
        add(system.string());
        return text;
    }
    if (!system.is_array()) return wrong_field("system", system, "a string or a list of blocks");
    for (const JsonText& block : system.items()) {
        const std::string type = TRY(block_type(block));
        if (type != "text")
            return make_error(ErrorCode::kInvalidArgument,
                              "system: block of type {}, expected text", type);
        add(TRY(string_field(block, "text")).value_or(""));
    }
    return text;
}

// A run of blocks of one API message becomes messages in the order of the blocks.
class BlockReader {
  public:
    BlockReader(Job& job, Role role) : job_(job), role_(role) {}

    Result<void> read(const JsonText& block) {
        const std::string type = TRY(block_type(block));
        return role_ == Role::kAssistant ? read_assistant(block, type) : read_user(block, type);
    }

    Message& current(Role role) {
        auto& messages = job_.conversation.messages;
        const bool starts = first_ && !(role == Role::kAssistant && !messages.empty() &&
                                        messages.back().role == Role::kAssistant);
        if (starts || messages.empty() || messages.back().role != role || role == Role::kTool) {
            messages.push_back({.role = role});
            job_.seals.emplace_back();
        }
        first_ = false;
        return messages.back();
    }

  private:
    Result<void> read_user(const JsonText& block, const std::string& type) {
        if (type == "text") {
            current(role_).content.push_back({TRY(string_field(block, "text")).value_or(""), ""});
        } else if (type == "tool_result") {
            const std::string id = TRY(string_field(block, "tool_use_id")).value_or("");
            Message& message = current(Role::kTool);
            message.tool_call_id = id;
            if (const JsonText* content = block.find_set("content"))
                message.content = TRY(content_from_json(*content));
        } else {
            return make_error(ErrorCode::kInvalidArgument,
                              "a block of type {}: this model reads text only", type);
        }
        return {};
    }

    Result<void> read_assistant(const JsonText& block, const std::string& type) {
        Message& message = current(Role::kAssistant);
        const auto seal = [&](std::string_view field) -> Result<void> {
            if (auto value = TRY(string_field(block, field)); value && !value->empty())
                job_.seals.back().push_back(*std::move(value));
            return {};
        };
        if (type == "text") {
            const std::string text = TRY(string_field(block, "text")).value_or("");
            if (message.content.empty()) message.content.emplace_back();
            message.content.front().text += text;
        } else if (type == "thinking") {
            message.reasoning += TRY(string_field(block, "thinking")).value_or("");
            TRY(seal("signature"));
        } else if (type == "redacted_thinking") {
            TRY(seal("data"));
        } else if (type == "tool_use") {
            ToolCall call;
            call.id = TRY(string_field(block, "id")).value_or("");
            call.name = TRY(string_field(block, "name")).value_or("");
            call.arguments = "{}";
            if (const JsonText* input = block.find_set("input"))
                call.arguments = input->is_string() ? input->string() : input->dump_python();
            message.tool_calls.push_back(std::move(call));
        } else {
            job_.warnings.push_back(fmt::format("a block of type {} is left out", type));
        }
        return {};
    }

    Job& job_;
    Role role_;
    bool first_ = true;
};

Result<void> read_message(const JsonText& json, Job& job) {
    const std::string role = TRY(string_field(json, "role")).value_or("");
    if (role != "user" && role != "assistant" && role != "system")
        return make_error(ErrorCode::kInvalidArgument, "role is '{}', expected user or assistant",
                          role);
    const Role as = role == "assistant" ? Role::kAssistant
                    : role == "system"  ? Role::kSystem
                                        : Role::kUser;
    const JsonText* content = json.find_set("content");
    if (content == nullptr)
        return make_error(ErrorCode::kInvalidArgument,
                          "content is missing, expected a string or a list of blocks");
    BlockReader reader(job, as);
    if (content->is_string()) {
        Message& message = reader.current(as);
        if (as == Role::kAssistant && !message.content.empty())
            message.content.front().text += content->string();
        else
            message.content.push_back({content->string(), ""});
        return {};
    }
    if (!content->is_array())
        return wrong_field("content", *content, "a string or a list of blocks");
    for (size_t i = 0; i < content->size(); ++i) {
        const Result<void> read = reader.read(content->at(i));
        if (!read) return Error(read.error()).in(fmt::format("content[{}]", i));
    }
    return {};
}

Result<void> read_conversation(const JsonText& body, Job& job) {
    if (const JsonText* system = body.find_set("system")) {
        std::string text = TRY(system_text(*system));
        if (!text.empty()) {
            job.conversation.messages.push_back(
                {.role = Role::kSystem, .content = {{std::move(text), ""}}});
            job.seals.emplace_back();
        }
    }
    const JsonText* messages = body.find_set("messages");
    if (messages == nullptr || !messages->is_array() || messages->size() == 0)
        return make_error(ErrorCode::kInvalidArgument,
                          "messages is missing or empty, expected a list of messages");
    for (size_t i = 0; i < messages->size(); ++i) {
        const Result<void> read = read_message(messages->at(i), job);
        if (!read) return Error(read.error()).in(fmt::format("messages[{}]", i));
    }
    Message& last = job.conversation.messages.back();
    if (last.role == Role::kAssistant) last.without_eos = true;  // prefill: continue it
    tell_later_system_as_user(job);
    return {};
}

Result<void> read_tools(const JsonText& body, Job& job, ReadTools& tools) {
    const JsonText* list = body.find_set("tools");
    if (list == nullptr) return {};
    if (!list->is_array()) return wrong_field("tools", *list, "a list");
    for (size_t i = 0; i < list->size(); ++i) {
        const JsonText& tool = list->at(i);
        const std::string type = TRY(string_field(tool, "type")).value_or("custom");
        if (type != "custom") {
            job.warnings.push_back(fmt::format("tools[{}] of type {} is left out", i, type));
            continue;
        }
        JsonText function = TRY(JsonText::parse("{}"));
        for (const char* key : {"name", "description", "strict"})
            if (const JsonText* value = tool.find_set(key)) function.set(key, *value);
        if (const JsonText* schema = tool.find_set("input_schema"))
            function.set("parameters", *schema);
        const Result<void> added = add_tool(function, job, tools.schemas);
        if (!added) return Error(added.error()).in(fmt::format("tools[{}]", i));
    }
    return {};
}

Result<void> read_tool_choice(const JsonText& body, Job& job) {
    const JsonText* choice = body.find_set("tool_choice");
    if (choice == nullptr) return {};
    const std::string type = TRY(string_field(*choice, "type")).value_or("");
    job.parallel_calls = !TRY(bool_field(*choice, "disable_parallel_tool_use")).value_or(false);
    if (type != "tool") return choose_tool(type, "", job);
    return choose_tool("named", TRY(string_field(*choice, "name")).value_or(""), job);
}

Result<Thinking> read_thinking(const JsonText& body) {
    Thinking thinking;
    if (const JsonText* value = body.find_set("thinking")) {
        const std::string type = TRY(string_field(*value, "type")).value_or("");
        if (type != "enabled" && type != "disabled" && type != "adaptive")
            return wrong_field("thinking", *value,
                               "{\"type\": \"enabled\", \"disabled\" or \"adaptive\"}");
        thinking.enabled = type != "disabled";
    }
    if (const JsonText* config = body.find_set("output_config"))
        if (const JsonText* effort = config->find_set("effort"))
            TRY(read_effort_name("output_config.effort", *effort, thinking));
    return thinking;
}

Result<void> read_output_format(const JsonText& body, Job& job, ReadTools& tools) {
    const JsonText* format = body.find_set("output_format");
    if (const JsonText* config = body.find_set("output_config"); format == nullptr && config)
        format = config->find_set("format");
    return format == nullptr ? Result<void>() : read_response_format(*format, job, tools);
}

}  // namespace

Result<Job> read_messages_request(const JsonText& body, const ServiceOptions& options) {
    Job job{.api = Api::kMessages};
    job.conversation.dialect = options.dialect;
    job.model = TRY(string_field(body, "model")).value_or(options.model_name);
    job.stream = TRY(bool_field(body, "stream")).value_or(false);
    TRY(read_sampling(body, job));
    job.tokens_max = TRY(int_field(body, "max_tokens", 1, INT32_MAX));
    job.stops = TRY(stops_field(body, "stop_sequences"));
    TRY(read_conversation(body, job));
    ReadTools tools;
    TRY(read_tools(body, job, tools));
    TRY(read_tool_choice(body, job));
    TRY(read_output_format(body, job, tools));
    apply_thinking(TRY(read_thinking(body)), options.context_tokens_max, job);
    TRY(finish_conversation(std::move(tools), options, job));
    return job;
}

}  // namespace baleen::serve
