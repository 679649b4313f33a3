// The conversation of `baleen chat`: what was said, and the next answer. Knows no terminal.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/fields.h"
#include "serve/generation.h"

namespace baleen::cli {

class ChatSession {
  public:
    struct Settings {
        std::string system;
        serve::Thinking thinking;
        SamplingParams sampling;
        std::optional<uint64_t> seed;
    };
    ChatSession(serve::Service& service, Settings settings);

    // A JSON list of tools as in the OpenAI API.
    Result<void> declare_tools(std::string_view json);
    bool has_tools() const { return !tools_.empty(); }

    Settings& settings() { return settings_; }

    void say(std::string text);
    void give_result(const ToolCall& call, std::string result);

    struct Turn {
        Message message;  // as appended
        serve::Finish finish = serve::Finish::kStop;
        serve::Usage usage;
        std::vector<std::string> warnings;
    };
    // The answer to what was said. kCancelled: the sink stopped it; the caller may keep() what it
    // saw. Any error leaves the conversation as it was.
    Result<Turn> answer(serve::AnswerSink& sink);
    // Appends a part of an answer.
    void keep(std::string reasoning, std::string content);

    // Removes everything from the last user message on and returns its text; none: there is none.
    std::optional<std::string> undo();
    // Removes what came after the last user message. False: there is nothing to answer.
    bool retract_answer();
    void clear();

    size_t size() const { return messages_.size(); }

    // In the form of `baleen render`: messages, thinking_mode, reasoning_effort, dialect.
    std::string to_json() const;
    Result<void> load_json(std::string_view json);

  private:
    Result<serve::Job> job() const;

    serve::Service& service_;
    Settings settings_;
    std::vector<Message> messages_;  // without the system prompt
    std::vector<JsonText> tools_;    // the `function` objects
};

// "high", "max" or "off".
Result<serve::Thinking> parse_thinking(std::string_view name);
std::string_view thinking_name(const serve::Thinking& thinking);

}  // namespace baleen::cli
