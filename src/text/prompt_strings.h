// The fixed texts of DeepSeek-V4's prompts (shared spec/prompt-strings.json), byte for byte. Where
// they contain markers, the reference tokenises these as control tokens: PromptWriter::fixed().
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "text/chat.h"

namespace baleen {

// Control tokens that only the renderer writes; the others are in chat.h.
inline constexpr std::string_view kSystemMarker = "<\uFF5CSystem\uFF5C>";  // V4.1
inline constexpr std::string_view kReminderMarker = "<\uFF5Clatest_reminder\uFF5C>";
inline constexpr std::string_view kImagePlaceholder = "<\uFF5Cdeepseek_image\uFF5C>";  // V4.1

inline constexpr std::string_view kSectionSeparator = "\n\n";
inline constexpr std::string_view kPartSeparator = "\n\n";
inline constexpr std::string_view kSchemaSeparator = "\n";
inline constexpr std::string_view kCallsLeadIn = "\n\n";
inline constexpr std::string_view kToolResultOpen = "<tool_result>";
inline constexpr std::string_view kToolResultClose = "</tool_result>";
inline constexpr std::string_view kToolsAfterSchemas =
    "\n\nYou MUST strictly follow the above defined tool name and parameter schemas to invoke tool "
    "calls.\n";
inline constexpr std::string_view kResponseFormatPrefix =
    "## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n";

inline constexpr int kEffortBudgetMin = 1;
inline constexpr int kEffortBudgetMax = 100;

std::string_view effort_name(Effort effort);  // "" for kUnnamed

// What thinking mode writes in front of the first message (section 6, for V4.1 section 12).
// kInvalidArgument where the dialect does not know the effort.
Result<std::string> effort_prefix(Dialect dialect, Effort effort, std::optional<int> budget);

std::string tools_before_schemas(Dialect dialect);

// What follows "<", the DSML marker (section 8; section 12).
struct DsmlTags {
    std::string_view calls;
    std::string_view invoke;
    std::string_view parameter;
};
const DsmlTags& dsml_tags(Dialect dialect);

std::string_view task_token(Task task);  // "" for kNone

}  // namespace baleen
