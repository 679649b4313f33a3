// What the serving parser looks for in each of its states (spec/chat-encoding.md, section 13).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "text/completion_parser.h"
#include "text/marker_matcher.h"

namespace baleen {

enum class ParserState : uint8_t {
    kReasoning,
    kAnswer,
    kBeforeJson,  // JSON mode's answer: kBeforeJson, kJson, kAfterJson
    kJson,
    kAfterJson,
    kCalls,          // in the block, between calls
    kCallName,       // in the quotes
    kParameters,     // between parameters
    kParameterName,  // in the quotes
    kParameterKind,  // between the name and the value
    kStringValue,
    kJsonValue,
    kDone,
};
inline constexpr size_t kParserStateCount = static_cast<size_t>(ParserState::kDone) + 1;

enum class Mark : uint8_t {
    kStop,
    kThinkEnd,
    kBlockOpen,
    kDoubledBlockOpen,  // with two bars where one belongs
    kFenceOpen,
    kJsonOpen,
    kFenceClose,
    kCallOpen,
    kBlockClose,
    kQuote,
    kParameterOpen,
    kCallClose,
    kStringKind,
    kJsonKind,
    kValueClose,
};

struct MarkMatcher {
    Mark mark;
    MarkerMatcher matcher;
};

// has_doubled_bars: the block was opened with two bars where one belongs, so closing tags may be
// written so too.
std::vector<MarkMatcher> make_matchers(ParserState state, const ServingParserOptions& options,
                                       bool has_doubled_bars);

}  // namespace baleen
