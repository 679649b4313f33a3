#include "text/output_constraint.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "text/call_grammar.h"
#include "text/grammar.h"
#include "text/grammar_cache.h"
#include "text/json_schema.h"
#include "text/repeated_names.h"
#include "text/token_mask.h"
#include "text/vocabulary.h"

namespace baleen {

// What all requests with the same rules share.
struct OutputGrammar {
    OutputGrammar(Grammar compiled, const Vocabulary& vocabulary)
        : grammar(std::move(compiled)), masks(grammar, vocabulary) {}

    Grammar grammar;
    LocalMasks masks;
};

namespace {

bool tools_may_be_called(const OutputRules& rules) {
    return rules.tool_choice != ToolChoice::kNone && !rules.tools.empty();
}
bool calls_are_required(const OutputRules& rules) {
    return rules.tool_choice == ToolChoice::kRequired || rules.tool_choice == ToolChoice::kNamed;
}
bool is_json(const OutputRules& rules) {
    return rules.json != JsonOutput::kNone && !calls_are_required(rules);
}
// The end of the text is not the model's own to choose.
bool has_form(const OutputRules& rules) {
    return calls_are_required(rules) || is_json(rules);
}

// Writes the rule of the whole output.
class OutputGrammarWriter {
  public:
    OutputGrammarWriter(const OutputRules& rules, const Vocabulary& vocabulary)
        : rules_(rules), vocabulary_(vocabulary) {}

    Result<Grammar> write();

  private:
    Result<void> add_tools();
    Result<void> add_answer(uint32_t from);
    Result<void> add_json(uint32_t from);
    // Free text from a state on: the states in which it may end, and those after a "<".
    struct FreeText {
        std::vector<uint32_t> ends, after_less_than;
    };
    FreeText add_free_text(uint32_t from, const Automaton& text);

