// What the model may write after the prompt: tool calls by grammar and JSON by schema, as a
// TokenConstraint (docs/constraints.md).
//
// A Vocabulary is made once per tokenizer and shared; it keeps the grammars of recent rules. Any
// thread may make constraints; each one is used by one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/token_constraint.h"
#include "text/chat.h"
#include "text/tokenizer.h"

namespace baleen {

// The bytes of all tokens as a trie, for walking a grammar over the whole vocabulary.
class Vocabulary;
// vocab_size: the model's, at least the tokenizer's. Ids the tokenizer lacks are never allowed.
std::shared_ptr<const Vocabulary> make_vocabulary(const Tokenizer& tokenizer, size_t vocab_size);

struct ToolSchema {
    std::string name;
    // JSON Schema text; empty: any object. Objects with `properties` and no
    // `additionalProperties` are closed. Up to nine parameters come in any order, more in the
    // schema's.
    std::string parameters;
    // Keywords that cannot be constrained are an error, else they are left to the model.
    bool strict = false;
};

enum class ToolChoice : uint8_t {
    kNone,      // no block may open
    kAuto,      // a block may open, and is valid then
    kRequired,  // at least one call
    kNamed,     // exactly one call, of `named`
};

enum class JsonOutput : uint8_t { kNone, kObject, kSchema };

struct OutputRules {
    bool in_reasoning = false;  // where the prompt leaves the model
    Dialect dialect = Dialect::kV4;
    std::vector<ToolSchema> tools;
    ToolChoice tool_choice = ToolChoice::kAuto;
    std::string named;
    bool parallel_calls = true;
    JsonOutput json = JsonOutput::kNone;  // of the answer; tool calls may take its place
    std::string json_schema;  // with kSchema; strict, members in its order, open unless it says so
    // Reasoning is closed when this many tokens have been spent in it; 0: no limit of its own.
    int64_t reasoning_tokens_max = 0;
};

// kInvalidArgument / kUnsupported: a schema that is no schema, or uses what cannot be constrained;
// the message names the tool, the path in the schema and the keyword.
Result<std::unique_ptr<TokenConstraint>> make_output_constraint(
    std::shared_ptr<const Vocabulary> vocabulary, const OutputRules& rules);

}  // namespace baleen
