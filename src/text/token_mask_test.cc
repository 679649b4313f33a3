#include "text/token_mask.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "base/rng.h"
#include "text/call_grammar.h"
#include "text/json_rules.h"
#include "text/tokenizer_fixture.h"

namespace baleen {
namespace {

// A second opinion on a grammar: sets of stacks, each a list of states, stepped without any
// memory. Slow and plain.
class PlainRun {
  public:
    explicit PlainRun(const Grammar& grammar) : grammar_(grammar) {
        stacks_ = entered({{grammar.start()}});
    }
    bool step(Letter letter) {
        std::set<Stack> next;
        for (const Stack& stack : stacks_) {
            if (stack.empty()) continue;
            for (const Grammar::Edge& edge : grammar_.edges(stack.back())) {
                if (letter < edge.first || letter > edge.last) continue;
                Stack moved = stack;
                moved.back() = edge.target;
                next.insert(moved);
            }
        }
        stacks_ = entered(next);
        return !stacks_.empty();
    }
    // Tokens that surely suffice: the least over the stacks.
    uint64_t distance() const {
        uint64_t least = UINT64_MAX;
        for (const Stack& stack : stacks_) {
            uint64_t sum = 0;
            for (const uint32_t state : stack) sum += grammar_.distance(state);
            least = std::min(least, sum);
        }
        return least;
    }

  private:
    using Stack = std::vector<uint32_t>;
    std::set<Stack> entered(const std::set<Stack>& kernel) const {
        std::set<Stack> all;
        std::vector<Stack> pending(kernel.begin(), kernel.end());
        while (!pending.empty()) {
            const Stack stack = pending.back();
            pending.pop_back();
            if (!all.insert(stack).second || stack.empty()) continue;
            const uint32_t top = stack.back();
            Stack below = stack;
            below.pop_back();
            if (grammar_.ends_rule(top)) pending.push_back(below);
            for (const Grammar::Call& call : grammar_.calls(top)) {
                Stack deeper = below;
                deeper.push_back(call.target);
                deeper.push_back(call.start);
                pending.push_back(deeper);
            }
        }
        return all;
    }

    const Grammar& grammar_;
    std::set<Stack> stacks_;
};

Grammar any_json(const Vocabulary& vocabulary, JsonLayout layout) {
    RuleSet set;
    const JsonRules json = JsonRules::make(set, layout, {"bad"}).value();
    Automaton start;
    start.accept(start.add_call(0, json.any()));
    const uint32_t rule = set.add(start).value();
    return Grammar::build(set, rule, vocabulary).value();
}

Grammar calls(const Vocabulary& vocabulary) {
    RuleSet set;
    CallGrammar grammar = CallGrammar::make(set, Dialect::kV4).value();
    const char* schema = R"({"properties":{"a":{"type":"string"},"ab":{"type":"integer"},
        "o":{"properties":{"x":{"enum":["p","pq",1]},"y":{}}}},"required":["ab"],
        "additionalProperties":{"type":["string","boolean"]}})";
    EXPECT_TRUE(grammar.add_tool({"get", schema, false}).has_value());
    EXPECT_TRUE(grammar.add_tool({"get_all", "", false}).has_value());
    Automaton start;
    start.accept(grammar.add_block(start, start.add_text(0, "<"), true).value());
    const uint32_t rule = set.add(start).value();
    return Grammar::build(set, rule, vocabulary).value();
}

class MaskCheck {
  public:
    MaskCheck(const Grammar& grammar, const Vocabulary& vocabulary, uint64_t seed)
        : grammar_(grammar), vocabulary_(vocabulary), masks_(grammar, vocabulary), rng_(seed) {}

    // Follows random texts and compares masks with what the plain run says of single tokens:
    // of all when there are few, else of those allowed and of random others.
    void follow(int tokens_max) {
        GrammarRun run(grammar_, vocabulary_, masks_);
        PlainRun plain(grammar_);
        for (int left = tokens_max; left > 0 && !run.is_finished(); --left) {
            const bool is_tight = rng_.next_below(2) == 0;
            const int64_t tight =
                std::max<int64_t>(1, run.distance()) + static_cast<int64_t>(rng_.next_below(4));
            const int64_t tokens_left = is_tight ? tight : 1000;
            std::vector<uint64_t> bits(vocabulary_.mask_words(), ~uint64_t{0});
            run.mask(bits, tokens_left - 1);
            expect_same(plain, bits, tokens_left - 1);
            if (testing::Test::HasFatalFailure()) return;
            const TokenId token = random_token(bits);
            ASSERT_GE(token, 0);
            ASSERT_TRUE(run.accept(token));
            ASSERT_TRUE(step(plain, token));
            ++num_steps;
        }
    }

