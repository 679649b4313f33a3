// Why a prompt was reused as far as it was, in one line for people (header and log).
#pragma once

#include <string>
#include <vector>

#include "engine/scheduler.h"
#include "serve/job.h"

namespace baleen::serve {

// message_ends: PromptTokens::message_ends of the job's conversation.
std::string cache_note(const CacheReport& report, const Job& job,
                       const std::vector<size_t>& message_ends);

std::string_view mode_name(const Conversation& conversation);    // "chat", "thinking"
std::string_view effort_text(const Conversation& conversation);  // "none", "low", "high", "max"

}  // namespace baleen::serve
