// Builds the pieces of a Prompt. Text from outside and our own fixed texts come in by different
// doors, so that only the latter can hold control tokens (spec/chat-encoding.md, section 11).
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/chat.h"

namespace baleen {

class PromptWriter {
  public:
    // token: one of the constants of chat.h and prompt_strings.h.
    void control(std::string_view token);

    // Text from outside: whatever it says, it stays text.
    void text(std::string_view text);

    // Text of ours: the markers in it become control tokens.
    void fixed(std::string_view text);

    void sampled(const std::vector<TokenId>& tokens);

    size_t num_pieces() const { return pieces_.size(); }
    std::vector<Piece> take() { return std::exchange(pieces_, {}); }

  private:
    std::vector<Piece> pieces_;
};

}  // namespace baleen
