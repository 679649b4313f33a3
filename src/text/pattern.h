// The regular expressions of JSON Schema's `pattern` as automata: ECMA 262 without look-around,
// word boundaries, back references and Unicode classes.
#pragma once

#include <string_view>

#include "base/result.h"
#include "text/automaton.h"

namespace baleen {

inline constexpr size_t kPatternBytesMax = 2000;
inline constexpr int kPatternRepeatMax = 1000;  // largest number in {m,n}
inline constexpr int kPatternDepthMax = 50;     // groups in groups

// The byte strings, among them all UTF-8 texts, in which the pattern matches somewhere
// (deterministic). kUnsupported: what is left out above; kInvalidArgument: no regular expression;
// kExhausted: too large.
Result<Automaton> pattern_automaton(std::string_view pattern);

}  // namespace baleen
