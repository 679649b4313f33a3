// The tool world: conversations in which the model works with tools on real files, and whether it
// did what it was asked to. The tasks are those of train/pocket/toolworld.py.
//
// The prompt is written by the chat encoding, the answer read by the parser that serves; decoding
// is unconstrained. Reasoning stays as the encoding says, and what was sampled comes back token for
// token. Conversations run on threads of their own, over one scheduler.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/judge.h"
#include "agent/progress.h"
#include "agent/share.h"
#include "agent/shell_tool.h"
#include "base/json.h"
#include "base/result.h"
#include "engine/scheduler.h"
#include "serve/script.h"
#include "text/chat.h"
#include "text/tokenizer.h"

namespace baleen::agent {

struct ToolTask {
    std::string kind;
    std::string user;
    size_t calls = 0;  // that the oracle makes; 0: none may be made
    Checks checks;
};

struct ToolSession {
    std::string system;
    bool has_tools = false;
    ThinkingMode thinking_mode = ThinkingMode::kThinking;
    Effort effort = Effort::kUnnamed;
    FileTexts files;
    std::vector<ToolTask> tasks;

    std::string mode() const;  // "chat", "thinking", "thinking high", "thinking max"
};

struct ToolTaskSet {
    std::vector<std::string> tools;  // JSON text of each tool's function object
    std::vector<ToolSession> sessions;

    // The text of a task file. kInvalidArgument or kCorrupt: what is wrong, and in which session.
    static Result<ToolTaskSet> parse(std::string_view text);
};

enum class EarlierReasoning : uint8_t { kKept, kDropped };

struct ToolworldOptions {
    SamplingParams sampling;                             // of every message, with the same seed
    int64_t tokens_max = 512;                            // of one message of the assistant
    size_t rounds_max = 8;                               // messages of the assistant in one turn
    size_t parallel = 4;                                 // conversations at a time
    EarlierReasoning earlier = EarlierReasoning::kKept;  // kDropped: an ablation
    ShellMode shell = best_shell_mode();
    serve::Script* script = nullptr;  // for tests: what the assistant says; with parallel 1
};

// One message of the assistant.
struct ToolMessage {
    std::string text;       // as sampled, end marker included
    std::string malformed;  // why it is; empty: the strict parser reads the same in it
    size_t calls = 0;
};

struct TaskResult {
    size_t session = 0;
    size_t turn = 0;
    std::string kind, mode;
    size_t needed_calls = 0;
    size_t calls = 0;  // that the assistant made
    std::string answer;
    std::vector<std::string> failures;  // empty: solved
    std::vector<ToolMessage> messages;
    bool is_solved() const { return failures.empty(); }
};

struct ToolworldReport {
    std::vector<TaskResult> tasks;  // by session and turn
    Share solved;
    Share well_formed;  // messages
    Share spurious;     // of the tasks that need no call: some were made
    SchedulerStats stats;
    double seconds = 0;

    // Tokens of a decoding pass: 1, and one more for every accepted draft.
    double tokens_per_forward() const;
    double tok_s() const { return static_cast<double>(stats.sampled_tokens) / seconds; }
};

// Runs all sessions. The scheduler must be fresh, for its counts are reported.
Result<ToolworldReport> evaluate_toolworld(Scheduler& scheduler, const Tokenizer& tokenizer,
                                           const ToolTaskSet& set, const ToolworldOptions& options,
                                           const EvalProgress& progress);

}  // namespace baleen::agent
