// Writes the arguments object of one call while its parameters are read.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace baleen {

// Every function returns what comes next in the JSON text; joined they are the whole.
class ArgumentsWriter {
  public:
    std::string begin_parameter(const std::string& name);
    // The value of the parameter just begun: whole, or a string piece by piece.
    std::string value(std::string_view json);
    std::string begin_string();
    std::string string_piece(std::string_view text);
    std::string end_string();
    std::string end_call();

    bool is_empty() const { return is_empty_; }  // no parameter yet
    // The parameter just begun had been there before.
    bool is_repeating() const { return is_repeating_; }
    bool has_repeated() const { return has_repeated_; }
    // The finished text with each parameter once: at its first place, with its last value.
    std::string without_repetitions(std::string_view arguments) const;

  private:
    struct Member {
        std::string name;
        size_t value_begin = 0;  // in the text
        size_t value_end = 0;
    };
    std::string advance(std::string piece);

    std::vector<Member> members_;                     // one per name
    std::unordered_map<std::string, size_t> places_;  // name to place in members_
    size_t current_ = 0;                              // place of the parameter just begun
    size_t size_ = 0;                                 // of the text so far
    bool is_empty_ = true;
    bool is_repeating_ = false;
    bool has_repeated_ = false;
};

}  // namespace baleen
