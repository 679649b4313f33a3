#include "text/chat.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "text/dsml_writer.h"
#include "text/json_text.h"
#include "text/prompt_strings.h"
#include "text/prompt_writer.h"
#include "text/transcript.h"

namespace baleen {
namespace {

constexpr std::array<std::pair<std::string_view, Dialect>, 3> kDialects = {
    {{"v4", Dialect::kV4}, {"v4-0731", Dialect::kV4_0731}, {"v41", Dialect::kV41}}};

bool is_image(std::string_view kind) {
    return kind == "image" || kind == "image_url" || kind == "input_image";
}

// Writes one conversation, turn by turn.
class Renderer {
  public:
    explicit Renderer(const Conversation& conversation)
        : conversation_(conversation), transcript_(arrange(conversation)) {
        prompt_.message_ends.assign(conversation.messages.size(), 0);
    }

    Result<Prompt> run() {
        effort_prefix_ = TRY(effort_prefix(conversation_.dialect, conversation_.effort,
                                           conversation_.effort_budget));
        if (conversation_.add_bos && conversation_.context.empty()) out_.control(kBos);
        for (size_t i = 0; i < turns().size(); ++i) {
            if (turns()[i].is_context) continue;
            TRY(write_turn(i));
            write_header(i);
            end_of_message(turns()[i].message_idx_last);
        }
        prompt_.pieces = out_.take();
        finish_message_ends();
        return std::move(prompt_);
    }

  private:
    const std::vector<Turn>& turns() const { return transcript_.turns; }
    bool is_v41() const { return conversation_.dialect == Dialect::kV41; }
    bool is_thinking() const { return conversation_.thinking_mode == ThinkingMode::kThinking; }

    // In thinking mode, whether the answer to (or the message in) this turn shows its reasoning.
    bool opens_reasoning(size_t turn) const {
        return !transcript_.drops_reasoning ||
               static_cast<ptrdiff_t>(turn) >= transcript_.last_user;
    }

    void end_of_message(size_t message_idx) {
        prompt_.message_ends[message_idx] = out_.num_pieces();
    }

    // What a sort has put out of order, or what rendered nothing, ends where the one before does.
    void finish_message_ends() {
        size_t end = 0;
        for (size_t& message_end : prompt_.message_ends)
            end = message_end = std::max(end, message_end);
    }

    Result<void> write_turn(size_t i) {
        const Turn& turn = turns()[i];
        prompt_.in_reasoning = false;
        if (i == 0 && conversation_.context.empty()) write_start(turn.role);
        Result<void> written = write_body(i);
        if (!written && turn.role != Role::kUser)
            return std::move(written).error().in(
                fmt::format("messages[{}]", turn.message_idx_last));
        return written;
    }

    // Effort comes in front of the first message, whatever its role.
    void write_start(Role first) {
        const bool has_effort = is_thinking() && !effort_prefix_.empty();
        if (is_v41() && (has_effort || first == Role::kSystem)) out_.control(kSystemMarker);
        if (has_effort) out_.fixed(effort_prefix_);
    }

    Result<void> write_body(size_t i) {
        const Message& message = *turns()[i].message;
        switch (turns()[i].role) {
            case Role::kSystem:
                if (is_v41() && i > 0) out_.control(kSystemMarker);
                TRY(write_content(message));
                return write_sections(message);
            case Role::kDeveloper: return write_developer(message);
            case Role::kUser: return write_user(turns()[i]);
            case Role::kLatestReminder:
                out_.control(kReminderMarker);
                return write_content(message);
            case Role::kAssistant: return write_assistant(i);
            case Role::kTool: break;
        }
        CHECK(turns()[i].role != Role::kTool);  // arrange() has merged these
        return {};
    }

    Result<void> write_developer(const Message& message) {
        if (is_v41())
            return make_error(ErrorCode::kInvalidArgument,
                              "role is developer, which dialect v41 does not have");
        out_.control(kUserMarker);
        const size_t before = out_.num_pieces();
        TRY(write_content(message));
        if (out_.num_pieces() == before)
            return make_error(ErrorCode::kInvalidArgument, "content of a developer is empty");
        return write_sections(message);
    }

    Result<void> write_sections(const Message& message) {
        if (!message.tools.empty()) {
            out_.text(kSectionSeparator);
            TRY(write_tools(message.tools));
        }
        if (message.response_format.empty()) return {};
        Result<JsonText> format = JsonText::parse(message.response_format);
        if (!format) return std::move(format).error().in("response_format");
        if (!format->truthy()) return {};
        out_.text(kSectionSeparator);
        out_.fixed(kResponseFormatPrefix);
        out_.text(format->dump_python());
        return {};
    }

    Result<void> write_tools(const std::vector<std::string>& tools) {
        out_.fixed(tools_before_schemas(conversation_.dialect));
        for (size_t i = 0; i < tools.size(); ++i) {
            Result<JsonText> schema = JsonText::parse(tools[i]);
            if (!schema) return std::move(schema).error().in(fmt::format("tools[{}]", i));
            if (i > 0) out_.text(kSchemaSeparator);
            out_.text(schema->dump_python());
        }
        out_.fixed(kToolsAfterSchemas);
        return {};
    }

