#include "serve/cache_note.h"

#include <algorithm>

namespace baleen::serve {
namespace {

// The client's numbering starts after messages that the server put in front.
std::string what_changed(const Job& job, size_t message_idx) {
    const Conversation& conversation = job.conversation;
    if (message_idx >= conversation.messages.size()) return "the end of the conversation";
    const Message& message = conversation.messages[message_idx];
    if (message_idx == 0 && message.role == Role::kSystem)
        return message.tools.empty() ? "system block" : "system block or tools";
    const size_t number = message_idx - std::min(message_idx, job.inserted_messages);
    switch (message.role) {
        case Role::kSystem:
        case Role::kDeveloper: return fmt::format("system message {}", number);
        case Role::kUser: return fmt::format("user message {}", number);
        case Role::kTool: return fmt::format("tool result {}", number);
        case Role::kLatestReminder: return fmt::format("reminder {}", number);
        case Role::kAssistant: break;
    }
    const bool is_flushed = conversation.thinking_mode == ThinkingMode::kThinking &&
                            conversation.drop_thinking && job.tools.empty();
    return fmt::format(
        "assistant message {}{}", number,
        is_flushed ? " (without tools, reasoning of earlier turns is left out)" : "");
}

}  // namespace

std::string cache_note(const CacheReport& report, const Job& job,
                       const std::vector<size_t>& message_ends) {
    const std::string reused =
        fmt::format("reused {} of {} tokens", report.cached_tokens, report.prompt_tokens);
    if (report.matched_tokens == 0) return reused + ", nothing stored begins like this prompt";
    if (!report.diverged) return reused + fmt::format(", new from token {}", report.matched_tokens);
    const auto message = std::ranges::upper_bound(message_ends, report.matched_tokens);
    return reused +
           fmt::format(", diverged at token {}: client changed {}", report.matched_tokens,
                       what_changed(job, static_cast<size_t>(message - message_ends.begin())));
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
