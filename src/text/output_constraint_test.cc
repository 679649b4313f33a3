#include "text/output_constraint.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "base/json.h"
#include "base/rng.h"
#include "text/schema_fixture.h"
#include "text/tokenizer_fixture.h"
#include "text/utf8.h"

namespace baleen {
namespace {

const Tokenizer& v4() {
    static const Tokenizer tokenizer = [] {
        const char* shared = std::getenv("BALEEN_SHARED");
        const std::string folder = shared != nullptr ? shared : "../shared";
        return Tokenizer::load(folder + "/data/deepseek-v4-tokenizer.json").value();
    }();
    return tokenizer;
}

constexpr size_t kV4VocabSize = 129'280;

std::shared_ptr<const Vocabulary> v4_vocabulary() {
    static const auto vocabulary = make_vocabulary(v4(), kV4VocabSize);
    return vocabulary;
}

std::unique_ptr<TokenConstraint> constraint(const OutputRules& rules) {
    auto made = make_output_constraint(v4_vocabulary(), rules);
    EXPECT_TRUE(made.has_value()) << made.error().message;
    return std::move(made).value();
}

std::vector<TokenId> allowed_tokens(std::span<const uint64_t> bits) {
    std::vector<TokenId> tokens;
    for (size_t i = 0; i < bits.size(); ++i)
        for (uint64_t word = bits[i]; word != 0; word &= word - 1)
            tokens.push_back(
                static_cast<TokenId>(i * 64 + static_cast<size_t>(std::countr_zero(word))));
    return tokens;
}

bool is_set(std::span<const uint64_t> bits, TokenId token) {
    return (bits[static_cast<size_t>(token) / 64] >> (token % 64) & 1) != 0;
}

// Tokens that close something, or might.
const std::vector<TokenId>& closing_tokens() {
    static const std::vector<TokenId> closing = [] {
        std::vector<TokenId> tokens;
        for (TokenId token = 0; v4().contains(token); ++token) {
            const std::string_view text = v4().token_bytes(token);
            const bool is_short = text.size() < 6 && text.find_first_of("<\"]},/") == 0;
            if (is_short || text == kDsml || text == kThinkClose || text == kEos)
                tokens.push_back(token);
        }
        return tokens;
    }();
    return closing;
}

// A token of random logits: mostly any that is allowed, now and then one that closes something, so
// that values of all lengths come up. -1: none is allowed.
TokenId draw(std::span<const uint64_t> bits, Rng& rng) {
    if (rng.next_below(6) == 0) {
        std::vector<TokenId> closing;
        for (const TokenId token : closing_tokens())
            if (is_set(bits, token)) closing.push_back(token);
        if (!closing.empty()) return closing[rng.next_below(closing.size())];
    }
    for (int i = 0; i < 16; ++i) {
        const auto token = static_cast<TokenId>(rng.next_below(kV4VocabSize));
        if (is_set(bits, token)) return token;
    }
    const std::vector<TokenId> tokens = allowed_tokens(bits);
    return tokens.empty() ? -1 : tokens[rng.next_below(tokens.size())];
}

struct Sample {
    std::string text;  // control tokens as text
    bool finished = false;
    size_t tokens = 0;
};

// Samples until the constraint has finished or the tokens are used up.
Sample sample(TokenConstraint& output, int64_t tokens_max, Rng& rng) {
    Sample result;
    std::vector<uint64_t> bits((kV4VocabSize + 63) / 64);
    for (int64_t remaining = tokens_max; remaining > 0; --remaining) {
        std::fill(bits.begin(), bits.end(), ~uint64_t{0});
        const auto restriction = output.restrict_next(bits, remaining);
        result.finished = restriction == TokenConstraint::Restriction::kFinished;
        if (result.finished) return result;
        const TokenId token = draw(bits, rng);
        if (!v4().contains(token)) {
            ADD_FAILURE() << "token " << token << " after: " << result.text;
            return result;
        }
        output.accept(token);
        result.text += v4().token_bytes(token);
        ++result.tokens;
    }
    std::fill(bits.begin(), bits.end(), ~uint64_t{0});
    result.finished = output.restrict_next(bits, 1) == TokenConstraint::Restriction::kFinished;
    return result;
}

// A strict reader of the canonical form (spec/chat-encoding.md, sections 8 and 13), of its own.
class CallReader {
  public:
    CallReader(std::string_view text, Dialect dialect) : rest_(text) {
        space_ = dialect == Dialect::kV41 ? " " : "";
        block_ = space_ + (dialect == Dialect::kV41 ? "calls" : "tool_calls");
    }
    struct Call {
        std::string name;
        std::string arguments;
    };
    // The block and the end marker, nothing else. False: not in the form.
    bool read(std::vector<Call>& calls) {
        if (!take(open(block_) + ">\n")) return false;
        while (take(open(space_ + "invoke name=\""))) {
            Call call;
            if (!take_until("\">\n", call.name) || !read_parameters(call)) return false;
            calls.push_back(call);
            if (!take("\n")) return false;
        }
        return take(close(block_) + ">") && take(kEos) && rest_.empty();
    }