    Result<void> write_user(const Turn& turn) {
        out_.control(kUserMarker);
        bool is_first = true;
        for (const TurnPart& part : turn.parts) {
            if (!is_first) out_.text(kPartSeparator);
            is_first = false;
            if (part.is_result()) {
                write_result(*part.message);
            } else if (Result<void> written = write_content(*part.message); !written) {
                return std::move(written).error().in(fmt::format("messages[{}]", part.message_idx));
            }
            end_of_message(part.message_idx);
        }
        return {};
    }

    void write_result(const Message& message) {
        out_.text(kToolResultOpen);
        for (size_t i = 0; i < message.content.size(); ++i) {
            if (i > 0) out_.text(kPartSeparator);
            write_part_text(message.content[i]);
        }
        out_.text(kToolResultClose);
    }

    // Content outside tool results: an image is an image, or refused.
    Result<void> write_content(const Message& message) {
        for (size_t i = 0; i < message.content.size(); ++i) {
            const ContentPart& part = message.content[i];
            if (i > 0) out_.text(kPartSeparator);
            if (!is_image(part.unsupported_kind))
                write_part_text(part);
            else if (is_v41() && message.role == Role::kUser)
                out_.control(kImagePlaceholder);
            else
                return make_error(ErrorCode::kInvalidArgument,
                                  "content[{}] is an image ({}); this model reads text only", i,
                                  part.unsupported_kind);
        }
        return {};
    }

    void write_part_text(const ContentPart& part) {
        if (part.unsupported_kind.empty())
            out_.text(part.text);
        else
            out_.text(fmt::format("[Unsupported {}]", part.unsupported_kind));
    }

    Result<void> write_assistant(size_t i) {
        const Message& message = *turns()[i].message;
        const bool is_shown = transcript_.shows_reasoning(i);
        prompt_.in_reasoning = continues_reasoning(i);
        if (!message.sampled.empty() && (!is_thinking() || is_shown)) {
            out_.sampled(message.sampled);
        } else {
            if (has_reasoning(i)) out_.text(message.reasoning);
            if (has_reasoning(i) && !prompt_.in_reasoning) out_.control(kThinkClose);
            TRY(write_content(message));
            if (!message.tool_calls.empty()) {
                out_.text(kCallsLeadIn);
                TRY(write_calls(message.tool_calls, conversation_.dialect, out_));
            }
        }
        if (!message.without_eos) out_.control(kEos);
        return {};
    }

    // The message that answers a task has no reasoning part.
    bool has_reasoning(size_t i) const {
        const bool answers_task = i > 0 && turns()[i - 1].task != Task::kNone;
        return is_thinking() && !answers_task && transcript_.shows_reasoning(i);
    }

    // The last message is a prefix that holds reasoning alone: the model goes on reasoning. (The
    // reference would close it.)
    bool continues_reasoning(size_t i) const {
        const Message& message = *turns()[i].message;
        const bool has_content = std::any_of(
            message.content.begin(), message.content.end(), [](const ContentPart& part) {
                return !part.text.empty() || !part.unsupported_kind.empty();
            });
        return i + 1 == turns().size() && message.without_eos && has_reasoning(i) && !has_content &&
               message.tool_calls.empty() && !message.reasoning.empty();
    }

    // Section 7.
    void write_header(size_t i) {
        const Turn& turn = turns()[i];
        if (i + 1 < turns().size()) {
            const Role next = turns()[i + 1].role;
            if (next != Role::kAssistant && next != Role::kLatestReminder) return;
        }
        if (turn.task != Task::kNone) {
            if (turn.task == Task::kAction) {
                out_.control(kAssistantMarker);
                out_.control(is_thinking() ? kThinkOpen : kThinkClose);
            }
            out_.control(task_token(turn.task));
        } else if (asks_for_answer(i)) {
            prompt_.in_reasoning = is_thinking() && opens_reasoning(i);
            out_.control(kAssistantMarker);
            out_.control(prompt_.in_reasoning ? kThinkOpen : kThinkClose);
        }
    }

    // A system message in mid-conversation does, in V4.1.
    bool asks_for_answer(size_t i) const {
        const Role role = turns()[i].role;
        return role == Role::kUser || role == Role::kDeveloper ||
               (is_v41() && role == Role::kSystem && i > 0);
    }

    const Conversation& conversation_;
    const Transcript transcript_;
    std::string effort_prefix_;
    PromptWriter out_;
    Prompt prompt_;
};

}  // namespace

Result<Dialect> parse_dialect(std::string_view name) {
    for (const auto& [dialect_text, dialect] : kDialects)
        if (name == dialect_text) return dialect;
    return make_error(ErrorCode::kInvalidArgument,
                      "dialect is unknown, expected v4, v4-0731 or v41");
}

std::string_view dialect_name(Dialect dialect) {
    for (const auto& [name, known] : kDialects)
        if (known == dialect) return name;
    return "";
}

void attach_tools(Conversation& conversation, std::vector<std::string> tools) {
    if (tools.empty()) return;
    std::vector<Message>& messages = conversation.messages;
    const bool has_place = !messages.empty() && (messages[0].role == Role::kSystem ||
                                                 messages[0].role == Role::kDeveloper);
    if (!has_place) {
        messages.insert(messages.begin(), Message());
        messages[0].role = Role::kSystem;
    }
    messages[0].tools = std::move(tools);
}

Result<Prompt> render(const Conversation& conversation) {
    return Renderer(conversation).run();
}

}  // namespace baleen
