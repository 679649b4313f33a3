// The conversation with the user: reads lines, obeys commands, shows answers, asks for the results
// of tool calls.
#pragma once

#include <string>
#include <string_view>

#include "cli/chat_session.h"
#include "cli/line_editor.h"

namespace baleen::cli {

class ChatLoop {
  public:
    struct Options {
        std::string history;     // empty: none
        bool reasoning = false;  // shown from the start
    };
    ChatLoop(serve::Service& service, ChatSession& session, Options options);

    // Until the user leaves; the exit status.
    Result<int> run();

  private:
    enum class Next { kGoOn, kLeave };

    Next interrupted_at_prompt(const std::string& typed);
    Result<Next> obey(std::string_view line);
    Result<Next> obey(std::string_view command, std::string_view argument);
    // Answers until no tool call is left open.
    Result<void> converse();
    // False: no next round, because the user did not want to or an answer failed.
    Result<bool> answer();
    Result<bool> ask_results(const std::vector<ToolCall>& calls);
    void note_turn(const ChatSession::Turn& turn, double tokens_per_second);

    Result<void> save(const std::string& path);
    Result<void> load(const std::string& path);
    void show_context();
    // On stderr, in one line.
    void note(std::string_view text) const;
    void complain(const Error& error);

    serve::Service& service_;
    ChatSession& session_;
    LineEditor editor_;
    bool shows_reasoning_;
    bool asked_to_leave_ = false;  // Ctrl-C at the empty prompt, once
    bool has_failed_ = false;
    serve::Usage usage_;  // of the last answer
};

}  // namespace baleen::cli
