// OpenAI Responses, as OpenAI's SDKs, the Vercel AI SDK and Codex write it. Stateless: the client
// sends the whole conversation every time.
#include <algorithm>

#include "serve/requests.h"
#include "text/chat_json.h"

namespace baleen::serve {
namespace {

class ItemReader {
  public:
    explicit ItemReader(Job& job) : job_(job) {}

    Result<void> read(const JsonText& item) {
        if (!item.is_object()) return wrong_field("item", item, "an object");
        const std::string type = TRY(string_field(item, "type")).value_or("message");
        if (type == "message") return read_message(item);
        if (type == "reasoning") return read_reasoning(item);
        if (type == "function_call") return read_call(item, "arguments");
        if (type == "custom_tool_call") return read_call(item, "input");
        if (type == "function_call_output" || type == "custom_tool_call_output")
            return read_output(item);
        job_.warnings.push_back(fmt::format("an item of type {} is left out", type));
        return {};
    }

  private:
    Message& append(Role role) {
        job_.conversation.messages.push_back({.role = role});
        job_.seals.emplace_back();
        return job_.conversation.messages.back();
    }

    // The assistant message that goes on, or a new one: reasoning, text and calls of one answer
    // come as items of their own, in this order.
    enum class Part : uint8_t { kReasoning, kText, kCall };
    Message& assistant(Part part) {
        auto& messages = job_.conversation.messages;
        if (messages.empty() || messages.back().role != Role::kAssistant)
            return append(Role::kAssistant);
        const Message& last = messages.back();
        const bool starts_anew =
            (part == Part::kReasoning && (!last.content.empty() || !last.tool_calls.empty())) ||
            (part == Part::kText && !last.tool_calls.empty());
        return starts_anew ? append(Role::kAssistant) : messages.back();
    }

    Result<void> read_message(const JsonText& item) {
        const std::string role = TRY(string_field(item, "role")).value_or("");
        const JsonText* content = item.find_set("content");
        std::vector<ContentPart> parts;
        if (content != nullptr) parts = TRY(content_from_json(*content));
        for (const ContentPart& part : parts)
            if (!part.unsupported_kind.empty())
                return make_error(ErrorCode::kInvalidArgument,
                                  "content of type {}: this model reads text only",
                                  part.unsupported_kind);
        if (role == "assistant") {
            Message& message = assistant(Part::kText);
            if (message.content.empty()) message.content.emplace_back();
            for (const ContentPart& part : parts) message.content.front().text += part.text;
        } else if (role == "user") {
            append(Role::kUser).content = std::move(parts);
        } else if (role == "system" || role == "developer") {
            append(Role::kSystem).content = std::move(parts);
        } else {
            return make_error(ErrorCode::kInvalidArgument,
                              "role is '{}', expected user, assistant, system or developer", role);
        }
        return {};
    }

    Result<void> read_reasoning(const JsonText& item) {
        Message& message = assistant(Part::kReasoning);
        const auto add = [&](const JsonText* list) -> Result<void> {
            if (list == nullptr) return {};
            for (const JsonText& part : list->items())
                message.reasoning += TRY(string_field(part, "text")).value_or("");
            return {};
        };
        const JsonText* content = item.find_set("content");
        TRY(add(content != nullptr && content->size() > 0 ? content : item.find_set("summary")));
        if (auto seal = TRY(string_field(item, "encrypted_content")))
            job_.seals.back().push_back(*std::move(seal));
        return {};
    }

    Result<void> read_call(const JsonText& item, std::string_view arguments_field) {
        const std::string name = TRY(string_field(item, "name")).value_or("");
        if (name.empty())
            return make_error(ErrorCode::kInvalidArgument, "name is missing, expected a tool");
        ToolCall call;
        call.id = TRY(string_field(item, "call_id")).value_or("");
        call.name = model_name(name, TRY(string_field(item, "namespace")).value_or(""));
        call.arguments = TRY(string_field(item, arguments_field)).value_or("");
        if (arguments_field == "input") {
            JsonText object = TRY(JsonText::parse("{}"));
            object.set("input", JsonText::of_string(std::move(call.arguments)));
            call.arguments = object.dump_python();
        }
        assistant(Part::kCall).tool_calls.push_back(std::move(call));
        return {};
    }

