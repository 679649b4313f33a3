// Reading fields of a request body: every error is kInvalidArgument and names field, value and what
// is allowed. A field that is null counts as missing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "serve/job.h"
#include "text/json_text.h"

namespace baleen::serve {

struct NumberRange {
    double min;
    double max;
};

Error wrong_field(std::string_view name, const JsonText& value, std::string_view expected);

Result<std::optional<std::string>> string_field(const JsonText& object, std::string_view name);
Result<std::optional<bool>> bool_field(const JsonText& object, std::string_view name);
Result<std::optional<int64_t>> int_field(const JsonText& object, std::string_view name, int64_t min,
                                         int64_t max);
Result<std::optional<double>> number_field(const JsonText& object, std::string_view name,
                                           NumberRange range);
// A string or a list of at most 16 strings, none empty.
Result<std::vector<std::string>> stops_field(const JsonText& object, std::string_view name);

// A list of token ids, not yet checked against a vocabulary.
Result<std::vector<TokenId>> token_ids(const JsonText& list, std::string_view name);

// temperature, top_p, top_k, min_p, seed: named alike in all APIs.
Result<void> read_sampling(const JsonText& body, Job& job);

// ---- thinking and effort (spec section 14) ----

struct Thinking {
    std::optional<bool> enabled;  // none: not named
    std::optional<Effort> effort;
};

// minimal, low, medium, high, xhigh, max, ultra; none turns thinking off.
Result<void> read_effort_name(std::string_view field, const JsonText& value, Thinking& thinking);

// Defaults and the rules of dialect and context; warnings go into the job.
void apply_thinking(const Thinking& thinking, int64_t context_tokens_max, Job& job);

// ---- tools ----

// Adds a tool under the name that the model sees. function: {"name", "description"?, "parameters"?,
// ...} as the prompt shows it.
Result<void> add_tool(const JsonText& function, Job& job, std::vector<std::string>& schemas);

}  // namespace baleen::serve
