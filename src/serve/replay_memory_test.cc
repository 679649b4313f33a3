#include "serve/replay_memory.h"

#include <gtest/gtest.h>

namespace baleen::serve {
namespace {

Message user(std::string text) {
    return {.role = Role::kUser, .content = {{std::move(text), ""}}};
}

// What a client sends back of an answer: no reasoning, other spacing.
Message sent_back(std::string content, std::string id = "", std::string arguments = "") {
    Message message{.role = Role::kAssistant, .content = {{std::move(content), ""}}};
    if (!id.empty())
        message.tool_calls.push_back(
            {.id = std::move(id), .name = "bash", .arguments = std::move(arguments)});
    return message;
}

SampledAnswer answer(std::string content, std::string arguments = "") {
    SampledAnswer answer{.tokens = {1, 2, 3},
                         .message = {.reasoning = "why", .content = std::move(content)}};
    if (!arguments.empty())
        answer.message.tool_calls.push_back(
            {.name = "bash", .arguments = std::move(arguments), .complete = true});
    return answer;
}

TEST(ReplayMemory, FindsByCallIdWhateverTheSpelling) {
    ReplayMemory memory(1 << 20);
    memory.remember(answer("Look.\n", R"({"a": 1, "b": [1, 2]})"), {"call_1"});
    Conversation conversation{
        .messages = {user("x"), sent_back("Look.", "call_1", R"({"b":[1,2],"a":1})")}};
    EXPECT_EQ(memory.recall(conversation, {}), 1u);
    EXPECT_EQ(conversation.messages[1].sampled, (std::vector<TokenId>{1, 2, 3}));
}

TEST(ReplayMemory, AnEditedCallKeepsItsEditAndGetsItsReasoning) {
    ReplayMemory memory(1 << 20);
    memory.remember(answer("", R"({"a": 1})"), {"call_1"});
    Conversation conversation{.messages = {user("x"), sent_back("", "call_1", R"({"a": 2})")}};
    EXPECT_EQ(memory.recall(conversation, {}), 0u);
    EXPECT_TRUE(conversation.messages[1].sampled.empty());
    EXPECT_EQ(conversation.messages[1].reasoning, "why");
}

TEST(ReplayMemory, FindsBySealAndByPlace) {
    ReplayMemory memory(1 << 20);
    const std::vector<Message> before = {user("x")};
    memory.remember(answer("A"), {"seal", memory.place_after(before, answer("A").message)});
    Conversation by_seal{.messages = {user("other"), sent_back("A")}};
    EXPECT_EQ(memory.recall(by_seal, {{}, {"seal"}}), 1u);
    Conversation by_place{.messages = {user("x"), sent_back("A")}};
    EXPECT_EQ(memory.recall(by_place, {}), 1u);
    Conversation elsewhere{.messages = {user("other"), sent_back("A")}};
    EXPECT_EQ(memory.recall(elsewhere, {}), 0u);
}

TEST(ReplayMemory, AnotherModeIsAnotherAnswer) {
    ReplayMemory memory(1 << 20);
    memory.remember(answer("A"), {"seal"});
    Conversation conversation{.messages = {user("x"), sent_back("A")},
                              .thinking_mode = ThinkingMode::kChat};
    EXPECT_EQ(memory.recall(conversation, {{}, {"seal"}}), 0u);
}

TEST(ReplayMemory, AnIdThatStandsTwiceFindsNothing) {
    ReplayMemory memory(1 << 20);
    memory.remember(answer("", R"({"a": 1})"), {"call_1"});
    Conversation conversation{.messages = {user("x"), sent_back("", "call_1", R"({"a": 1})"),
                                           user("y"), sent_back("", "call_1", R"({"a": 1})")}};
    EXPECT_EQ(memory.recall(conversation, {}), 0u);
    EXPECT_EQ(conversation.messages[1].reasoning, "");
}

TEST(ReplayMemory, TheLeastRecentlyUsedGoFirst) {
    const size_t one = answer("x").bytes() + 2 * 2 + 64;
    ReplayMemory memory(3 * one);
    for (const char* key : {"k0", "k1", "k2"}) memory.remember(answer("x"), {key});
    Conversation conversation{.messages = {sent_back("x")}};
    EXPECT_EQ(memory.recall(conversation, {{"k0"}}), 1u);  // k0 was used last
    memory.remember(answer("x"), {"k3"});
    EXPECT_EQ(memory.size(), 3u);
    EXPECT_LE(memory.bytes(), 3 * one);
    for (const auto& [key, found] :
         std::vector<std::pair<std::string, size_t>>{{"k0", 1}, {"k1", 0}, {"k2", 1}, {"k3", 1}}) {
        Conversation again{.messages = {sent_back("x")}};
        EXPECT_EQ(memory.recall(again, {{key}}), found) << key;
    }
}

TEST(ReplayMemory, AnEntryLargerThanTheMemoryIsNotKept) {
    ReplayMemory memory(100);
    memory.remember(answer(std::string(1000, 'x')), {"key"});
    EXPECT_EQ(memory.size(), 0u);
    EXPECT_EQ(memory.bytes(), 0u);
}

TEST(ReplayMemory, PlacesDependOnEverythingVisibleAndOnTheKey) {
    const KeyedHash::Key key = KeyedHash::random_key();
    const std::vector<Message> base = {user("a"), sent_back("b", "id", R"({"x": 1})"), user("c")};
    const auto last = [&](const std::vector<Message>& messages) {
        return place_hashes(key, messages).back().hex();
    };
    auto changed = base;
    changed[1].tool_calls[0].id = "other";
    changed[1].tool_calls[0].arguments = R"({"x":1})";
    changed[1].reasoning = "not visible";
    changed[1].content[0].text = "b\n";
    EXPECT_EQ(last(base), last(changed));
    changed[1].tool_calls[0].arguments = R"({"x":2})";
    EXPECT_NE(last(base), last(changed));
    changed = base;
    changed[0].role = Role::kSystem;
    EXPECT_NE(last(base), last(changed));
    EXPECT_NE(last(base), place_hashes(KeyedHash::random_key(), base).back().hex());
}

}  // namespace
}  // namespace baleen::serve
