// Job: one chat request, whichever API it came by. The three request readers (chat_request.cc,
// responses_request.cc, messages_request.cc) make it, generation.cc runs it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/sampler.h"
#include "text/chat.h"
#include "text/output_constraint.h"

namespace baleen::serve {

enum class Api : uint8_t { kChat, kCompletions, kResponses, kMessages, kGenerate };
std::string_view api_name(Api api);

// What of an assistant message could bring its sampled tokens back (replay_memory.h), beside the
// ids of its calls: Anthropic signatures, Responses encrypted_content.
using Seals = std::vector<std::string>;

// How a tool's calls go back to the client, where that is not simply under the tool's name.
struct ToolRoute {
    std::string name;        // as the client knows it
    std::string name_space;  // Responses: the namespace the tool was declared in
    bool is_custom = false;  // Responses custom tool: the argument `input` is the whole input
};

struct Job {
    Api api = Api::kChat;
    std::string model;  // as the client named it
    bool stream = false;
    bool stream_usage = false;  // Chat: a last chunk with usage

    Conversation conversation;
    std::vector<Seals> seals;      // [conversation.messages]
    size_t inserted_messages = 0;  // at the front, not the client's: for tools

    std::vector<ToolSchema> tools;
    std::map<std::string, ToolRoute, std::less<>> routes;  // by the name that the model sees
    ToolChoice tool_choice = ToolChoice::kAuto;
    std::string named_tool;
    bool parallel_calls = true;
    JsonOutput json = JsonOutput::kNone;
    std::string json_schema;

    SamplingParams sampling;
    bool seed_given = false;
    std::optional<int64_t> tokens_max;
    std::vector<std::string> stops;
    size_t choices = 1;
    int top_logprobs = -1;
    bool echo_prompt = false;  // answer with the exact prompt text and the raw completion

    std::string cache_key;  // the client's session hint, for the log only
    std::vector<std::string> warnings;
};

}  // namespace baleen::serve