    int num_steps = 0;

  private:
    bool step(PlainRun& plain, TokenId token) const {
        if (const Letter symbol = vocabulary_.symbol(token); symbol != 0) return plain.step(symbol);
        for (const char c : vocabulary_.bytes(token))
            if (!plain.step(static_cast<uint8_t>(c))) return false;
        return !vocabulary_.bytes(token).empty();
    }
    static bool is_set(const std::vector<uint64_t>& bits, size_t at) {
        return (bits[at / 64] >> (at % 64) & 1) != 0;
    }
    void expect_same(const PlainRun& plain, const std::vector<uint64_t>& bits, int64_t left) {
        const size_t size = vocabulary_.size();
        std::vector<size_t> checked;
        for (size_t at = 0; at < size; ++at)
            if (size < 1000 || (is_set(bits, at) && rng_.next_below(size) < 600))
                checked.push_back(at);
        for (int i = 0; i < 600; ++i) checked.push_back(rng_.next_below(size));
        for (const size_t at : checked) {
            PlainRun after = plain;
            const bool may_come = step(after, static_cast<TokenId>(at)) &&
                                  after.distance() <= static_cast<uint64_t>(left);
            ASSERT_EQ(is_set(bits, at), may_come)
                << "token " << at << ": " << vocabulary_.bytes(static_cast<TokenId>(at));
        }
    }
    TokenId random_token(const std::vector<uint64_t>& bits) {
        std::vector<TokenId> tokens;
        for (size_t at = 0; at < vocabulary_.size(); ++at)
            if (is_set(bits, at)) tokens.push_back(static_cast<TokenId>(at));
        return tokens.empty() ? -1 : tokens[rng_.next_below(tokens.size())];
    }

    const Grammar& grammar_;
    const Vocabulary& vocabulary_;
    LocalMasks masks_;
    Rng rng_;
};

// Bytes, tokens that end and begin frames in their middle, and control tokens.
const Vocabulary& small_vocabulary() {
    static const Vocabulary vocabulary = [] {
        Json tree = small_tokenizer_tree();
        Json& vocab = tree["model"]["vocab"];
        const Json bos = tree["added_tokens"][0];
        int id = bos["id"].get<int>() + 1;
        const auto spelled = [](const char* text) {
            std::string symbols;
            for (const char* c = text; *c != 0; ++c)
                symbols += byte_symbol(static_cast<uint8_t>(*c));
            return symbols;
        };
        for (const char* text :
             {"\",",  "\", \"", "\":",      "\": \"", "\"}",     "\"}]",     "]]",
              "[[",   "[[[",    "{\"",      "[\"",    "}}",      ",1",       "12",
              "1,",   "1}",     "true,",    "null]",  "[]",      "[],[",     "{}",
              "ad",   "bad",    "\">",      "=\"",    "name=\"", "</",       "\"\"",
              "\\u",  "e1",     "\xEF\xBD", "\\\"",   "get_",    "false\">", "a\" string=\"",
              "ab\"", ">\n",    ">\n<",     ">\n</"})
            vocab[spelled(text)] = id++;
        tree["added_tokens"] = Json::array({bos});
        for (const std::string_view text : {kDsml, kThinkClose, kEos, kBos, kThinkOpen})
            tree["added_tokens"].push_back(small_added_token(id++, std::string(text), false));
        return Vocabulary(Tokenizer::parse(dump_json(tree)).value(), 340);
    }();
    return vocabulary;
}