  private:
    static std::string open(const std::string& tag) { return "<" + std::string(kDsml) + tag; }
    static std::string close(const std::string& tag) { return "</" + std::string(kDsml) + tag; }

    bool read_parameters(Call& call) {
        std::set<std::string> names;
        std::string joined;
        while (take(open(space_ + "parameter name=\""))) {
            std::string name, flag, value;
            if (!take_until("\" string=\"", name) || !take_until("\">", flag)) return false;
            if (!take_until(close(space_ + "parameter") + ">\n", value)) return false;
            if (!names.insert(name).second || (flag != "true" && flag != "false")) return false;
            if (value.find(kDsml) != value.npos || first_invalid_utf8(value) != value.npos)
                return false;
            if (flag == "true") value = dump_json(Json(value));
            joined += (joined.empty() ? "" : ", ") + dump_json(Json(name)) + ": " + value;
        }
        if (names.empty() && !take("\n")) return false;
        call.arguments = "{" + joined + "}";
        return take(close(space_ + "invoke") + ">");
    }
    bool take(std::string_view wanted) {
        if (!rest_.starts_with(wanted)) return false;
        rest_.remove_prefix(wanted.size());
        return true;
    }
    bool take_until(std::string_view wanted, std::string& before) {
        const size_t at = rest_.find(wanted);
        if (at == rest_.npos) return false;
        before = rest_.substr(0, at);
        rest_.remove_prefix(at + wanted.size());
        return true;
    }

    std::string_view rest_;
    std::string space_, block_;
};

// What stands after the reasoning; the strict parser's conditions on the reasoning hold.
std::string_view answer_of(std::string_view text, bool in_reasoning) {
    if (!in_reasoning) return text;
    const size_t end = text.find(kThinkClose);
    EXPECT_NE(end, text.npos) << text;
    if (end == text.npos) return {};
    const std::string_view reasoning = text.substr(0, end);
    EXPECT_EQ(first_invalid_utf8(reasoning), reasoning.npos) << text;
    for (const std::string_view marker : {kBos, kEos, kThinkOpen, kDsml})
        EXPECT_EQ(reasoning.find(marker), reasoning.npos) << text;
    return text.substr(end + kThinkClose.size());
}

const std::vector<std::vector<ToolSchema>>& tool_sets() {
    static const std::vector<std::vector<ToolSchema>> sets = {
        {{"bash", R"({"type":"object","properties":{"command":{"type":"string"},
           "timeout":{"type":"integer","minimum":1,"maximum":600}},"required":["command"]})"}},
        {{"get_weather", R"({"type":"object","properties":{
           "city":{"type":"string","minLength":1,"maxLength":20},
           "unit":{"enum":["celsius","fahrenheit"]},"days":{"type":"integer"},
           "exact":{"type":"boolean"}},"required":["city","unit"],
           "additionalProperties":false})"},
         {"now", R"({"type":"object","properties":{}, "additionalProperties":false})"},
         {"anything", ""}},
        {{"edit", R"({"$schema":"http://json-schema.org/draft-07/schema#","type":"object",
           "properties":{"edits":{"type":"array","minItems":1,"maxItems":3,"items":{"type":"object",
             "properties":{"old":{"type":"string"},"new":{"type":["string","null"]},
               "where":{"type":"object","properties":{"line":{"type":"number"},
                 "tags":{"type":"array","items":{"enum":["a","b",3,null]}}},"required":["line"]}},
             "required":["old","where"]}},
           "mode":{"anyOf":[{"const":"fast"},{"type":"integer","minimum":-5,"maximum":12}]}},
           "required":["edits","mode"]})"}},
        {{"tree", R"({"type":"object","properties":{"root":{"$ref":"#/$defs/node"}},
           "required":["root"],"$defs":{"node":{"type":"object","properties":{
             "value":{"type":["integer","string"]},
             "children":{"type":"array","items":{"$ref":"#/$defs/node"}}},
             "required":["value"],"additionalProperties":false}}})"},
         {"pair", R"({"type":"object","properties":{"p":{"type":"array",
           "prefixItems":[{"type":"integer"},{"type":"string"}],"minItems":2,"maxItems":2}},
           "required":["p"],"additionalProperties":{"type":"boolean"}})",
          true}},
    };
    return sets;
}

