// Decides whether a turn of the tool world is solved: the checks that train/pocket/toolworld.py
// describes, decided as train/pocket/judge.py does, but for one case (judge.cc, NOTE). Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace baleen::agent {

using FileTexts = std::map<std::string, std::string>;  // path -> text

// What the reasoning is to choose: one of the texts, or a whole number of so many digits.
struct ChoiceCheck {
    std::vector<std::string> options;
    size_t digits = 0;  // 0: one of the options
};

struct Checks {
    std::vector<std::string> answer;  // each occurs in it
    std::vector<std::string> any;     // one of them occurs in it, if there are any
    std::map<std::string, std::optional<std::string>> files;  // changed; none: gone
    std::optional<ChoiceCheck> reasoning;  // chosen there, and not told in the answer
    std::optional<ChoiceCheck> recall;     // told in the answer, as chosen in the turn...
    size_t recall_turn = 0;                // ...of this index

    // turns_before: how many turns the session has before this one. kInvalidArgument names the key.
    static Result<Checks> from_json(const Json& json, size_t turns_before);
};

// What the assistant did in one turn.
struct TurnOutcome {
    std::string answer;     // content of its last message
    std::string reasoning;  // of all its messages, joined by newlines
    size_t calls = 0;
    FileTexts before;  // when the turn began
    FileTexts after;
};

// What is wrong with the turn; empty if it is solved. needed_calls: the oracle's. earlier: the
// session's turns before it.
std::vector<std::string> failures(size_t needed_calls, const Checks& checks,
                                  const TurnOutcome& outcome,
                                  const std::vector<TurnOutcome>& earlier);

// Whether text is in `where` with no ASCII letter or digit next to it, ASCII case ignored.
bool occurs(std::string_view text, std::string_view where);

}  // namespace baleen::agent
