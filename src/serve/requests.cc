#include "serve/requests.h"

#include <algorithm>

namespace baleen::serve {
namespace {

// A trailing reminder belongs in front of the last user message (spec section 7).
void move_trailing_reminder(Job& job) {
    auto& messages = job.conversation.messages;
    if (messages.empty() || messages.back().role != Role::kLatestReminder) return;
    for (size_t i = messages.size() - 1; i-- > 0;)
        if (messages[i].role == Role::kUser) {
            std::rotate(messages.begin() + static_cast<long>(i), messages.end() - 1,
                        messages.end());
            return;
        }
}

// The vendor's service: temperature has no effect while thinking, top_p is at least 0.95.
void sample_as_vendor(Job& job) {
    if (job.conversation.thinking_mode != ThinkingMode::kThinking) return;
    job.sampling.temperature = 1;
    job.sampling.top_p = std::clamp(job.sampling.top_p, 0.95, 1.0);
}

}  // namespace

Result<void> choose_tool(std::string_view choice, std::string_view name, Job& job) {
    if (choice == "none") {
        job.tool_choice = ToolChoice::kNone;
    } else if (choice == "auto") {
        job.tool_choice = ToolChoice::kAuto;
    } else if (choice == "required" || choice == "any") {
        job.tool_choice = ToolChoice::kRequired;
    } else if (choice == "named") {
        job.tool_choice = ToolChoice::kNamed;
        const auto named = std::ranges::find_if(job.tools, [&](const ToolSchema& tool) {
            const auto route = job.routes.find(tool.name);
            return tool.name == name || (route != job.routes.end() && route->second.name == name);
        });
        if (named == job.tools.end())
            return make_error(ErrorCode::kInvalidArgument,
                              "tool_choice names {}, which is not among the {} tools", name,
                              job.tools.size());
        job.named_tool = named->name;
    } else {
        return make_error(ErrorCode::kInvalidArgument,
                          "tool_choice is {}, expected none, auto, required or a tool", choice);
    }
    if (job.tool_choice == ToolChoice::kRequired && job.tools.empty())
        return make_error(ErrorCode::kInvalidArgument,
                          "tool_choice is {}, but the request declares no tools", choice);
    return {};
}

void tell_later_system_as_user(Job& job) {
    bool is_later = false;
    for (Message& message : job.conversation.messages) {
        if (message.role != Role::kSystem)
            is_later = true;
        else if (is_later)
            message.role = Role::kUser;
    }
}

Result<void> read_response_format(const JsonText& format, Job& job, ReadTools& tools) {
    const std::string type = TRY(string_field(format, "type")).value_or("");
    if (type == "text") return {};
    if (type == "json_object") {
        job.json = JsonOutput::kObject;
        return {};
    }
    if (type != "json_schema")
        return wrong_field("response_format", format, "type text, json_object or json_schema");
    // Chat nests it, Responses does not.
    const JsonText* nested = format.find_set("json_schema");
    const JsonText* schema = (nested != nullptr ? *nested : format).find_set("schema");
    if (schema == nullptr)
        return make_error(ErrorCode::kInvalidArgument,
                          "response_format has no schema, expected json_schema.schema");
    job.json = JsonOutput::kSchema;
    job.json_schema = schema->dump_python();
    tools.response_format = format.dump_python();
    return {};
}

Result<void> finish_conversation(ReadTools tools, const ServiceOptions& options, Job& job) {
    Conversation& conversation = job.conversation;
    move_trailing_reminder(job);
    job.seals.resize(conversation.messages.size());
    const size_t before = conversation.messages.size();
    if (!tools.schemas.empty()) attach_tools(conversation, std::move(tools.schemas));
    if (!tools.response_format.empty()) {
        auto& messages = conversation.messages;
        if (messages.empty() || messages.front().role != Role::kSystem)
            messages.insert(messages.begin(), Message{.role = Role::kSystem});
        messages.front().response_format = std::move(tools.response_format);
    }
    job.inserted_messages = conversation.messages.size() - before;
    job.seals.insert(job.seals.begin(), job.inserted_messages, Seals{});
    if (options.keep_reasoning) conversation.drop_thinking = false;
    if (options.vendor_sampling) sample_as_vendor(job);
    return {};
}

}  // namespace baleen::serve