const ToolSchema* find_tool(const std::vector<ToolSchema>& tools, const std::string& name) {
    for (const ToolSchema& tool : tools)
        if (tool.name == name) return &tool;
    return nullptr;
}

void expect_valid_calls(const std::vector<CallReader::Call>& calls, const OutputRules& rules) {
    for (const CallReader::Call& call : calls) {
        const ToolSchema* tool = find_tool(rules.tools, call.name);
        ASSERT_NE(tool, nullptr) << call.name;
        const Result<Json> arguments = parse_json(call.arguments);
        ASSERT_TRUE(arguments.has_value()) << call.arguments;
        const Json schema =
            tool->parameters.empty() ? Json::object() : parse_json(tool->parameters).value();
        EXPECT_TRUE(SchemaValidator(schema).valid(*arguments)) << call.arguments;
        if (!schema.contains("properties") || schema.contains("additionalProperties")) continue;
        for (const auto& [name, value] : arguments->items())
            EXPECT_TRUE(schema["properties"].contains(name)) << call.arguments;
    }
}

void expect_calls(const Sample& made, const OutputRules& rules) {
    ASSERT_TRUE(made.finished) << made.text;
    std::string_view answer = answer_of(made.text, rules.in_reasoning);
    ASSERT_TRUE(answer.starts_with("\n\n")) << made.text;
    std::vector<CallReader::Call> calls;
    ASSERT_TRUE(CallReader(answer.substr(2), rules.dialect).read(calls)) << made.text;
    ASSERT_GE(calls.size(), 1u);
    const bool is_single = !rules.parallel_calls || rules.tool_choice == ToolChoice::kNamed;
    EXPECT_TRUE(!is_single || calls.size() == 1) << made.text;
    expect_valid_calls(calls, rules);
}

TEST(OutputConstraint, FiveHundredRequiredCallsParseAndValidate) {
    Rng rng(7);
    int good = 0;
    for (int i = 0; i < 500; ++i) {
        OutputRules rules;
        rules.in_reasoning = i % 2 == 0;
        rules.dialect = i % 5 == 0 ? Dialect::kV41 : Dialect::kV4;
        rules.tools = tool_sets()[static_cast<size_t>(i) % tool_sets().size()];
        rules.tool_choice = ToolChoice::kRequired;
        rules.parallel_calls = i % 3 != 0;
        const int64_t tokens_max = 256 << (i % 3);
        const auto output = constraint(rules);
        expect_calls(sample(*output, tokens_max, rng), rules);
        if (HasFatalFailure() || HasNonfatalFailure()) FAIL() << "sample " << i;
        ++good;
    }
    EXPECT_EQ(good, 500);
}