    const OutputRules& rules_;
    const Vocabulary& vocabulary_;
    RuleSet set_;
    Automaton output_;
    uint32_t end_ = 0;     // after the end marker
    uint32_t block_ = 0;   // after a block's "<"
    uint32_t closed_ = 0;  // reasoning is closed
};

// Free text: what the parser would take for markers (section 13) is left out, though spelled by
// ordinary tokens. Where the form is promised, the strict parser wants UTF-8.
Result<Automaton> text_without_markers(bool reasoning, const OutputRules& rules) {
    if (has_form(rules) && reasoning)
        return intersection(utf8_text(),
                            without_texts(std::vector{kBos, kEos, kThinkOpen, kThinkClose, kDsml}));
    if (!tools_may_be_called(rules)) return any_bytes();
    static const std::string tag = fmt::format("<{}", kDsml);
    return without_texts(std::vector<std::string_view>{tag});
}

Result<void> OutputGrammarWriter::add_tools() {
    CallGrammar calls = TRY(CallGrammar::make(set_, rules_.dialect));
    const bool is_named = rules_.tool_choice == ToolChoice::kNamed;
    bool has_named = false;
    for (const ToolSchema& tool : rules_.tools) {
        if (is_named && (tool.name != rules_.named || has_named)) continue;
        has_named = true;
        TRY(calls.add_tool(tool));
    }
    if (!has_named)
        return make_error(ErrorCode::kInvalidArgument, "no tool is named \"{}\"", rules_.named);
    const bool parallel = rules_.parallel_calls && !is_named;
    const uint32_t after = TRY(calls.add_block(output_, block_, parallel));
    output_.add_edge(after, kSymbolEos, kSymbolEos, end_);
    return {};
}

OutputGrammarWriter::FreeText OutputGrammarWriter::add_free_text(uint32_t from,
                                                                 const Automaton& text) {
    FreeText result;
    const auto base = static_cast<uint32_t>(output_.states.size());
    output_.states.resize(base + text.states.size());
    output_.add_epsilon(from, base);
    for (uint32_t at = 0; at < text.states.size(); ++at) {
        for (const Automaton::Edge& edge : text.states[at].edges)
            output_.add_edge(base + at, edge.first, edge.last, base + edge.target);
        if (!text.states[at].accepting) continue;
        result.ends.push_back(base + at);
        output_.add_edge(base + at, kSymbolOther, kSymbolOther, base);
    }
    // A block may open by a "<" at any place.
    for (const uint32_t at : result.ends) {
        const uint32_t less_than = output_.add_state();
        output_.add_edge(at, '<', '<', less_than);
        result.after_less_than.push_back(less_than);
    }
    return result;
}

Result<void> OutputGrammarWriter::add_json(uint32_t from) {
    std::vector<std::string_view> forbidden = {kBos, kEos, kThinkOpen, kThinkClose, kDsml};
    const JsonRules json = TRY(JsonRules::make(set_, JsonLayout::kIndented, forbidden));
    const uint32_t line = output_.add_letter(from, '\n');
    const uint32_t begin = output_.add_letter(line, '\n');
    output_.add_epsilon(from, begin);
    output_.add_epsilon(line, begin);
    uint32_t after = 0;
    if (rules_.json == JsonOutput::kObject) {
        after = output_.add_call(begin, json.object());
    } else {
        if (rules_.json_schema.size() > kSchemaBytesMax)
            return make_error(ErrorCode::kExhausted, "the schema has {} bytes, at most {}",
                              rules_.json_schema.size(), kSchemaBytesMax);
        const Result<Json> schema = parse_json(rules_.json_schema);
        if (!schema) return make_error(ErrorCode::kInvalidArgument, "{}", schema.error().message);
        SchemaDocument document(*schema, {.strict = true, .ordered_members = true});
        SchemaCompiler compiler(document, json, set_);
        after = TRY(compiler.add_value(output_, begin, {&document.root()}, kAllTypes, "schema"));
        TRY(compiler.define_pending());
    }
    output_.add_edge(after, kSymbolEos, kSymbolEos, end_);
    return {};
}

Result<void> OutputGrammarWriter::add_answer(uint32_t from) {
    if (is_json(rules_)) {
        Result<void> added = add_json(from);
        if (!added) return std::move(added).error().in("response_format");
    }
    if (has_form(rules_)) {
        if (tools_may_be_called(rules_))
            output_.add_epsilon(output_.add_text(from, "\n\n<"), block_);
        return {};
    }
    const FreeText text = add_free_text(from, TRY(text_without_markers(false, rules_)));
    for (const uint32_t at : text.ends) output_.add_edge(at, kSymbolEos, kSymbolEos, end_);
    if (tools_may_be_called(rules_))
        for (const uint32_t at : text.after_less_than) output_.add_epsilon(at, block_);
    return {};
}

Result<Grammar> OutputGrammarWriter::write() {
    end_ = output_.add_state();
    output_.accept(end_);
    block_ = output_.add_state();
    closed_ = output_.add_state();
    if (tools_may_be_called(rules_)) TRY(add_tools());
    TRY(add_answer(closed_));
    if (rules_.in_reasoning) {
        const FreeText text = add_free_text(0, TRY(text_without_markers(true, rules_)));
        for (const uint32_t at : text.ends) {
            output_.add_edge(at, kSymbolThinkClose, kSymbolThinkClose, closed_);
            if (!has_form(rules_)) output_.add_edge(at, kSymbolEos, kSymbolEos, end_);
        }
        // The model may go straight from its reasoning to the calls.
        if (tools_may_be_called(rules_) && !has_form(rules_))
            for (const uint32_t at : text.after_less_than) output_.add_epsilon(at, block_);
    } else {
        output_.add_epsilon(0, closed_);
    }
    const uint32_t start = TRY(set_.add(output_));
    return Grammar::build(set_, start, vocabulary_);
}

Result<void> check_rules(const OutputRules& rules, const Vocabulary& vocabulary) {
    if (calls_are_required(rules) && rules.tools.empty())
        return make_error(ErrorCode::kInvalidArgument, "tool_choice needs a tool, there is none");
    const auto require = [&](Letter symbol, std::string_view text) -> Result<void> {
        if (!vocabulary.tokens_of(symbol).empty()) return {};
        return make_error(ErrorCode::kInvalidArgument, "the tokenizer has no control token {}",
                          text);
    };
    TRY(require(kSymbolEos, kEos));
    if (rules.in_reasoning) TRY(require(kSymbolThinkClose, kThinkClose));
    if (tools_may_be_called(rules)) TRY(require(kSymbolDsml, kDsml));
    return {};
}

// Everything that the grammar depends on.
std::string cache_key(const OutputRules& rules) {
    std::string key = fmt::format(
        "{} {} {} {} {} ", rules.in_reasoning, static_cast<int>(rules.dialect == Dialect::kV41),
        static_cast<int>(rules.tool_choice), rules.parallel_calls, static_cast<int>(rules.json));
    const auto add = [&key](const std::string& text) {
        key += fmt::format("{}:{}", text.size(), text);
    };
    add(rules.named);
    add(rules.json_schema);
    for (const ToolSchema& tool : rules.tools) {
        add(tool.name);
        add(tool.parameters);
        key += tool.strict ? '1' : '0';
    }
    return key;
}

class OutputConstraint final : public TokenConstraint {
  public:
    OutputConstraint(std::shared_ptr<const Vocabulary> vocabulary,
                     std::shared_ptr<OutputGrammar> grammar, const OutputRules& rules)
        : vocabulary_(std::move(vocabulary)),
          grammar_(std::move(grammar)),
          run_(grammar_->grammar, *vocabulary_, grammar_->masks),
          names_(*vocabulary_, rules.dialect),
          in_reasoning_(rules.in_reasoning),
          has_form_(has_form(rules)),
          reasoning_tokens_max_(rules.reasoning_tokens_max) {
        if (in_reasoning_) answer_ = run_.distance_after(kSymbolThinkClose);
    }