const Vocabulary& v4_vocabulary() {
    static const Vocabulary vocabulary = [] {
        const char* shared = std::getenv("BALEEN_SHARED");
        const std::string folder = shared != nullptr ? shared : "../shared";
        return Vocabulary(Tokenizer::load(folder + "/data/deepseek-v4-tokenizer.json").value(),
                          129'280);
    }();
    return vocabulary;
}

TEST(TokenMask, AgreesWithAPlainRunOverASmallVocabulary) {
    for (const JsonLayout layout : {JsonLayout::kCompact, JsonLayout::kIndented}) {
        const Grammar grammar = any_json(small_vocabulary(), layout);
        MaskCheck check(grammar, small_vocabulary(), 5);
        for (int i = 0; i < 60 && !HasFatalFailure(); ++i) check.follow(40);
        EXPECT_GT(check.num_steps, 300);
    }
}

TEST(TokenMask, AgreesWithAPlainRunInCalls) {
    const Grammar grammar = calls(small_vocabulary());
    MaskCheck check(grammar, small_vocabulary(), 6);
    for (int i = 0; i < 25 && !HasFatalFailure(); ++i) check.follow(150);
    EXPECT_GT(check.num_steps, 1000);
}

TEST(TokenMask, AgreesWithAPlainRunOverTheWholeVocabulary) {
    const Grammar json = any_json(v4_vocabulary(), JsonLayout::kIndented);
    MaskCheck json_check(json, v4_vocabulary(), 7);
    for (int i = 0; i < 12 && !HasFatalFailure(); ++i) json_check.follow(12);
    EXPECT_GT(json_check.num_steps, 30);
    const Grammar block = calls(v4_vocabulary());
    MaskCheck call_check(block, v4_vocabulary(), 8);
    for (int i = 0; i < 3 && !HasFatalFailure(); ++i) call_check.follow(60);
    EXPECT_GT(call_check.num_steps, 50);
}

// Every mask can be followed to an end within the distance that was named.
TEST(TokenMask, DistanceSuffices) {
    const Grammar grammar = calls(v4_vocabulary());
    LocalMasks masks(grammar, v4_vocabulary());
    Rng rng(9);
    for (int i = 0; i < 10; ++i) {
        GrammarRun run(grammar, v4_vocabulary(), masks);
        int64_t left = int64_t{run.distance()} + static_cast<int64_t>(rng.next_below(30));
        for (; left > 0 && !run.is_finished(); --left) {
            std::vector<uint64_t> bits(v4_vocabulary().mask_words(), ~uint64_t{0});
            run.mask(bits, left - 1);
            std::vector<TokenId> tokens;
            for (size_t at = 0; at < v4_vocabulary().size(); ++at)
                if (bits[at / 64] >> (at % 64) & 1) tokens.push_back(static_cast<TokenId>(at));
            ASSERT_FALSE(tokens.empty());
            ASSERT_TRUE(run.accept(tokens[rng.next_below(tokens.size())]));
        }
        EXPECT_TRUE(run.is_finished());
    }
}

// The shortest call, in bytes, is several times what it is in tokens.
TEST(TokenMask, DistancesCountTokensNotBytes) {
    const Grammar grammar = calls(v4_vocabulary());
    LocalMasks masks(grammar, v4_vocabulary());
    const GrammarRun run(grammar, v4_vocabulary(), masks);
    EXPECT_LT(run.distance(), 45u);
    EXPECT_GT(run.distance(), 15u);
}

TEST(TokenMask, ManyConfigurationsAreForgottenWithoutHarm) {
    const Grammar grammar = any_json(small_vocabulary(), JsonLayout::kCompact);
    LocalMasks masks(grammar, small_vocabulary());
    GrammarRun run(grammar, small_vocabulary(), masks);
    Rng rng(10);
    std::string brackets = "[";
    ASSERT_TRUE(run.accept('['));
    std::set<std::string> seen;
    std::vector<uint64_t> bits(small_vocabulary().mask_words());
    // Arrays and objects nested at random: more stacks than are remembered.
    for (int i = 0; i < 40'000; ++i) {
        const bool opens = brackets.size() < 2 || (brackets.size() < 40 && rng.next_below(2) == 0);
        std::string text;
        if (opens) {
            const bool is_list = rng.next_below(2) == 0;
            text = is_list ? "[" : "{\"\":";
            brackets += text[0];
        } else {
            text = std::string("1") + (brackets.back() == '{' ? '}' : ']');
            brackets.pop_back();
            text += brackets.back() == '{' ? ",\"\":" : ",";
        }
        seen.insert(brackets);
        for (const char c : text) {
            std::fill(bits.begin(), bits.end(), ~uint64_t{0});
            run.mask(bits, 1'000'000);
            const auto byte = static_cast<uint8_t>(c);
            ASSERT_NE(bits[byte / 64] >> (byte % 64) & 1, 0u) << brackets;
            ASSERT_TRUE(run.accept(byte));
        }
    }
    EXPECT_GT(seen.size(), 5'000u);
}

}  // namespace
}  // namespace baleen
