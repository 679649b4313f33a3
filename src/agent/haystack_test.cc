#include "agent/haystack.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "text/chat.h"

namespace baleen::agent {
namespace {

constexpr const char* kTokenizer = "models/pocket/tokenizer.json";  // tests run in the source root

// Lines that differ, so that a piece of the text can be found in a prompt.
std::string long_text() {
    std::string text;
    for (int i = 0; i < 400; ++i) text += fmt::format("Line {} of a text about nothing.\n", i);
    return text;
}

class HaystackTest : public testing::Test {
  protected:
    HaystackMaker maker(const HaystackOptions& options) const {
        return HaystackMaker::create(tokenizer_, long_text(), options).value();
    }
    std::string text(std::span<const TokenId> tokens) const {
        return tokenizer_.decode(tokens).value();
    }
    Tokenizer tokenizer_ = Tokenizer::load(kTokenizer).value();
};

TEST_F(HaystackTest, PromptsAreAsLongAsAsked) {
    for (const HaystackPlace place : {HaystackPlace::kSystem, HaystackPlace::kUser})
        for (const int64_t length : {200, 1000, 4096, 20000}) {
            Rng rng(1);
            const Haystack haystack = maker({.place = place}).make(length, rng).value();
            for (const Fact& fact : haystack.facts)
                EXPECT_EQ(haystack.tokens.size() + fact.question.size(),
                          static_cast<size_t>(length));
        }
}

TEST_F(HaystackTest, FactsStandWhereTheyAreSaidToAtLineBeginnings) {
    Rng rng(2);
    const Haystack haystack = maker({}).make(20000, rng).value();
    EXPECT_EQ(haystack.facts.size(), 43u);  // 2.2 * 20000 / 1024
    int64_t before = 0;
    for (const Fact& fact : haystack.facts) {
        EXPECT_GT(fact.position, before);
        before = fact.position;
        const std::span<const TokenId> rest =
            std::span(haystack.tokens).subspan(static_cast<size_t>(fact.position));
        EXPECT_TRUE(std::ranges::equal(rest.first(fact.line.size()), fact.line));
        EXPECT_TRUE(fact.position == 1 ||
                    text(std::span(haystack.tokens).first(static_cast<size_t>(fact.position)))
                        .ends_with('\n'));
    }
    EXPECT_GT(haystack.facts.back().position, 15000);
    EXPECT_LT(haystack.facts.front().position, 5000);
}

TEST_F(HaystackTest, TextsAreThoseOfTheTraining) {
    Rng rng(3);
    const Haystack haystack = maker({}).make(1000, rng).value();
    for (const Fact& fact : haystack.facts) {
        const std::string line = text(fact.line);
        EXPECT_TRUE(line.starts_with("The code of " + fact.key + " is ")) << line;
        EXPECT_EQ(text(fact.question), std::string(kUserMarker) + "What is the code of " +
                                           fact.key + "?" + std::string(kAssistantMarker) +
                                           std::string(kThinkClose));
        EXPECT_EQ(text(fact.answer) + "\n",
                  line.substr(0, line.size() - 1) + std::string(kEos) + "\n");
        EXPECT_EQ(fact.answer.size(), fact.value_idx + 4);  // two words, the full stop, the end
    }
}

// Question and prompt are the tokens that the chat encoding gives for such a conversation.
TEST_F(HaystackTest, QuestionsAreRenderedAsTheChatEncodingDoes) {
    for (const HaystackPlace place : {HaystackPlace::kSystem, HaystackPlace::kUser}) {
        Rng rng(4);
        const Haystack haystack = maker({.place = place}).make(600, rng).value();
        const Fact& fact = haystack.facts.front();
        const std::string question = "What is the code of " + fact.key + "?";
        const size_t opening = place == HaystackPlace::kSystem ? 1 : 2;
        const std::string hay = text(std::span(haystack.tokens).subspan(opening));
        Conversation conversation{.thinking_mode = ThinkingMode::kChat};
        if (place == HaystackPlace::kSystem)
            conversation.messages = {{.role = Role::kSystem, .content = {{.text = hay}}},
                                     {.role = Role::kUser, .content = {{.text = question}}}};
        else
            conversation.messages = {{.role = Role::kUser, .content = {{.text = hay + question}}}};
        std::vector<TokenId> prompt = haystack.tokens;
        prompt.insert(prompt.end(), fact.question.begin(), fact.question.end());
        EXPECT_EQ(text(prompt), render(conversation).value().text(&tokenizer_));
    }
}

TEST_F(HaystackTest, KeysDifferAndShareWords) {
    Rng rng(5);
    const Haystack haystack = maker({.facts_per_1k = 10}).make(20000, rng).value();
    std::set<std::string> keys, firsts;
    for (const Fact& fact : haystack.facts) {
        EXPECT_TRUE(keys.insert(fact.key).second) << fact.key;
        firsts.insert(fact.key.substr(0, fact.key.find(' ')));
    }
    EXPECT_LT(firsts.size(), keys.size() * 2 / 3);
    EXPECT_GT(firsts.size(), keys.size() / 3);
}

TEST_F(HaystackTest, ValuesAreOfTheKindAsked) {
    const auto count_digits = [&](FactValues values) {
        Rng rng(6);
        const Haystack haystack =
            maker({.facts_per_1k = 10, .values = values}).make(20000, rng).value();
        size_t digits = 0;
        for (const Fact& fact : haystack.facts) {
            const std::string line = text(fact.line);
            const std::string value = line.substr(line.find(" is ") + 4);
            const bool is_number = std::isdigit(static_cast<unsigned char>(value[0])) != 0;
            if (is_number) {
                EXPECT_EQ(value.size(), 6u) << line;  // four digits, full stop, newline
                EXPECT_NE(text({&fact.answer[fact.value_idx], 1}), " ");
            }
            digits += is_number ? 1 : 0;
        }
        return std::pair(digits, haystack.facts.size());
    };
    EXPECT_EQ(count_digits(FactValues::kWords).first, 0u);
    const auto [all, facts] = count_digits(FactValues::kDigits);
    EXPECT_EQ(all, facts);
    const auto [some, of] = count_digits(FactValues::kBoth);
    EXPECT_GT(some, of / 10);
    EXPECT_LT(some, of / 3);
}

TEST_F(HaystackTest, TheSameForTheSameSeedOnly) {
    const HaystackMaker m = maker({});
    Rng a(7), b(7), c(8);
    const Haystack first = m.make(5000, a).value();
    EXPECT_EQ(first.tokens, m.make(5000, b).value().tokens);
    EXPECT_NE(first.tokens, m.make(5000, c).value().tokens);
}

TEST_F(HaystackTest, AShortTextIsRepeated) {
    const HaystackMaker m = HaystackMaker::create(tokenizer_, "One line.\n", {}).value();
    Rng rng(9);
    EXPECT_EQ(m.make(3000, rng).value().facts.size(), 6u);
}

TEST_F(HaystackTest, RefusesWhatHasNoRoomOrNoText) {
    Rng rng(10);
    const auto tight = maker({}).make(20, rng);
    ASSERT_FALSE(tight);
    EXPECT_NE(tight.error().message.find("20 tokens"), std::string::npos) << tight.error().message;
    EXPECT_FALSE(HaystackMaker::create(tokenizer_, "", {}));
    EXPECT_FALSE(HaystackMaker::create(tokenizer_, "\xFF", {}));
}

}  // namespace
}  // namespace baleen::agent
