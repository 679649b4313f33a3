// From model text to a message (spec/chat-encoding.md, section 13): the strict parser for
// well-formed text, and the incremental parser that serves.
//
// The serving parser never fails, never lets a piece of a marker out, and its result does not
// depend on where the text was cut. One object per answer, one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/chat.h"

namespace baleen {

struct ParsedCall {
    std::string name;
    std::string arguments;  // a JSON object when complete, else the beginning of one
    bool complete = false;
};

struct ParsedMessage {
    std::string reasoning;
    std::string content;
    std::vector<ParsedCall> tool_calls;
};

// text: the completion with its end marker as text. kInvalidArgument: what is wrong and at which
// byte.
Result<ParsedMessage> parse_strict(std::string_view text, ThinkingMode mode,
                                   Dialect dialect = Dialect::kV4);

struct ParserEvent {
    enum class Kind : uint8_t {
        kReasoning,      // text: more of it
        kContent,        // text: more of it
        kCallBegin,      // text: the tool's name
        kCallArguments,  // text: more of the arguments' JSON
        kCallEnd,        // the call's arguments are complete
    };
    Kind kind = Kind::kContent;
    size_t call_idx = 0;  // of the three call kinds
    std::string text;
};

struct ServingParserOptions {
    bool in_reasoning = false;  // where the prompt left the model
    // None of them empty; looked for in the answer only, newlines at its start not counted. The
    // first to be complete ends the message (the longest of those); so does one of newlines that
    // would have belonged to a calls block.
    std::vector<std::string> stops;
    bool json_mode = false;   // section 13, "JSON mode"
    bool parse_tools = true;  // false (tool_choice none): tags are plain text of the answer
    bool control_markers_only = false;  // markers count only where push() says kControl
    // A parameter of this name can only be a wrapper around the tool's arguments. A call that has
    // it alone, with an object as its value, gets that object as its arguments. Null: no name can.
    std::function<bool(std::string_view tool, std::string_view parameter)> is_wrapper;
};

class ServingParser {
  public:
    explicit ServingParser(ServingParserOptions options);
    ~ServingParser();
    ServingParser(ServingParser&&) noexcept;

    // Where bytes come from: tokens of ordinary text, or one control token's text. With
    // control_markers_only a marker counts only if it holds a control piece; otherwise both are
    // the same.
    enum class Origin : uint8_t { kText, kControl };

    // Bytes may cut a character anywhere. Appends what is certain to events. After stopped() the
    // rest is ignored.
    void push(std::string_view bytes, std::vector<ParserEvent>& events,
              Origin origin = Origin::kText);
    // No more text: releases what was held back, but for what may be a closing tag of an unfinished
    // call.
    void finish(std::vector<ParserEvent>& events);

    bool stopped() const;  // a stop sequence was found; the message ends before it
    const std::string& stop_sequence() const;  // that one; empty: none
    bool in_reasoning() const;                 // the next byte would be reasoning
    bool in_calls() const;                     // a calls block has begun
    bool is_malformed() const;  // a repeated parameter in a stream: the call's JSON repeats a key

    // The non-streaming message of all that was pushed. After finish(): complete.
    const ParsedMessage& message() const;
    // For metrics.
    size_t repaired_values() const;  // non-string values that were no JSON, sent as strings
    size_t unwrapped_calls() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace baleen
