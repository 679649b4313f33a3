// A conversation as the prompt sees it (spec/chat-encoding.md, sections 3 to 5): tool results and
// user messages merged into turns, results in the order of their calls, old turns left out.
// Borrows the conversation's messages.
#pragma once

#include <vector>

#include "text/chat.h"

namespace baleen {

// One message inside a user turn. Tool messages are results, user messages are text.
struct TurnPart {
    const Message* message;
    size_t message_idx;  // in the list that it was given in
    bool is_result() const { return message->role == Role::kTool; }
};

struct Turn {
    Role role;  // never kTool
    // What the turn is made from; of a user turn, the message that opened it.
    const Message* message;
    std::vector<TurnPart> parts;  // user turns only
    size_t message_idx_last;      // the last given message that is in the turn
    Task task = Task::kNone;
    bool is_context = false;  // encoded before
};

struct Transcript {
    std::vector<Turn> turns;
    // Index of the last user turn (or what counts as one), L in section 5; -1 if none.
    ptrdiff_t last_user = -1;
    // Whether reasoning before last_user is left out. Matters in thinking mode only.
    bool drops_reasoning = false;

    // Whether the reasoning of an assistant turn would be shown in thinking mode.
    bool shows_reasoning(size_t turn) const {
        return !drops_reasoning || static_cast<ptrdiff_t>(turn) > last_user;
    }
};

Transcript arrange(const Conversation& conversation);

}  // namespace baleen
