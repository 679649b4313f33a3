// NOTE: the long lines are data: byte for byte those of the model release files (MIT licence,
// (c) 2023 DeepSeek), held by prompt_strings_test.
#include "text/prompt_strings.h"

#include <fmt/format.h>

namespace baleen {
namespace {

// clang-format off
constexpr std::string_view kAbsoluteMaximum =
    R"txt(Reasoning Effort: Absolute maximum with no shortcuts permitted.
You MUST be very thorough in your thinking and comprehensively decompose the problem to resolve the root cause, rigorously stress-testing your logic against all potential paths, edge cases, and adversarial scenarios.
Explicitly write out your entire deliberation process, documenting every intermediate step, considered alternative, and rejected hypothesis to ensure absolutely no assumption is left unchecked.

)txt";

constexpr std::string_view kBeyondMaximum =
    R"txt(Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.
You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: exhaustively decompose the problem into its most fundamental components, trace every causal chain to its root, and resolve the underlying cause rather than any surface symptom.
Do not stop reasoning until you have independently verified the solution from multiple angles and are certain that no assumption remains unchecked and no error remains undiscovered.

)txt";

constexpr std::string_view kToolsV4 =
    R"txt(## Tools

You have access to a set of tools to help answer the user's question. You can invoke tools by writing a "<｜DSML｜tool_calls>" block like the following:

<｜DSML｜tool_calls>
<｜DSML｜invoke name="$TOOL_NAME">
<｜DSML｜parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</｜DSML｜parameter>
...
</｜DSML｜invoke>
<｜DSML｜invoke name="$TOOL_NAME2">
...
</｜DSML｜invoke>
</｜DSML｜tool_calls>)txt";

constexpr std::string_view kToolsV41 =
    R"txt(## Tools

You have access to a set of tools to help answer the user's question. You can invoke tools by writing a "<｜DSML｜ calls>" block like the following:

<｜DSML｜ calls>
<｜DSML｜ invoke name="$TOOL_NAME">
<｜DSML｜ parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</｜DSML｜ parameter>
...
</｜DSML｜ invoke>
<｜DSML｜ invoke name="$TOOL_NAME2">
...
</｜DSML｜ invoke>
</｜DSML｜ calls>)txt";

constexpr std::string_view kToolsRules =
    R"txt(

String parameters should be specified as is and set `string="true"`. For all other types (numbers, booleans, arrays, objects), pass the value in JSON format and set `string="false"`.

If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning inside <think>...</think> BEFORE any tool calls or final response.

Otherwise, output directly after </think> with tool calls or final response.

### Available Tool Schemas

)txt";
// clang-format on

constexpr DsmlTags kTagsV4{"tool_calls", "invoke", "parameter"};
constexpr DsmlTags kTagsV41{" calls", " invoke", " parameter"};

// V4.1's numbers for the named tiers.
constexpr int kBudgetLow = 50;
constexpr int kBudgetHigh = 75;
constexpr int kBudgetMax = 100;

Result<std::string> v41_effort(Effort effort, std::optional<int> budget) {
    if (budget && (*budget < kEffortBudgetMin || *budget > kEffortBudgetMax))
        return make_error(ErrorCode::kInvalidArgument,
                          "reasoning_effort is {}, expected {} to {}, low, high or max", *budget,
                          kEffortBudgetMin, kEffortBudgetMax);
    const int named = effort == Effort::kLow   ? kBudgetLow
                      : effort == Effort::kMax ? kBudgetMax
                                               : kBudgetHigh;
    return fmt::format(
        "Reasoning Effort: {} (range 1-100, the higher the value, the more thorough the "
        "reasoning)\n\n",
        budget.value_or(named));
}

}  // namespace

std::string_view effort_name(Effort effort) {
    switch (effort) {
        case Effort::kUnnamed: return "";
        case Effort::kLow: return "low";
        case Effort::kHigh: return "high";
        case Effort::kMax: return "max";
    }
    return "";
}

Result<std::string> effort_prefix(Dialect dialect, Effort effort, std::optional<int> budget) {
    if (dialect == Dialect::kV41) return v41_effort(effort, budget);
    if (budget)
        return make_error(ErrorCode::kInvalidArgument,
                          "reasoning_effort is {}: dialect {} knows names, no numbers", *budget,
                          dialect_name(dialect));
    const bool is_0731 = dialect == Dialect::kV4_0731;
    switch (effort) {
        case Effort::kUnnamed: return std::string();
        case Effort::kLow: break;
        case Effort::kHigh: return std::string(is_0731 ? kAbsoluteMaximum : "");
        case Effort::kMax: return std::string(is_0731 ? kBeyondMaximum : kAbsoluteMaximum);
    }
    if (is_0731) return std::string();
    return make_error(ErrorCode::kInvalidArgument,
                      "reasoning_effort is low: dialect v4 knows high and max");
}

std::string tools_before_schemas(Dialect dialect) {
    return fmt::format("{}{}", dialect == Dialect::kV41 ? kToolsV41 : kToolsV4, kToolsRules);
}

const DsmlTags& dsml_tags(Dialect dialect) {
    return dialect == Dialect::kV41 ? kTagsV41 : kTagsV4;
}

std::string_view task_token(Task task) {
    switch (task) {
        case Task::kNone: return "";
        case Task::kAction: return "<\uFF5Caction\uFF5C>";
        case Task::kQuery: return "<\uFF5Cquery\uFF5C>";
        case Task::kAuthority: return "<\uFF5Cauthority\uFF5C>";
        case Task::kDomain: return "<\uFF5Cdomain\uFF5C>";
        case Task::kTitle: return "<\uFF5Ctitle\uFF5C>";
        case Task::kReadUrl: return "<\uFF5Cread_url\uFF5C>";
    }
    return "";
}

}  // namespace baleen
