// One conversation of the tool world: the user's turns, the assistant's messages, the tools' texts.
// Owned and run by one thread.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "agent/toolworld.h"
#include "agent/world.h"
#include "text/completion_parser.h"

namespace baleen::agent {

// An answer as it was sampled.
struct SampledText {
    std::vector<TokenId> tokens;  // the end marker excluded
    std::string text;             // the end marker included
    bool has_ended = false;       // by the end marker, not by a limit
    ParsedMessage message;        // as the serving parser reads it
};

// What is wrong with an answer's form; empty: the strict parser takes it and reads the same.
std::string malformation(const SampledText& sampled, bool in_reasoning);

class ToolConversation {
  public:
    // All must outlive this.
    ToolConversation(Scheduler& scheduler, const Tokenizer& tokenizer, const ToolTaskSet& set,
                     size_t session_idx, const ToolworldOptions& options);

    // Every task in order. kCancelled when a stop was asked for.
    Result<std::vector<TaskResult>> run(std::stop_token stop);

    // The prompt of the next message, for a test.
    const Conversation& conversation() const { return conversation_; }

  private:
    Result<TaskResult> run_task(World& world, size_t task_idx, std::stop_token stop);
    Result<SampledText> sample(bool& in_reasoning, std::stop_token stop);
    Result<SampledText> read_stream(TokenStream stream, bool in_reasoning, std::stop_token stop);
    void append(const SampledText& sampled, bool is_well_formed);
    Result<size_t> run_calls(World& world, const Message& message);
    void drop_reasoning();

    Scheduler& scheduler_;
    const Tokenizer& tokenizer_;
    const ToolSession& session_;
    const size_t session_idx_;
    const ToolworldOptions& options_;
    const std::vector<TokenId> stop_tokens_;
    Conversation conversation_;
    std::vector<TurnOutcome> outcomes_;
    size_t calls_ = 0;  // numbers the ids
};

}  // namespace baleen::agent