TEST(OutputConstraint, TwoHundredJsonAnswersParseAndValidate) {
    const std::vector<std::string> schemas = {
        R"({"type":"object","properties":{"reason":{"type":"string"},"score":{"type":"number",
            "minimum":0,"maximum":1},"tags":{"type":"array","items":{"type":"string",
            "maxLength":8},"maxItems":4}},"required":["reason","score","tags"],
            "additionalProperties":false})",
        R"({"type":"array","items":{"anyOf":[{"type":"object","properties":{"id":{
            "type":"integer","minimum":1}},"required":["id"],"additionalProperties":false},
            {"enum":["none","all"]}]},"minItems":2})",
        R"({"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"l":{"anyOf":[
            {"$ref":"#/$defs/n"},{"type":"null"}]},"v":{"type":"string",
            "pattern":"^[A-Z]{2}-\\d+$"}},"required":["l","v"],
            "additionalProperties":false}}})",
        R"({"type":"object"})",
    };
    Rng rng(8);
    int good = 0;
    for (int i = 0; i < 200; ++i) {
        OutputRules rules;
        rules.in_reasoning = i % 2 == 0;
        rules.json_schema = schemas[static_cast<size_t>(i) % schemas.size()];
        rules.json = i % 4 == 3 ? JsonOutput::kObject : JsonOutput::kSchema;
        const auto output = constraint(rules);
        const Sample made = sample(*output, 128 << (i % 4), rng);
        ASSERT_TRUE(made.finished) << i << made.text;
        std::string_view answer = answer_of(made.text, rules.in_reasoning);
        ASSERT_TRUE(answer.ends_with(kEos));
        answer.remove_suffix(kEos.size());
        for (const std::string_view marker : {kBos, kEos, kThinkOpen, kThinkClose, kDsml})
            ASSERT_EQ(answer.find(marker), answer.npos);
        const Result<Json> value = parse_json(answer);
        ASSERT_TRUE(value.has_value()) << answer;
        const Json schema = parse_json(rules.json_schema).value();
        ASSERT_TRUE(SchemaValidator(schema).valid(*value)) << answer;
        ++good;
    }
    EXPECT_EQ(good, 200);
}

std::vector<uint64_t> mask_of(TokenConstraint& output, int64_t remaining = 100'000) {
    std::vector<uint64_t> bits((kV4VocabSize + 63) / 64, ~uint64_t{0});
    EXPECT_EQ(output.restrict_next(bits, remaining), TokenConstraint::Restriction::kMasked);
    return bits;
}

TokenId id(std::string_view text) {
    const TokenId token = v4().token_id(text);
    EXPECT_GE(token, 0) << text;
    return token;
}

// Whether the tokens, one after the other, are allowed; accepts those that are.
bool feed(TokenConstraint& output, const std::vector<TokenId>& tokens) {
    for (const TokenId token : tokens) {
        if (!is_set(mask_of(output), token)) return false;
        output.accept(token);
    }
    return true;
}
bool feed(TokenConstraint& output, std::string_view text) {
    return feed(output, v4().encode(text).value());
}
bool feed_plain(TokenConstraint& output, std::string_view text) {
    return feed(output, v4().encode_plain(text).value());
}

OutputRules rules_with_tools(ToolChoice choice) {
    OutputRules rules;
    rules.tools = tool_sets()[0];
    rules.tool_choice = choice;
    return rules;
}

const std::string kTag = "<" + std::string(kDsml);
const std::string kCallBegin = kTag + "tool_calls>\n" + kTag + "invoke name=\"bash\">\n" + kTag +
                               "parameter name=\"command\" string=\"true\">";
const std::string kCallEnd = "</" + std::string(kDsml) + "parameter>\n</" + std::string(kDsml) +
                             "invoke>\n</" + std::string(kDsml) + "tool_calls>";

TEST(OutputConstraint, TheCanonicalTokensOfACallAreAllowed) {
    for (const ToolChoice choice : {ToolChoice::kAuto, ToolChoice::kRequired}) {
        const auto output = constraint(rules_with_tools(choice));
        ASSERT_TRUE(feed(*output, "\n\n" + kCallBegin + "ls 2>&1 </p> <b> < \u4E00\n" + kCallEnd));
        EXPECT_EQ(allowed_tokens(mask_of(*output)), std::vector<TokenId>{id(kEos)});
        output->accept(id(kEos));
        std::vector<uint64_t> bits((kV4VocabSize + 63) / 64, ~uint64_t{0});
        EXPECT_EQ(output->restrict_next(bits, 5), TokenConstraint::Restriction::kFinished);
    }
}