    Restriction restrict_next(std::span<uint64_t> allowed, int64_t remaining) override {
        if (run_.is_finished()) return Restriction::kFinished;
        if (in_reasoning_ && must_close(remaining)) {
            close_reasoning(allowed);
            return Restriction::kMasked;
        }
        // Free text may be cut anywhere; forms are finished in time. One token is kept for a name
        // that must not end yet because it would repeat another.
        run_.mask(allowed, has_form_ ? remaining - 2 : kNoHurry);
        names_.mask(allowed);
        return Restriction::kMasked;
    }

    void accept(TokenId token) override {
        CHECK(run_.accept(token));
        names_.accept(token);
        const Letter symbol = vocabulary_->symbol(token);
        if (symbol == kSymbolThinkClose || symbol == kSymbolDsml) in_reasoning_ = false;
        if (symbol == kSymbolDsml) has_form_ = true;
        if (in_reasoning_) ++reasoning_tokens_;
    }

  private:
    // Most tokens that reasoning leaves to the answer beyond what it needs at least.
    static constexpr int64_t kReserveMax = 1024;
    static constexpr int64_t kNoHurry = INT64_MAX / 2;

    // Most tokens that a character takes beyond its first.
    static constexpr int64_t kRestOfCharacter = 3;

    bool must_close(int64_t remaining) {
        if (reserve_ < 0) reserve_ = std::min(remaining / 2, kReserveMax);
        if (reasoning_tokens_max_ > 0 && reasoning_tokens_ >= reasoning_tokens_max_) return true;
        return has_form_ && remaining <= 1 + kRestOfCharacter + answer_ + reserve_;
    }

    void close_reasoning(std::span<uint64_t> allowed) {
        if (!run_.allows(kSymbolThinkClose)) {  // within a character
            run_.mask(allowed, int64_t{run_.distance()} - 1);
            return;
        }
        std::fill(allowed.begin(), allowed.end(), 0);
        for (const TokenId token : vocabulary_->tokens_of(kSymbolThinkClose)) {
            const auto at = static_cast<size_t>(token);
            allowed[at / 64] |= uint64_t{1} << (at % 64);
        }
    }

    std::shared_ptr<const Vocabulary> vocabulary_;
    std::shared_ptr<OutputGrammar> grammar_;
    GrammarRun run_;
    RepeatedNames names_;
    bool in_reasoning_;
    bool has_form_;  // from here on: a call, or JSON
    int64_t reasoning_tokens_max_;
    int64_t reasoning_tokens_ = 0;
    int64_t reserve_ = -1;  // set by the first call
    int64_t answer_ = 0;    // tokens that suffice after the reasoning
};

}  // namespace

std::shared_ptr<const Vocabulary> make_vocabulary(const Tokenizer& tokenizer, size_t vocab_size) {
    return std::make_shared<const Vocabulary>(tokenizer, vocab_size);
}

Result<std::unique_ptr<TokenConstraint>> make_output_constraint(
    std::shared_ptr<const Vocabulary> vocabulary, const OutputRules& rules) {
    TRY(check_rules(rules, *vocabulary));
    std::string key = cache_key(rules);
    std::shared_ptr<OutputGrammar> grammar = vocabulary->cache().find(key);
    if (grammar == nullptr) {
        Grammar compiled = TRY(OutputGrammarWriter(rules, *vocabulary).write());
        grammar = std::make_shared<OutputGrammar>(std::move(compiled), *vocabulary);
        vocabulary->cache().insert(std::move(key), grammar);
    }
    return std::unique_ptr<TokenConstraint>(
        std::make_unique<OutputConstraint>(std::move(vocabulary), std::move(grammar), rules));
}

}  // namespace baleen
