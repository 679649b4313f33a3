// libFuzzer entry for text/output_constraint. The first byte chooses where the rest stands: as a
// tool's parameters, strict or not, or as the schema of a JSON answer. What compiles must be
// followable: no empty mask, an end within the budget when it fits, and JSON that parses.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "base/rng.h"
#include "text/output_constraint.h"
#include "text/tokenizer_fixture.h"

namespace baleen {
namespace {

const Tokenizer& tokenizer() {
    static const Tokenizer made = [] {
        Json tree = small_tokenizer_tree();
        int id = static_cast<int>(tree["added_tokens"].back()["id"].get<int>());
        for (const std::string_view text : {kEos, kDsml, kThinkOpen, kThinkClose})
            tree["added_tokens"].push_back(small_added_token(++id, std::string(text), false));
        return Tokenizer::parse(dump_json(tree)).value();
    }();
    return made;
}

OutputRules rules_of(uint8_t choice, std::string_view schema) {
    OutputRules rules;
    if (choice % 3 == 0) {
        rules.json = JsonOutput::kSchema;
        rules.json_schema = schema;
        return rules;
    }
    rules.tool_choice = ToolChoice::kRequired;
    rules.parallel_calls = false;
    rules.tools = {{"f", std::string(schema), choice % 3 == 1}};
    return rules;
}

// A random token of those allowed.
TokenId draw(const std::vector<uint64_t>& bits, Rng& rng) {
    std::vector<TokenId> tokens;
    for (size_t at = 0; at < bits.size() * 64; ++at)
        if (bits[at / 64] >> (at % 64) & 1) tokens.push_back(static_cast<TokenId>(at));
    CHECK(!tokens.empty());
    return tokens[rng.next_below(tokens.size())];
}

void follow(TokenConstraint& output, bool is_json, uint64_t seed) {
    constexpr int64_t kTokensMax = 400;
    Rng rng(seed);
    std::string text;
    for (int64_t remaining = kTokensMax; remaining > 0; --remaining) {
        std::vector<uint64_t> bits((tokenizer().vocab_size() + 63) / 64, ~uint64_t{0});
        const auto restriction = output.restrict_next(bits, remaining);
        if (restriction == TokenConstraint::Restriction::kFinished) {
            CHECK(text.ends_with(kEos));
            text.resize(text.size() - kEos.size());
            CHECK(!is_json || parse_json(text).has_value());
            return;
        }
        const TokenId token = draw(bits, rng);
        text += tokenizer().token_bytes(token);
        output.accept(token);
    }
}

void run(uint8_t choice, std::string_view schema) {
    // A vocabulary of its own: its cache of grammars would only grow.
    const auto vocabulary = make_vocabulary(tokenizer(), tokenizer().vocab_size());
    const OutputRules rules = rules_of(choice, schema);
    for (uint64_t seed = 0; seed < 2; ++seed) {
        const auto output = make_output_constraint(vocabulary, rules);
        if (!output) {
            CHECK(!output.error().message.empty());
            return;
        }
        follow(**output, rules.json == JsonOutput::kSchema, seed);
    }
}

}  // namespace
}  // namespace baleen

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
    if (size == 0) return 0;
    baleen::run(bytes[0], {reinterpret_cast<const char*>(bytes) + 1, size - 1});
    return 0;
}
