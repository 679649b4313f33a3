#include "text/chat_json.h"

#include <array>
#include <utility>

#include "text/prompt_strings.h"
#include "text/tool_namespace.h"

namespace baleen {
namespace {

template <typename Value, size_t kSize>
using Names = std::array<std::pair<std::string_view, Value>, kSize>;

constexpr Names<Role, 6> kRoles = {{{"system", Role::kSystem},
                                    {"developer", Role::kDeveloper},
                                    {"user", Role::kUser},
                                    {"assistant", Role::kAssistant},
                                    {"tool", Role::kTool},
                                    {"latest_reminder", Role::kLatestReminder}}};

constexpr Names<Task, 6> kTasks = {{{"action", Task::kAction},
                                    {"query", Task::kQuery},
                                    {"authority", Task::kAuthority},
                                    {"domain", Task::kDomain},
                                    {"title", Task::kTitle},
                                    {"read_url", Task::kReadUrl}}};

constexpr Names<ThinkingMode, 2> kThinkingModes = {
    {{"chat", ThinkingMode::kChat}, {"thinking", ThinkingMode::kThinking}}};

constexpr Names<Effort, 3> kEfforts = {
    {{"low", Effort::kLow}, {"high", Effort::kHigh}, {"max", Effort::kMax}}};

// What messages show of a value: short, on one line.
std::string shown(const JsonText& value) {
    constexpr size_t kShownBytesMax = 40;
    if (value.is_array() || value.is_object()) return std::string(kind_name(value.kind()));
    if (value.is_string() && value.string().size() > kShownBytesMax) return "a long string";
    return value.dump_python();
}

Error wrong(std::string_view field, const JsonText& value, std::string_view expected) {
    return make_error(ErrorCode::kInvalidArgument, "{} is {}, expected {}", field, shown(value),
                      expected);
}

Error missing(std::string_view field, std::string_view expected) {
    return make_error(ErrorCode::kInvalidArgument, "{} is missing, expected {}", field, expected);
}

template <typename Value, size_t kSize>
Result<Value> named(std::string_view field, const JsonText& value,
                    const Names<Value, kSize>& names) {
    std::string expected;
    for (const auto& [name, known] : names) {
        if (value.is_string() && value.string() == name) return known;
        expected += expected.empty() ? "" : ", ";
        expected += name;
    }
    return wrong(field, value, "one of " + expected);
}

// The string at object[key]; empty where it is missing or null.
Result<std::string> string_or_empty(const JsonText& object, std::string_view key) {
    const JsonText* value = object.find_set(key);
    if (value == nullptr) return std::string();
    if (!value->is_string()) return wrong(key, *value, "a string");
    return value->string();
}

Result<bool> flag_or(const JsonText& object, std::string_view key, bool otherwise) {
    const JsonText* value = object.find_set(key);
    if (value == nullptr) return otherwise;
    if (value->kind() != JsonText::Kind::kBool) return wrong(key, *value, "true or false");
    return value->boolean();
}

// Adds "list[i]" to an error from one entry.
template <typename T>
Result<T> at_entry(std::string_view list, size_t i, Result<T> result) {
    if (result) return result;
    return std::move(result).error().in(fmt::format("{}[{}]", list, i));
}

Result<ContentPart> part_from_json(const JsonText& part) {
    if (part.is_string()) return ContentPart{part.string(), ""};
    if (!part.is_object()) return wrong("part", part, "an object with a type");
    const std::string type = TRY(string_or_empty(part, "type"));
    if (type.empty()) return missing("type", "text or another kind of part");
    // What one API's answers call output_text comes back as history.
    if (type == "text" || type == "input_text" || type == "output_text")
        return ContentPart{TRY(string_or_empty(part, "text")), ""};
    if (type == "refusal") return ContentPart{TRY(string_or_empty(part, "refusal")), ""};
    return ContentPart{"", type};
}

// Arguments as JSON text: a string is the text, an object is written as one.
Result<std::string> arguments_from_json(const JsonText* arguments) {
    if (arguments == nullptr) return std::string("{}");
    if (arguments->is_string()) return arguments->string();
    if (arguments->is_object()) return arguments->dump_python();
    return wrong("arguments", *arguments, "JSON text or an object");
}

Result<ToolCall> call_from_json(const JsonText& call, Dialect dialect) {
    if (!call.is_object()) return wrong("call", call, "an object");
    const JsonText* nested = call.find_set("function");
    if (nested != nullptr && !nested->is_object()) return wrong("function", *nested, "an object");
    const JsonText& function = nested != nullptr ? *nested : call;
    ToolCall out;
    out.id = TRY(string_or_empty(call, "id"));
    if (out.id.empty()) out.id = TRY(string_or_empty(function, "id"));
    out.name = TRY(string_or_empty(function, "name"));
    if (out.name.empty()) return missing("name", "the name of the tool");
    if (dialect == Dialect::kV41) {
        const JsonText* space = call.find_set("namespace");
        if (space == nullptr) space = function.find_set("namespace");
        out.name = TRY(qualified_tool_name(out.name, space));
    }
    out.arguments = TRY(arguments_from_json(function.find_set("arguments")));
    return out;
}

Result<std::vector<ToolCall>> calls_from_json(const JsonText& calls, Dialect dialect) {
    if (!calls.is_array()) return wrong("tool_calls", calls, "a list");
    std::vector<ToolCall> out;
    for (size_t i = 0; i < calls.size(); ++i)
        out.push_back(TRY(at_entry("tool_calls", i, call_from_json(calls.at(i), dialect))));
    return out;
}

Result<std::string> tool_from_json(const JsonText& tool, Dialect dialect) {
    if (!tool.is_object()) return wrong("tool", tool, "an object");
    const JsonText* function = tool.find_set("function");
    if (function == nullptr) return missing("function", "an object with name and parameters");
    if (!function->is_object()) return wrong("function", *function, "an object");
    if (dialect != Dialect::kV41) return function->dump_python();
    return TRY(qualified_tool(*function, tool.find_set("namespace"))).dump_python();
}

Result<std::vector<Message>> messages_from_json(const JsonText& list, std::string_view field,
                                                Dialect dialect) {
    if (!list.is_array()) return wrong(field, list, "a list");
    std::vector<Message> messages;
    for (size_t i = 0; i < list.size(); ++i)
        messages.push_back(TRY(at_entry(field, i, message_from_json(list.at(i), dialect))));
    return messages;
}

// V4.1 also takes a number.
Result<void> read_effort(const JsonText& effort, Conversation& out) {
    if (effort.kind() == JsonText::Kind::kInteger) {
        const std::optional<int64_t> budget = effort.integer();
        if (!budget || *budget < kEffortBudgetMin || *budget > kEffortBudgetMax)
            return wrong("reasoning_effort", effort, "1 to 100, low, high or max");
        out.effort_budget = static_cast<int>(*budget);
    } else {
        out.effort = TRY(named("reasoning_effort", effort, kEfforts));
    }
    return {};
}

}  // namespace

Result<std::vector<ContentPart>> content_from_json(const JsonText& content) {
    std::vector<ContentPart> parts;
    if (content.is_null()) return parts;
    if (content.is_string()) {
        parts.push_back({content.string(), ""});
        return parts;
    }
    if (!content.is_array()) return wrong("content", content, "a string, a list of parts or null");
    for (size_t i = 0; i < content.size(); ++i)
        parts.push_back(TRY(at_entry("content", i, part_from_json(content.at(i)))));
    return parts;
}

Result<std::vector<std::string>> tools_from_json(const JsonText& tools, Dialect dialect) {
    std::vector<std::string> schemas;
    if (tools.is_null()) return schemas;
    if (!tools.is_array()) return wrong("tools", tools, "a list");
    for (size_t i = 0; i < tools.size(); ++i)
        schemas.push_back(TRY(at_entry("tools", i, tool_from_json(tools.at(i), dialect))));
    return schemas;
}

Result<Message> message_from_json(const JsonText& message, Dialect dialect) {
    if (!message.is_object()) return wrong("message", message, "an object");
    Message out;
    const JsonText* role = message.find("role");
    if (role == nullptr) return missing("role", "system, user, assistant or tool");
    out.role = TRY(named("role", *role, kRoles));
    if (const JsonText* content = message.find("content"))
        out.content = TRY(content_from_json(*content));
    out.reasoning = TRY(string_or_empty(
        message, message.find_set("reasoning_content") ? "reasoning_content" : "reasoning"));
    if (const JsonText* calls = message.find_set("tool_calls"))
        out.tool_calls = TRY(calls_from_json(*calls, dialect));
    out.tool_call_id = TRY(string_or_empty(message, "tool_call_id"));
    if (const JsonText* tools = message.find_set("tools"))
        out.tools = TRY(tools_from_json(*tools, dialect));
    if (const JsonText* format = message.find_set("response_format"))
        out.response_format = format->dump_python();
    out.without_eos = TRY(flag_or(message, "wo_eos", false));
    if (const JsonText* task = message.find_set("task"))
        out.task = TRY(named("task", *task, kTasks));
    return out;
}

Result<Conversation> conversation_from_json(const JsonText& request,
                                            std::optional<Dialect> dialect) {
    if (!request.is_object()) return wrong("request", request, "an object with messages");
    Conversation out;
    const std::string name = TRY(string_or_empty(request, "dialect"));
    if (!name.empty()) out.dialect = TRY(parse_dialect(name));
    out.dialect = dialect.value_or(out.dialect);
    if (const JsonText* mode = request.find_set("thinking_mode"))
        out.thinking_mode = TRY(named("thinking_mode", *mode, kThinkingModes));
    if (const JsonText* effort = request.find_set("reasoning_effort"))
        TRY(read_effort(*effort, out));
    out.drop_thinking = TRY(flag_or(request, "drop_thinking", true));
    out.add_bos = TRY(flag_or(request, "add_bos", true));
    const JsonText* messages = request.find_set("messages");
    if (messages == nullptr) return missing("messages", "a list");
    out.messages = TRY(messages_from_json(*messages, "messages", out.dialect));
    if (const JsonText* context = request.find_set("context"))
        out.context = TRY(messages_from_json(*context, "context", out.dialect));
    if (const JsonText* tools = request.find_set("tools"))
        attach_tools(out, TRY(tools_from_json(*tools, out.dialect)));
    return out;
}

}  // namespace baleen