TEST(OutputConstraint, RowA5_AutoLeavesTextFreeAndOpensBlocksOnlyAfterLessThan) {
    const auto output = constraint(rules_with_tools(ToolChoice::kAuto));
    ASSERT_TRUE(feed(*output, "Some text, a tag </x> and \xF0\x9F\x98\x80."));
    std::vector<uint64_t> bits = mask_of(*output);
    EXPECT_FALSE(is_set(bits, id(kDsml)));
    EXPECT_TRUE(is_set(bits, id(kEos)));
    for (const std::string_view never :
         {kBos, kUserMarker, kAssistantMarker, kThinkOpen, kThinkClose})
        EXPECT_FALSE(is_set(bits, id(never))) << never;
    EXPECT_GT(allowed_tokens(bits).size(), 127'000u);
    ASSERT_TRUE(feed(*output, "\n<"));
    bits = mask_of(*output);
    EXPECT_TRUE(is_set(bits, id(kDsml)));
    EXPECT_TRUE(is_set(bits, id(kEos)));
    output->accept(id(kDsml));
    bits = mask_of(*output);
    EXPECT_FALSE(is_set(bits, id(kEos)));
    EXPECT_FALSE(is_set(bits, id("x")));
    EXPECT_TRUE(is_set(bits, id("tool")));
}

TEST(OutputConstraint, NoBlockWithoutTools) {
    for (const bool has_tools : {true, false}) {
        OutputRules rules = rules_with_tools(has_tools ? ToolChoice::kNone : ToolChoice::kAuto);
        if (!has_tools) rules.tools.clear();
        rules.in_reasoning = true;
        const auto output = constraint(rules);
        ASSERT_TRUE(feed(*output, "thinking <"));
        EXPECT_FALSE(is_set(mask_of(*output), id(kDsml)));
        ASSERT_TRUE(feed(*output, "</think>text\n\n<"));
        EXPECT_FALSE(is_set(mask_of(*output), id(kDsml)));
        EXPECT_TRUE(feed_plain(*output, std::string(kDsml) + "tool_calls>"));
        EXPECT_TRUE(feed(*output, kEos));
    }
}

TEST(OutputConstraint, MarkersCannotBeSpelledByOrdinaryTokens) {
    const auto in_text = constraint(rules_with_tools(ToolChoice::kAuto));
    EXPECT_TRUE(feed_plain(*in_text, "the marker \uFF5CDSML\uFF5C alone"));
    EXPECT_FALSE(feed_plain(*in_text, "<\uFF5CDSML\uFF5Ctool_calls>"));
    const auto in_value = constraint(rules_with_tools(ToolChoice::kRequired));
    ASSERT_TRUE(feed(*in_value, "\n\n" + kCallBegin));
    EXPECT_TRUE(feed_plain(*in_value, "</think> <think> \uFF5CDSML |"));
    EXPECT_FALSE(feed_plain(*in_value, "\uFF5CDSML\uFF5C"));
    OutputRules rules = rules_with_tools(ToolChoice::kRequired);
    rules.in_reasoning = true;
    for (const std::string_view marker : {kThinkClose, kThinkOpen, kEos, kBos, kDsml}) {
        const auto in_reasoning = constraint(rules);
        ASSERT_TRUE(feed_plain(*in_reasoning, "so "));
        EXPECT_FALSE(feed_plain(*in_reasoning, marker)) << marker;
    }
}

TEST(OutputConstraint, StringValuesAreWellFormedUtf8) {
    const auto output = constraint(rules_with_tools(ToolChoice::kRequired));
    ASSERT_TRUE(feed(*output, "\n\n" + kCallBegin));
    EXPECT_FALSE(is_set(mask_of(*output), id("\x80")));
    ASSERT_TRUE(feed(*output, std::vector<TokenId>{id("\xF0")}));
    EXPECT_FALSE(is_set(mask_of(*output), id("a")));
    EXPECT_FALSE(is_set(mask_of(*output), id("</")));
    EXPECT_TRUE(is_set(mask_of(*output), id("\x9F")));
}

TEST(OutputConstraint, ReasoningMayEndTheAnswerOrGoStraightToCalls) {
    OutputRules rules = rules_with_tools(ToolChoice::kAuto);
    rules.in_reasoning = true;
    const auto ends = constraint(rules);
    EXPECT_TRUE(feed(*ends, "I am done." + std::string(kEos)));
    const auto calls = constraint(rules);
    EXPECT_TRUE(
        feed(*calls, "Let me look.\n\n" + kCallBegin + "ls" + kCallEnd + std::string(kEos)));
    // Where a call or JSON must come, neither is possible.
    rules.tool_choice = ToolChoice::kRequired;
    const auto required = constraint(rules);
    ASSERT_TRUE(feed(*required, "thinking\n\n<"));
    EXPECT_FALSE(is_set(mask_of(*required), id(kDsml)));
    EXPECT_FALSE(is_set(mask_of(*required), id(kEos)));
    EXPECT_TRUE(is_set(mask_of(*required), id(kThinkClose)));
}

TEST(OutputConstraint, NamedIsOneCallOfThatTool) {
    OutputRules rules;
    rules.tools = tool_sets()[1];
    rules.tool_choice = ToolChoice::kNamed;
    rules.named = "now";
    const auto output = constraint(rules);
    ASSERT_TRUE(feed(*output, "\n\n" + kTag + "tool_calls>\n" + kTag + "invoke name=\""));
    EXPECT_FALSE(is_set(mask_of(*output), id("get")));
    EXPECT_TRUE(feed(*output, "now\">\n\n</" + std::string(kDsml) + "invoke>\n</"));
    EXPECT_TRUE(feed(*output, std::string(kDsml) + "tool_calls>" + std::string(kEos)));
    Rng rng(12);
    for (int i = 0; i < 20; ++i) expect_calls(sample(*constraint(rules), 200, rng), rules);
}

TEST(OutputConstraint, JsonWithToolsIsEither) {
    OutputRules rules = rules_with_tools(ToolChoice::kAuto);
    rules.json = JsonOutput::kObject;
    const auto json = constraint(rules);
    EXPECT_TRUE(feed(*json, "{\n  \"a\": [1, 2]\n}" + std::string(kEos)));
    const auto calls = constraint(rules);
    EXPECT_TRUE(feed(*calls, "\n\n" + kCallBegin + "ls" + kCallEnd + std::string(kEos)));
    const auto neither = constraint(rules);
    EXPECT_FALSE(feed(*neither, "Text"));
}

TEST(OutputConstraint, ReasoningIsClosedInTime) {
    OutputRules rules = rules_with_tools(ToolChoice::kRequired);
    rules.in_reasoning = true;
    const std::vector<TokenId> only_close = {id(kThinkClose)};
    // Half of what remains at the start is kept for the call.
    const auto output = constraint(rules);
    int64_t remaining = 400;
    int64_t spent = 0;
    while (allowed_tokens(mask_of(*output, remaining)) != only_close) {
        output->accept(id("a"));
        --remaining;
        ++spent;
    }
    EXPECT_GT(spent, 100);
    EXPECT_GE(remaining, 200);
    // A limit of its own.
    for (const ToolChoice choice : {ToolChoice::kAuto, ToolChoice::kRequired}) {
        rules.tool_choice = choice;
        rules.reasoning_tokens_max = 3;
        const auto limited = constraint(rules);
        for (int i = 0; i < 3; ++i) {
            EXPECT_NE(allowed_tokens(mask_of(*limited)), only_close);
            limited->accept(id("a"));
        }
        EXPECT_EQ(allowed_tokens(mask_of(*limited)), only_close);
        EXPECT_TRUE(feed(*limited, std::string(kThinkClose) + "\n\n" + kCallBegin));
    }
}

TEST(OutputConstraint, ReasoningIsNotClosedWithinACharacter) {
    OutputRules rules = rules_with_tools(ToolChoice::kRequired);
    rules.in_reasoning = true;
    rules.reasoning_tokens_max = 1;
    const auto output = constraint(rules);
    ASSERT_TRUE(feed(*output, std::vector<TokenId>{id("\xF0")}));
    EXPECT_FALSE(is_set(mask_of(*output), id(kThinkClose)));
    ASSERT_TRUE(feed(*output, std::vector<TokenId>{id("\x9F"), id("\x98"), id("\x80")}));
    EXPECT_EQ(allowed_tokens(mask_of(*output)), std::vector<TokenId>{id(kThinkClose)});
}

TEST(OutputConstraint, FreeTextIsCutNotHurriedButCallsAreFinished) {
    const auto text = constraint(rules_with_tools(ToolChoice::kAuto));
    ASSERT_TRUE(feed(*text, "some text"));
    EXPECT_GT(allowed_tokens(mask_of(*text, 1)).size(), 100'000u);
    Rng rng(15);
    for (int i = 0; i < 20; ++i) {
        const auto call = constraint(rules_with_tools(ToolChoice::kAuto));
        ASSERT_TRUE(feed(*call, "text\n\n" + kTag));
        const Sample made = sample(*call, 80, rng);
        std::vector<CallReader::Call> calls;
        ASSERT_TRUE(CallReader(kTag + made.text, Dialect::kV4).read(calls)) << made.text;
        expect_valid_calls(calls, rules_with_tools(ToolChoice::kAuto));
    }
}

TEST(OutputConstraint, WhatCannotFitIsNotHurried) {
    Rng rng(13);
    const auto output = constraint(rules_with_tools(ToolChoice::kRequired));
    const Sample made = sample(*output, 6, rng);  // fails if a mask is empty
    EXPECT_FALSE(made.finished);
    EXPECT_EQ(made.tokens, 6u);
}

TEST(OutputConstraint, TheShortestCallFitsItsOwnLength) {
    OutputRules rules;
    rules.tools = {{"f", "", false}};
    rules.tool_choice = ToolChoice::kRequired;
    const std::string text = "\n\n" + kTag + "tool_calls>\n" + kTag + "invoke name=\"f\">\n\n</" +
                             std::string(kDsml) + "invoke>\n</" + std::string(kDsml) +
                             "tool_calls>" + std::string(kEos);
    const auto num_tokens = static_cast<int64_t>(v4().encode(text).value().size());
    Rng rng(14);
    for (int i = 0; i < 20; ++i)
        expect_calls(sample(*constraint(rules), num_tokens + 6, rng), rules);
}

TEST(OutputConstraint, NoParameterTwice) {
    OutputRules rules;
    rules.tools = {{"f", R"({"properties":{"a":{"type":"string"}},"additionalProperties":true})"}};
    rules.tool_choice = ToolChoice::kRequired;
    const auto output = constraint(rules);
    const std::string close = "</" + std::string(kDsml) + "parameter>\n";
    const std::string invoke = kTag + "invoke name=\"f\">\n";
    const std::string open = kTag + "parameter name=\"";
    ASSERT_TRUE(feed(*output, "\n\n" + kTag + "tool_calls>\n" + invoke + open + "xy"));
    ASSERT_TRUE(feed(*output, "\" string=\"false\">1" + close + open + "xy"));
    EXPECT_FALSE(is_set(mask_of(*output), id("\"")));
    EXPECT_TRUE(feed(*output, "z\" string=\"true\">v" + close + open + "a\" string=\""));
    ASSERT_TRUE(feed(*output, "true\">v" + close + open + "a"));
    EXPECT_FALSE(is_set(mask_of(*output), id("\"")));
    EXPECT_TRUE(feed(*output, "b\" string=\"true\">" + close + "</" + std::string(kDsml)));
    // Another call has names of its own.
    EXPECT_TRUE(feed(*output, "invoke>\n" + invoke + open + "xy\" string=\"false\">null"));
}

TEST(OutputConstraint, TheFlagSaysWhichFormAValueHas) {
    OutputRules rules;
    rules.tools = {{"f", R"({"properties":{"s":{"type":"string"},"i":{"type":"integer"},
        "b":{"type":["string","null"]},"any":{}, "e":{"enum":["x",1]}}})"}};
    rules.tool_choice = ToolChoice::kRequired;
    const auto allowed = [&](const std::string& rest) {
        const auto output = constraint(rules);
        return feed(*output, "\n\n" + kTag + "tool_calls>\n" + kTag + "invoke name=\"f\">\n" +
                                 kTag + "parameter name=\"" + rest + "</" + std::string(kDsml) +
                                 "parameter>");
    };
    EXPECT_TRUE(allowed("s\" string=\"true\">a \"b\""));
    EXPECT_TRUE(allowed("s\" string=\"true\">"));
    EXPECT_FALSE(allowed("s\" string=\"false\">\"a\""));
    EXPECT_TRUE(allowed("i\" string=\"false\">-12"));
    EXPECT_FALSE(allowed("i\" string=\"true\">12"));
    EXPECT_TRUE(allowed("b\" string=\"true\">null"));
    EXPECT_TRUE(allowed("b\" string=\"false\">null"));
    EXPECT_FALSE(allowed("b\" string=\"false\">1"));
    EXPECT_TRUE(allowed("any\" string=\"true\">1"));
    EXPECT_TRUE(allowed("any\" string=\"false\">{\"a\": [1.5, \"x\"]}"));
    EXPECT_TRUE(allowed("e\" string=\"true\">x"));
    EXPECT_TRUE(allowed("e\" string=\"false\">1"));
    EXPECT_FALSE(allowed("e\" string=\"true\">1"));
    EXPECT_FALSE(allowed("other\" string=\"true\">1"));
}

TEST(OutputConstraint, IdsBeyondTheTokenizerAreNeverAllowed) {
    const auto vocabulary = make_vocabulary(v4(), v4().vocab_size() + 100);
    const auto output =
        make_output_constraint(vocabulary, rules_with_tools(ToolChoice::kAuto)).value();
    std::vector<uint64_t> bits((v4().vocab_size() + 100 + 63) / 64, ~uint64_t{0});
    output->restrict_next(bits, 100);
    for (const TokenId token : allowed_tokens(bits)) ASSERT_TRUE(v4().contains(token));
}

TEST(OutputConstraint, ErrorsNameWhatIsWrong) {
    struct Bad {
        OutputRules rules;
        ErrorCode code;
        const char* named;
    };
    OutputRules no_tools;
    no_tools.tool_choice = ToolChoice::kRequired;
    OutputRules unknown = rules_with_tools(ToolChoice::kNamed);
    unknown.named = "python";
    OutputRules strict = rules_with_tools(ToolChoice::kAuto);
    strict.tools.push_back(
        {"find", R"({"properties":{"q":{"type":"array","uniqueItems":true}}})", true});
    OutputRules text = rules_with_tools(ToolChoice::kAuto);
    text.tools[0].parameters = "{";
    OutputRules list = rules_with_tools(ToolChoice::kAuto);
    list.tools[0].parameters = R"({"type":"array"})";
    OutputRules name = rules_with_tools(ToolChoice::kAuto);
    name.tools[0].name = "a\"b";
    OutputRules json;
    json.json = JsonOutput::kSchema;
    json.json_schema = R"({"not":{}})";
    OutputRules empty;
    empty.json = JsonOutput::kSchema;
    OutputRules large = rules_with_tools(ToolChoice::kAuto);
    large.tools[0].parameters = "{\"description\":\"" + std::string(300'000, 'x') + "\"}";
    const Bad all[] = {{no_tools, ErrorCode::kInvalidArgument, "tool_choice"},
                       {unknown, ErrorCode::kInvalidArgument, "\"python\""},
                       {strict, ErrorCode::kUnsupported, "tool \"find\": parameters/properties/q"},
                       {strict, ErrorCode::kUnsupported, "uniqueItems"},
                       {text, ErrorCode::kInvalidArgument, "tool \"bash\": parameters: bad JSON"},
                       {list, ErrorCode::kInvalidArgument, "not an object's schema"},
                       {name, ErrorCode::kUnsupported, "name"},
                       {json, ErrorCode::kUnsupported, "response_format: schema: keyword \"not\""},
                       {empty, ErrorCode::kInvalidArgument, "response_format"},
                       {large, ErrorCode::kExhausted, "bytes"}};
    for (const Bad& bad : all) {
        const auto made = make_output_constraint(v4_vocabulary(), bad.rules);
        ASSERT_FALSE(made.has_value()) << bad.named;
        EXPECT_EQ(made.error().code, bad.code) << made.error().message;
        EXPECT_NE(made.error().message.find(bad.named), std::string::npos) << made.error().message;
    }
}

TEST(OutputConstraint, ATokenizerWithoutControlTokensIsRefused) {
    const auto small = Tokenizer::parse(dump_json(small_tokenizer_tree())).value();
    const auto vocabulary = make_vocabulary(small, small.vocab_size());
    const auto made = make_output_constraint(vocabulary, rules_with_tools(ToolChoice::kAuto));
    ASSERT_FALSE(made.has_value());
    EXPECT_EQ(made.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(made.error().message.find(kEos), std::string::npos);
}

}  // namespace
}  // namespace baleen
