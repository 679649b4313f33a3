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

}  // namespace
}  // namespace baleen
