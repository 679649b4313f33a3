#include "serve/cache_note.h"

#include <algorithm>

namespace baleen::serve {
namespace {

std::string what_changed(const Conversation& conversation, size_t message_idx) {
    if (message_idx >= conversation.messages.size()) return "the end of the conversation";
    const Message& message = conversation.messages[message_idx];
    switch (message.role) {
        case Role::kSystem:
        case Role::kDeveloper:
            if (message_idx > 0) return fmt::format("system message {}", message_idx);
            return message.tools.empty() ? "system block" : "system block or tools";
        case Role::kUser: return fmt::format("user message {}", message_idx);
        case Role::kTool: return fmt::format("tool result {}", message_idx);
        case Role::kLatestReminder: return fmt::format("reminder {}", message_idx);
        case Role::kAssistant: break;
    }
    const bool dropped = conversation.thinking_mode == ThinkingMode::kThinking &&
                         conversation.drop_thinking && message.sampled.empty();
    return fmt::format("assistant message {}{}", message_idx,
                       dropped ? " (reasoning of earlier turns is left out without tools)" : "");
}

}  // namespace

std::string cache_note(const CacheReport& report, const Conversation& conversation,
                       const std::vector<size_t>& message_ends) {
    const std::string reused =
        fmt::format("reused {} of {} tokens", report.cached_tokens, report.prompt_tokens);
    if (report.matched_tokens == 0) return reused + ", nothing stored begins like this prompt";
    if (!report.diverged) return reused + fmt::format(", new from token {}", report.matched_tokens);
    const auto message = std::ranges::upper_bound(message_ends, report.matched_tokens);
    return reused + fmt::format(", diverged at token {}: client changed {}", report.matched_tokens,
                                what_changed(conversation,
                                             static_cast<size_t>(message - message_ends.begin())));
}

std::string_view mode_name(const Conversation& conversation) {
    return conversation.thinking_mode == ThinkingMode::kThinking ? "thinking" : "chat";
}

std::string_view effort_text(const Conversation& conversation) {
    if (conversation.thinking_mode == ThinkingMode::kChat) return "none";
    switch (conversation.effort) {
        case Effort::kUnnamed: return "default";
        case Effort::kLow: return "low";
        case Effort::kHigh: return "high";
        case Effort::kMax: return "max";
    }
    return "";
}

}  // namespace baleen::serve
