// Reads what the user types, line by line: with editing and a history on a terminal, plainly from a
// pipe. Holds the terminal from begin to end. Used from one thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace baleen::cli {

class LineEditor {
  public:
    // history_path: lines of earlier runs, and where new ones go; empty: none. A file that cannot
    // be read or written costs the history only.
    explicit LineEditor(std::string history_path);
    ~LineEditor();
    LineEditor(const LineEditor&) = delete;
    LineEditor& operator=(const LineEditor&) = delete;

    struct Line {
        enum class Kind { kText, kInterrupted, kEnd };  // Enter, Ctrl-C, Ctrl-D or end of file
        Kind kind = Kind::kEnd;
        std::string text;  // with kInterrupted: what had been typed
    };
    enum class History { kKeep, kNone };
    // prompt: shown on a terminal only; plain text of one line.
    Result<Line> read(std::string_view prompt, History history = History::kKeep);

    bool is_terminal() const { return is_terminal_; }

  private:
    class RawMode;

    Result<Line> read_terminal(std::string_view prompt);
    Result<Line> read_pipe();
    // The next byte of stdin; none at its end or when interrupted.
    Result<std::optional<char>> next_byte();
    void load_history();
    void remember(const std::string& line);

    bool is_terminal_;
    std::unique_ptr<RawMode> raw_mode_;  // on a terminal
    std::string history_path_;
    std::vector<std::string> history_;  // oldest first
    std::string buffer_;                // read from stdin, not yet used
    size_t buffer_used_ = 0;
};

// $XDG_STATE_HOME/baleen/chat_history, or in ~/.local/state; empty where there is no home.
std::string default_history_path();

}  // namespace baleen::cli
