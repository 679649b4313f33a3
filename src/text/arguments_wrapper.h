// Tool calls whose arguments stand in one parameter more, {"arguments": {...}} or {"input": {...}}:
// models write so when their history showed it (survey row A7).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/output_constraint.h"

namespace baleen {

// Whether a parameter of this name can only be a wrapper: it is one of the two, and the tool's
// schema says that there is none. False where the schema is empty, open, or cannot be read.
bool is_wrapper_name(const ToolSchema& tool, std::string_view parameter);

// Holds back what a call's first parameter adds to the arguments, as long as it may be a wrapper:
// it is the only one, and its value may be an object or the JSON of one.
class ArgumentsWrapper {
  public:
    void open() { state_ = State::kHolding; }
    bool is_open() const { return state_ == State::kHolding; }
    void give_up() {
        if (is_open()) state_ = State::kReleasing;
    }

    // More of the value's own text. Gives up where it cannot be an object.
    void add_text(std::string_view text);
    // More of the arguments as they are without unwrapping; returns what of them can go out.
    std::string pass(std::string piece);
    // The call ends: the object inside. None: nothing was wrapped, and pass() lets everything out.
    std::optional<std::string> close();

  private:
    enum class State { kPassing, kHolding, kReleasing } state_ = State::kPassing;
    std::string held_;  // of the arguments
    std::string text_;  // of the value, without white space at its start
};

// What stands in a value that may be JSON encoded twice: the string, or the value's own text.
std::string decoded_once(std::string_view json);

}  // namespace baleen
