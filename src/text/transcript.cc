#include "text/transcript.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

namespace baleen {
namespace {

bool is_turn_part(const Message& message) {
    return message.role == Role::kTool || message.role == Role::kUser;
}

// A result joins any user turn; a text only one without a task.
bool joins(const Message& message, const std::vector<Turn>& turns) {
    if (turns.empty() || turns.back().role != Role::kUser) return false;
    return message.role == Role::kTool || turns.back().task == Task::kNone;
}

Turn opened_by(const Message& message, size_t message_idx) {
    Turn turn{message.role, &message, {}, message_idx};
    // A result has no task of its own: the turn is a user's.
    if (message.role == Role::kTool)
        turn.role = Role::kUser;
    else
        turn.task = message.task;
    return turn;
}

std::vector<Turn> merge(const std::vector<Message>& messages) {
    std::vector<Turn> turns;
    for (size_t i = 0; i < messages.size(); ++i) {
        const Message& message = messages[i];
        if (!is_turn_part(message)) {
            turns.push_back(opened_by(message, i));
            continue;
        }
        if (!joins(message, turns)) turns.push_back(opened_by(message, i));
        turns.back().parts.push_back({&message, i});
        turns.back().message_idx_last = i;
    }
    return turns;
}

using CallOrder = std::unordered_map<std::string_view, size_t>;

CallOrder order_of(const std::vector<ToolCall>& calls) {
    CallOrder order;
    for (size_t i = 0; i < calls.size(); ++i)
        if (!calls[i].id.empty()) order[calls[i].id] = i;
    return order;
}

// Permutes the places of results only; texts stay where they are.
void sort_results(Turn& turn, const CallOrder& order) {
    std::vector<TurnPart> results;
    for (const TurnPart& part : turn.parts)
        if (part.is_result()) results.push_back(part);
    const auto position = [&](const TurnPart& part) {
        const auto it = order.find(part.message->tool_call_id);
        return it == order.end() ? size_t{0} : it->second;
    };
    std::stable_sort(results.begin(), results.end(), [&](const TurnPart& a, const TurnPart& b) {
        return position(a) < position(b);
    });
    auto next = results.begin();
    for (TurnPart& part : turn.parts)
        if (part.is_result()) part = *next++;
}

void sort_all_results(std::vector<Turn>& turns) {
    CallOrder order;
    for (Turn& turn : turns) {
        if (turn.role == Role::kAssistant && !turn.message->tool_calls.empty())
            order = order_of(turn.message->tool_calls);
        else if (turn.role == Role::kUser && !order.empty())
            sort_results(turn, order);
    }
}

// NOTE: merging leaves a user message's own tools behind, but in V4.1, where the message that opens
// a turn keeps all of its fields.
bool declares_tools(const Turn& turn, Dialect dialect) {
    return !turn.message->tools.empty() && turn.message->role != Role::kTool &&
           (turn.role != Role::kUser || dialect == Dialect::kV41);
}

// In V4.1 a later system message asks for an answer, as a user does.
ptrdiff_t last_user_of(const std::vector<Turn>& turns, Dialect dialect) {
    for (size_t i = turns.size(); i-- > 0;) {
        const Role role = turns[i].role;
        if (role == Role::kUser || role == Role::kDeveloper ||
            (role == Role::kSystem && dialect == Dialect::kV41 && i > 0))
            return static_cast<ptrdiff_t>(i);
    }
    return -1;
}

}  // namespace

Transcript arrange(const Conversation& conversation) {
    const Dialect dialect = conversation.dialect;
    Transcript transcript;
    std::vector<Turn>& turns = transcript.turns;
    turns = merge(conversation.context);
    for (Turn& turn : turns) turn.is_context = true;
    // New messages never join a turn that has been encoded.
    for (Turn& turn : merge(conversation.messages)) turns.push_back(std::move(turn));
    sort_all_results(turns);

    const bool has_tools = std::any_of(turns.begin(), turns.end(), [&](const Turn& turn) {
        return declares_tools(turn, dialect);
    });
    transcript.drops_reasoning = conversation.drop_thinking && !has_tools;
    transcript.last_user = last_user_of(turns, dialect);
    if (!transcript.drops_reasoning || conversation.thinking_mode != ThinkingMode::kThinking)
        return transcript;

    std::vector<Turn> kept;
    for (size_t i = 0; i < turns.size(); ++i)
        if (turns[i].role != Role::kDeveloper || static_cast<ptrdiff_t>(i) >= transcript.last_user)
            kept.push_back(std::move(turns[i]));
    turns = std::move(kept);
    transcript.last_user = last_user_of(turns, dialect);
    return transcript;
}

}  // namespace baleen
