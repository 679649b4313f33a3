// A conversation and the prompt that DeepSeek-V4 reads (spec/chat-encoding.md, sections 1 to 12).
// Values without threads or files: everything here is a function of its arguments.
//
// The prompt is a list of pieces, never one string: control tokens are ids, text from outside is
// encoded with no added token recognised, so that nobody can forge a turn (section 11).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/token.h"
#include "text/tokenizer.h"

namespace baleen {

enum class Dialect : uint8_t { kV4, kV4_0731, kV41 };
enum class ThinkingMode : uint8_t { kChat, kThinking };
enum class Effort : uint8_t { kUnnamed, kLow, kHigh, kMax };
enum class Role : uint8_t { kSystem, kDeveloper, kUser, kAssistant, kTool, kLatestReminder };
enum class Task : uint8_t { kNone, kAction, kQuery, kAuthority, kDomain, kTitle, kReadUrl };

Result<Dialect> parse_dialect(std::string_view name);  // "v4", "v4-0731", "v41"
std::string_view dialect_name(Dialect dialect);

// One part of a list content. unsupported_kind not empty: a part that is no text, by its type name.
struct ContentPart {
    std::string text;
    std::string unsupported_kind;
};

struct ToolCall {
    std::string id;  // empty: none
    std::string name;
    std::string arguments;  // JSON text, as the client sent it
};

struct Message {
    Role role = Role::kUser;
    std::vector<ContentPart> content;  // a string content is one part; null or missing: none
    std::string reasoning;             // assistant
    std::vector<ToolCall> tool_calls;  // assistant
    std::string tool_call_id;          // tool
    std::vector<std::string> tools;    // JSON text of each tool's `function` object
    std::string response_format;       // JSON text of the whole value; empty: none
    bool without_eos = false;
    Task task = Task::kNone;
    // Assistant, serving only: the tokens that the model sampled for this message after the header,
    // end marker excluded. Rendered in place of reasoning, content and calls when the reasoning is
    // shown, so that the next prompt repeats the sampled tokens exactly (section 15).
    std::vector<TokenId> sampled;
};

struct Conversation {
    std::vector<Message> messages;
    std::vector<Message> context;  // encoded before: only `messages` are rendered
    Dialect dialect = Dialect::kV4;
    ThinkingMode thinking_mode = ThinkingMode::kThinking;
    Effort effort = Effort::kUnnamed;
    std::optional<int> effort_budget;  // v41 only: 1 to 100, instead of a name
    bool drop_thinking = true;
    bool add_bos = true;
};

// Puts request-level tools where they belong (section 6, last paragraph).
void attach_tools(Conversation& conversation, std::vector<std::string> tools);

struct ControlPiece {
    std::string_view text;  // the control token's text, static
};
struct TextPiece {
    std::string text;
};
struct SampledPiece {
    std::vector<TokenId> tokens;
};
using Piece = std::variant<ControlPiece, TextPiece, SampledPiece>;

struct Prompt {
    // Neighbouring texts are joined.
    std::vector<Piece> pieces;
    // message_ends[i]: how many pieces the prompt has when message i of the *given* conversation
    // has been written, its header to the next message included; messages that render nothing
    // repeat the number before. Where no control token stands between two messages, the last of
    // these pieces goes on with the next one's text: the end is that of the whole piece.
    std::vector<size_t> message_ends;
    // True when the prompt leaves the model inside reasoning (ends in <think>, or continues one).
    bool in_reasoning = false;

    // The reference's text: pieces joined, sampled tokens decoded.
    std::string text(const Tokenizer* tokenizer = nullptr) const;
};

// kInvalidArgument: what the encoder or a product rule refuses, naming message and field.
Result<Prompt> render(const Conversation& conversation);

enum class OutsideText : uint8_t {
    kPlain,      // section 11's product rule
    kReference,  // as the reference: markers in any text become control tokens
};

struct PromptTokens {
    std::vector<TokenId> tokens;
    std::vector<size_t> message_ends;  // as Prompt's, in tokens
};

// kInvalidArgument when the tokenizer lacks a control token, or a text is not UTF-8.
Result<PromptTokens> tokenize(const Prompt& prompt, const Tokenizer& tokenizer,
                              OutsideText outside = OutsideText::kPlain);

// Control token texts (section 1).
inline constexpr std::string_view kBos = "<\uFF5Cbegin\u2581of\u2581sentence\uFF5C>";
inline constexpr std::string_view kEos = "<\uFF5Cend\u2581of\u2581sentence\uFF5C>";
inline constexpr std::string_view kUserMarker = "<\uFF5CUser\uFF5C>";
inline constexpr std::string_view kAssistantMarker = "<\uFF5CAssistant\uFF5C>";
inline constexpr std::string_view kThinkOpen = "<think>";
inline constexpr std::string_view kThinkClose = "</think>";
inline constexpr std::string_view kDsml = "\uFF5CDSML\uFF5C";

}  // namespace baleen
