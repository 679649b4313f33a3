// One answer on its way to the user: text to stdout as it comes, reasoning folded into one status
// line on stderr unless wanted, tool calls with their arguments. Stops the answer on Ctrl-C.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "cli/progress.h"
#include "serve/generation.h"

namespace baleen::cli {

class ChatScreen final : public serve::AnswerSink {
  public:
    explicit ChatScreen(bool shows_reasoning);

    Result<void> prefill(size_t done, size_t total) override;
    Result<void> event(size_t choice, const ParserEvent& event,
                       const serve::Choice& so_far) override;
    Result<void> choice_ended(size_t choice, const serve::Choice& whole) override;
    Result<void> keep_alive() override;

    // After the last event, whether the answer is whole or not: ends lines left open.
    Result<void> finish();

    // What came so far: of a stopped answer nobody else knows it. Without calls.
    const std::string& reasoning() const { return reasoning_; }
    const std::string& content() const { return content_; }
    size_t tokens() const { return tokens_; }
    // Since the first token; 0 with fewer than two.
    double tokens_per_second() const;

  private:
    using Clock = std::chrono::steady_clock;
    enum class Part { kNone, kReasoning, kContent, kCall };

    Result<void> begin(Part part);
    Result<void> write(std::string_view text);
    void show_thinking();
    void status(const std::string& text);
    void clear_status();

    const bool shows_reasoning_;
    const bool has_terminal_;  // on stdout
    const bool has_status_;    // a terminal on stderr
    Part part_ = Part::kNone;
    bool in_line_ = false;  // stdout stands within a line
    bool status_shown_ = false;
    std::unique_ptr<Progress> progress_;  // of a prefill, where stderr is no terminal
    std::string reasoning_, content_;
    size_t tokens_ = 0, reasoning_tokens_ = 0;
    Clock::time_point begun_ = Clock::now(), first_, last_, status_drawn_;
};

// Text that may hold control characters, made harmless for a terminal: a model must not move the
// cursor or rename the window.
std::string for_terminal(std::string_view text);

// ANSI for text of less weight where stdout is a terminal, else nothing.
std::string_view dim_on();
std::string_view dim_off();

}  // namespace baleen::cli