    Result<void> read_output(const JsonText& item) {
        Message& message = append(Role::kTool);
        message.tool_call_id = TRY(string_field(item, "call_id")).value_or("");
        const JsonText* output = item.find_set("output");
        if (output == nullptr) return {};
        if (output->is_object())  // {"content": "...", "success": true}
            message.content.push_back({output->dump_python(), ""});
        else
            message.content = TRY(content_from_json(*output));
        return {};
    }

    std::string model_name(const std::string& name, const std::string& name_space) const {
        for (const auto& [seen, route] : job_.routes)
            if (route.name == name && route.name_space == name_space) return seen;
        return name;
    }

    Job& job_;
};

// The name under which the model sees a tool of a namespace.
std::string joined_name(const std::string& name_space, const std::string& name) {
    return name_space + (name_space.ends_with('_') ? "" : "__") + name;
}

class ToolReader {
  public:
    ToolReader(Job& job, ReadTools& tools) : job_(job), tools_(tools) {}

    Result<void> read(const JsonText& tool, const std::string& name_space) {
        const std::string type = TRY(string_field(tool, "type")).value_or("function");
        if (type == "function") return add(tool, name_space);
        if (type == "custom") return add_custom(tool, name_space);
        if (type == "namespace") {
            const std::string inner = TRY(string_field(tool, "name")).value_or("");
            const JsonText* list = tool.find_set("tools");
            if (list == nullptr) return {};
            for (const JsonText& member : list->items()) TRY(read(member, inner));
            return {};
        }
        job_.warnings.push_back(fmt::format("tool of type {} is left out", type));
        return {};
    }

  private:
    // Chat nests the function, Responses does not.
    Result<void> add(const JsonText& tool, const std::string& name_space) {
        JsonText function = TRY(JsonText::parse("{}"));
        for (const auto& [key, value] : tool.members())
            if (key != "type" && !value.is_null()) function.set(key, value);
        return add_named(std::move(function), name_space, {});
    }

    Result<void> add_custom(const JsonText& tool, const std::string& name_space) {
        JsonText function = TRY(JsonText::parse("{}"));
        for (const char* key : {"name", "description"})
            if (const JsonText* value = tool.find_set(key)) function.set(key, *value);
        function.set("parameters",
                     TRY(JsonText::parse(R"({"type": "object", "properties": {"input": )"
                                         R"({"type": "string"}}, "required": ["input"]})")));
        return add_named(std::move(function), name_space, {.is_custom = true});
    }

    Result<void> add_named(JsonText function, const std::string& name_space, ToolRoute route) {
        route.name = TRY(string_field(function, "name")).value_or("");
        route.name_space = name_space;
        std::string seen = route.name;
        if (!name_space.empty()) {
            seen = joined_name(name_space, route.name);
            function.set("name", JsonText::of_string(seen));
        }
        TRY(add_tool(function, job_, tools_.schemas));
        if (!name_space.empty() || route.is_custom) job_.routes[seen] = std::move(route);
        return {};
    }

