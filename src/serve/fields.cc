#include "serve/fields.h"

#include <charconv>
#include <cmath>

namespace baleen::serve {
namespace {

constexpr size_t kStopsMax = 16;
constexpr size_t kToolsMax = 1024;
constexpr int64_t kMaxEffortContext = 393216;  // spec section 6

std::string shown(const JsonText& value) {
    if (value.is_array() || value.is_object()) return std::string(kind_name(value.kind()));
    std::string text = value.dump_python();
    return text.size() <= 60 ? text : "a long string";
}

std::optional<double> as_double(const JsonText& value) {
    using Kind = JsonText::Kind;
    if (value.kind() != Kind::kInteger && value.kind() != Kind::kDouble) return std::nullopt;
    const std::string& text = value.number();
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return number;
}

}  // namespace

std::string_view api_name(Api api) {
    switch (api) {
        case Api::kChat: return "chat";
        case Api::kCompletions: return "completions";
        case Api::kResponses: return "responses";
        case Api::kMessages: return "messages";
        case Api::kGenerate: return "generate";
    }
    return "";
}

Error wrong_field(std::string_view name, const JsonText& value, std::string_view expected) {
    return make_error(ErrorCode::kInvalidArgument, "{} is {}, expected {}", name, shown(value),
                      expected);
}

Result<std::optional<std::string>> string_field(const JsonText& object, std::string_view name) {
    const JsonText* value = object.find_set(name);
    if (value == nullptr) return std::optional<std::string>();
    if (!value->is_string()) return wrong_field(name, *value, "a string");
    return std::optional(value->string());
}

Result<std::optional<bool>> bool_field(const JsonText& object, std::string_view name) {
    const JsonText* value = object.find_set(name);
    if (value == nullptr) return std::optional<bool>();
    if (value->kind() != JsonText::Kind::kBool) return wrong_field(name, *value, "true or false");
    return std::optional(value->boolean());
}

Result<std::optional<int64_t>> int_field(const JsonText& object, std::string_view name, int64_t min,
                                         int64_t max) {
    const JsonText* value = object.find_set(name);
    if (value == nullptr) return std::optional<int64_t>();
    const std::string expected = fmt::format("an integer {} to {}", min, max);
    std::optional<int64_t> number;
    if (value->kind() == JsonText::Kind::kInteger) number = value->integer();
    if (const auto real = as_double(*value);
        !number && real && *real == std::floor(*real) && std::abs(*real) < 0x1p53)
        number = static_cast<int64_t>(*real);  // 128.0, as some clients write it
    if (!number || *number < min || *number > max) return wrong_field(name, *value, expected);
    return number;
}

Result<std::optional<double>> number_field(const JsonText& object, std::string_view name,
                                           NumberRange range) {
    const JsonText* value = object.find_set(name);
    if (value == nullptr) return std::optional<double>();
    const std::optional<double> number = as_double(*value);
    if (!number || !(*number >= range.min && *number <= range.max))
        return wrong_field(name, *value, fmt::format("a number {} to {}", range.min, range.max));
    return number;
}

Result<std::vector<std::string>> stops_field(const JsonText& object, std::string_view name) {
    const JsonText* value = object.find_set(name);
    std::vector<std::string> stops;
    if (value == nullptr) return stops;
    const auto add = [&](const JsonText& stop) -> Result<void> {
        if (!stop.is_string()) return wrong_field(name, stop, "a string or a list of strings");
        if (!stop.string().empty()) stops.push_back(stop.string());  // an empty one stops nothing
        return {};
    };
    if (value->is_array())
        for (const JsonText& stop : value->items()) TRY(add(stop));
    else
        TRY(add(*value));
    if (stops.size() > kStopsMax)
        return make_error(ErrorCode::kInvalidArgument, "{} has {} strings, allowed are {}", name,
                          stops.size(), kStopsMax);
    return stops;
}

Result<std::vector<TokenId>> token_ids(const JsonText& list, std::string_view field) {
    if (!list.is_array()) return wrong_field(field, list, "a list of token ids");
    std::vector<TokenId> ids;
    for (const JsonText& item : list.items()) {
        const auto id = item.kind() == JsonText::Kind::kInteger ? item.integer() : std::nullopt;
        if (!id || *id < 0 || *id > INT32_MAX) return wrong_field(field, item, "token ids");
        ids.push_back(static_cast<TokenId>(*id));
    }
    return ids;
}

Result<void> read_sampling(const JsonText& body, Job& job) {
    SamplingParams& s = job.sampling;
    s.temperature = TRY(number_field(body, "temperature", {0, 100})).value_or(s.temperature);
    s.top_p = TRY(number_field(body, "top_p", {0, 1})).value_or(s.top_p);
    s.min_p = TRY(number_field(body, "min_p", {0, 1})).value_or(s.min_p);
    // -1 is how some clients say "off".
    s.top_k = std::max<int64_t>(0, TRY(int_field(body, "top_k", -1, INT32_MAX)).value_or(s.top_k));
    if (const auto seed = TRY(int_field(body, "seed", INT64_MIN, INT64_MAX))) {
        s.seed = static_cast<uint64_t>(*seed);
        job.seed_given = true;
    }
    return {};
}

Result<void> read_effort_name(std::string_view field, const JsonText& value, Thinking& thinking) {
    const std::string_view name = value.is_string() ? std::string_view(value.string()) : "";
    if (name == "none") {
        if (!thinking.enabled) thinking.enabled = false;
    } else if (name == "minimal" || name == "low") {
        thinking.effort = Effort::kLow;
    } else if (name == "medium" || name == "high" || name == "xhigh") {
        thinking.effort = Effort::kHigh;
    } else if (name == "max" || name == "ultra") {
        thinking.effort = Effort::kMax;
    } else {
        return wrong_field(field, value, "none, minimal, low, medium, high, xhigh, max or ultra");
    }
    return {};
}

void apply_thinking(const Thinking& thinking, int64_t context_tokens_max, Job& job) {
    Conversation& conversation = job.conversation;
    const bool enabled = thinking.enabled.value_or(true);
    conversation.thinking_mode = enabled ? ThinkingMode::kThinking : ThinkingMode::kChat;
    if (!enabled) return;
    conversation.effort = thinking.effort.value_or(Effort::kHigh);
    if (conversation.effort == Effort::kMax && context_tokens_max < kMaxEffortContext) {
        conversation.effort = Effort::kHigh;
        job.warnings.push_back(fmt::format(
            "effort max wants a context of {} tokens, this server has {}: answered at high",
            kMaxEffortContext, context_tokens_max));
    }
    if (conversation.effort == Effort::kLow && conversation.dialect == Dialect::kV4)
        conversation.effort = Effort::kHigh;  // the preview knows no lower tier
}

Result<void> add_tool(const JsonText& function, Job& job, std::vector<std::string>& schemas) {
    const std::optional<std::string> name = TRY(string_field(function, "name"));
    if (!name || name->empty())
        return make_error(ErrorCode::kInvalidArgument, "name is missing, expected a tool's name");
    if (name->find_first_of("\"\n") != std::string::npos)
        return make_error(ErrorCode::kInvalidArgument,
                          "name has a quote or a newline, which no tool call can carry");
    if (job.tools.size() == kToolsMax)
        return make_error(ErrorCode::kInvalidArgument, "more than {} tools", kToolsMax);
    ToolSchema tool{.name = *name};
    if (const JsonText* parameters = function.find_set("parameters"))
        tool.parameters = parameters->dump_python();
    tool.strict = TRY(bool_field(function, "strict")).value_or(false);
    job.tools.push_back(std::move(tool));
    schemas.push_back(function.dump_python());
    return {};
}

}  // namespace baleen::serve