    Job& job_;
    ReadTools& tools_;
};

Result<void> read_tools(const JsonText& body, Job& job, ReadTools& tools) {
    const JsonText* list = body.find_set("tools");
    if (list == nullptr) return {};
    if (!list->is_array()) return wrong_field("tools", *list, "a list");
    ToolReader reader(job, tools);
    for (size_t i = 0; i < list->size(); ++i) {
        const Result<void> read = reader.read(list->at(i), "");
        if (!read) return Error(read.error()).in(fmt::format("tools[{}]", i));
    }
    return {};
}

Result<void> read_tool_choice(const JsonText& body, Job& job) {
    const JsonText* choice = body.find_set("tool_choice");
    if (choice == nullptr) return {};
    if (choice->is_string()) return choose_tool(choice->string(), "", job);
    if (const auto mode = TRY(string_field(*choice, "mode"))) return choose_tool(*mode, "", job);
    return choose_tool("named", TRY(string_field(*choice, "name")).value_or(""), job);
}

Result<void> refuse_stored_state(const JsonText& body) {
    for (const char* field : {"previous_response_id", "conversation"})
        if (body.find_set(field) != nullptr)
            return make_error(ErrorCode::kInvalidArgument,
                              "{} is given, but this server stores no responses: send the whole "
                              "conversation as input",
                              field);
    if (TRY(bool_field(body, "background")).value_or(false))
        return make_error(ErrorCode::kInvalidArgument,
                          "background is true, but this server answers while the client waits");
    return {};
}

Result<void> read_input(const JsonText& body, Job& job) {
    if (const auto instructions = TRY(string_field(body, "instructions"))) {
        job.conversation.messages.push_back(
            {.role = Role::kSystem, .content = {{*instructions, ""}}});
        job.seals.emplace_back();
    }
    const JsonText* input = body.find_set("input");
    if (input == nullptr || (!input->is_string() && input->size() == 0))
        return make_error(ErrorCode::kInvalidArgument,
                          "input is missing or empty, expected a string or a list of items");
    if (input->is_string()) {
        job.conversation.messages.push_back(
            {.role = Role::kUser, .content = {{input->string(), ""}}});
        job.seals.emplace_back();
        return {};
    }
    ItemReader reader(job);
    for (size_t i = 0; i < input->size(); ++i) {
        const Result<void> read = reader.read(input->at(i));
        if (!read) return Error(read.error()).in(fmt::format("input[{}]", i));
    }
    if (job.conversation.messages.empty())
        return make_error(ErrorCode::kInvalidArgument, "input has nothing that this model reads");
    Message& last = job.conversation.messages.back();
    if (last.role == Role::kAssistant) last.without_eos = true;
    tell_later_system_as_user(job);
    return {};
}

Result<Thinking> read_thinking(const JsonText& body) {
    Thinking thinking;
    if (const JsonText* reasoning = body.find_set("reasoning"))
        if (const JsonText* effort = reasoning->find_set("effort"))
            TRY(read_effort_name("reasoning.effort", *effort, thinking));
    return thinking;
}

bool wants_logprobs(const JsonText& body) {
    const JsonText* include = body.find_set("include");
    return include != nullptr && std::ranges::any_of(include->items(), [](const JsonText& item) {
               return item.is_string() && item.string() == "message.output_text.logprobs";
           });
}

}  // namespace

Result<Job> read_responses_request(const JsonText& body, const ServiceOptions& options) {
    Job job{.api = Api::kResponses};
    job.conversation.dialect = options.dialect;
    TRY(refuse_stored_state(body));
    job.model = TRY(string_field(body, "model")).value_or(options.model_name);
    job.stream = TRY(bool_field(body, "stream")).value_or(false);
    TRY(read_sampling(body, job));
    job.tokens_max = TRY(int_field(body, "max_output_tokens", 1, INT32_MAX));
    if (wants_logprobs(body))
        job.top_logprobs =
            static_cast<int>(TRY(int_field(body, "top_logprobs", 0, 20)).value_or(0));
    ReadTools tools;
    TRY(read_tools(body, job, tools));
    TRY(read_input(body, job));
    job.parallel_calls = TRY(bool_field(body, "parallel_tool_calls")).value_or(true);
    TRY(read_tool_choice(body, job));
    if (const JsonText* text = body.find_set("text"))
        if (const JsonText* format = text->find_set("format"))
            TRY(read_response_format(*format, job, tools));
    apply_thinking(TRY(read_thinking(body)), options.context_tokens_max, job);
    job.cache_key = TRY(string_field(body, "prompt_cache_key")).value_or("");
    TRY(finish_conversation(std::move(tools), options, job));
    return job;
}

}  // namespace baleen::serve
