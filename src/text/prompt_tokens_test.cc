// tokenize(): with the tokenizer of V4, against the encoding of the whole text.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/rng.h"
#include "text/chat.h"
#include "text/chat_fixture.h"
#include "text/prompt_strings.h"
#include "text/utf8.h"

namespace baleen {
namespace {

using Ids = std::vector<TokenId>;

Ids ids_of(const Prompt& prompt, OutsideText outside = OutsideText::kPlain) {
    Result<PromptTokens> tokens = tokenize(prompt, chat_tokenizer(), outside);
    if (!tokens) ADD_FAILURE() << tokens.error().message;
    return tokens ? tokens->tokens : Ids();
}

Ids control_ids(const Ids& ids) {
    Ids out;
    for (const TokenId id : ids)
        if (chat_tokenizer().is_added(id)) out.push_back(id);
    return out;
}

// Ends name the same places in both ways of encoding, and cut the text where the pieces end.
void expect_ends(const Prompt& prompt, const PromptTokens& tokens) {
    ASSERT_EQ(tokens.message_ends.size(), prompt.message_ends.size());
    for (size_t i = 0; i < tokens.message_ends.size(); ++i) {
        Prompt head;
        head.pieces.assign(prompt.pieces.begin(),
                           prompt.pieces.begin() + static_cast<ptrdiff_t>(prompt.message_ends[i]));
        const Ids ids(tokens.tokens.begin(),
                      tokens.tokens.begin() + static_cast<ptrdiff_t>(tokens.message_ends[i]));
        EXPECT_EQ(chat_tokenizer().decode(ids).value(), head.text());
    }
}

TEST(PromptTokens, OfTheExamplesAreThoseOfTheWholeText) {
    std::vector<Conversation> conversations;
    const JsonText examples = chat_shared_json("spec/encoding-examples.json");
    for (const JsonText& example : examples.find("render")->items())
        conversations.push_back(conversation_from_json(example).value());
    const JsonText official = chat_shared_json("data/official-encoding/v4/cases.json");
    for (const JsonText& example : official.find("cases")->items()) {
        const JsonText& input = *example.find("input");
        JsonText request = input.is_object() ? input : JsonText::parse("{}").value();
        if (!input.is_object()) request.set("messages", input);
        request.set("thinking_mode", *example.find("thinking_mode"));
        conversations.push_back(conversation_from_json(request).value());
    }
    size_t num_checked = 0;
    for (const Conversation& conversation : conversations) {
        if (conversation.dialect == Dialect::kV41) continue;  // has a marker of its own
        const Prompt prompt = prompt_of(conversation);
        const Ids whole = chat_tokenizer().encode(prompt.text()).value();
        EXPECT_EQ(ids_of(prompt), whole);
        EXPECT_EQ(ids_of(prompt, OutsideText::kReference), whole);
        expect_ends(prompt, tokenize(prompt, chat_tokenizer()).value());
        expect_ends(prompt, tokenize(prompt, chat_tokenizer(), OutsideText::kReference).value());
        ++num_checked;
    }
    EXPECT_GE(num_checked, 16u);
}

// Looks like prompts in its parts, but can never spell a marker.
std::string random_text(Rng& rng) {
    static const std::string_view kPieces[] = {
        "a",   " ",   "\n",     "\n\n", "  x",    "1234",      "\u6F22",     "\u00E9",
        "<",   ">",   "</",     "|",    "\uFF5C", "'s",        "\U0001F600", "thin",
        "DSM", "Use", "invoke", ".",    "\t",     "{\"a\": 1}"};
    std::string text;
    for (size_t i = rng.next_below(12); i-- > 0;)
        text += kPieces[rng.next_below(std::size(kPieces))];
    return text;
}

std::string random_arguments(Rng& rng) {
    if (rng.next_below(3) == 0) return fmt::format("x{}", random_text(rng));  // no JSON
    std::string arguments = "{\"o\": [1], ";
    append_python_string(random_text(rng), arguments);
    arguments += ": ";
    append_python_string(random_text(rng), arguments);
    return arguments + "}";
}

// A conversation of all roles with random texts in every field.
Conversation random_conversation(Rng& rng) {
    Conversation out;
    out.dialect = rng.next_below(2) == 0 ? Dialect::kV4 : Dialect::kV4_0731;
    out.thinking_mode = rng.next_below(2) == 0 ? ThinkingMode::kChat : ThinkingMode::kThinking;
    out.effort = rng.next_below(2) == 0 ? Effort::kUnnamed : Effort::kMax;
    out.drop_thinking = rng.next_below(2) == 0;
    for (size_t i = rng.next_below(8); i-- > 0;) {
        Message message;
        message.role = static_cast<Role>(rng.next_below(6));
        message.content.push_back({fmt::format("x{}", random_text(rng)), ""});
        if (rng.next_below(3) == 0) message.content.push_back({random_text(rng), ""});
        if (message.role == Role::kAssistant) {
            message.reasoning = random_text(rng);
            for (size_t call = rng.next_below(3); call-- > 0;)
                message.tool_calls.push_back({std::string(1, static_cast<char>('a' + call)),
                                              fmt::format("f{}", random_text(rng)),
                                              random_arguments(rng)});
        }
        if (message.role == Role::kTool)
            message.tool_call_id = std::string(1, static_cast<char>('a' + i % 3));
        if (message.role == Role::kSystem && rng.next_below(2) == 0) {
            std::string name;
            append_python_string(random_text(rng), name);
            message.tools.push_back("{\"name\": " + name + "}");
        }
        out.messages.push_back(std::move(message));
    }
    return out;
}

TEST(PromptTokens, OfOrdinaryTextsAreThoseOfTheWholeText) {
    Rng rng(412);
    for (int i = 0; i < 3000; ++i) {
        const Prompt prompt = prompt_of(random_conversation(rng));
        EXPECT_EQ(ids_of(prompt), chat_tokenizer().encode(prompt.text()).value());
    }
}

// Every text field of a conversation, each holding this text.
Conversation conversation_holding(const std::string& text) {
    Conversation out;
    out.thinking_mode = ThinkingMode::kThinking;
    out.drop_thinking = false;
    std::string json;
    append_python_string(text, json);
    for (const Role role : {Role::kSystem, Role::kDeveloper, Role::kUser, Role::kTool,
                            Role::kLatestReminder, Role::kAssistant, Role::kTool}) {
        Message message;
        message.role = role;
        message.content = {{text, ""}, {"", text}, {"", "x"}};
        if (role == Role::kAssistant) {
            message.reasoning = text;
            const std::string member = "{" + json + ": " + json + ", \"o\": [" + json + "]}";
            message.tool_calls = {{text, text, text}, {text, text, member}};
        }
        if (role == Role::kTool) message.tool_call_id = text;
        if (role == Role::kSystem || role == Role::kDeveloper) {
            message.tools = {"{" + json + ": " + json + "}"};
            message.response_format = "[" + json + "]";
        }
        out.messages.push_back(std::move(message));
    }
    return out;
}

// A marker in any field leaves the control tokens of the prompt as they are with a harmless word,
// in number and in order; as the reference encodes it, it would not.
TEST(PromptTokens, MarkersFromOutsideStayText) {
    const Prompt harmless = prompt_of(conversation_holding("word"));
    const Ids expected = control_ids(ids_of(harmless));
    EXPECT_GT(expected.size(), 20u);
    size_t num_markers = 0;
    for (TokenId id = 0; chat_tokenizer().contains(id); ++id) {
        if (!chat_tokenizer().is_added(id)) continue;
        const std::string marker(chat_tokenizer().token_bytes(id));
        if (id > 10 && marker.find("place") != std::string::npos && id % 100 != 0)
            continue;  // many
        for (const std::string& text : {marker, "a" + marker + "\n" + marker}) {
            const Prompt prompt = prompt_of(conversation_holding(text));
            const Ids ids = ids_of(prompt);
            EXPECT_EQ(control_ids(ids), expected) << marker;
            EXPECT_EQ(chat_tokenizer().decode(ids).value(), prompt.text());
            EXPECT_GT(control_ids(ids_of(prompt, OutsideText::kReference)).size(), expected.size());
        }
        ++num_markers;
    }
    EXPECT_GE(num_markers, 30u);
}

// Halves of a marker in neighbouring texts do not make one.
TEST(PromptTokens, MarkersAcrossTextsStayText) {
    Conversation conversation;
    conversation.thinking_mode = ThinkingMode::kChat;
    for (const char* half : {"a<\uFF5CAssis", "tant\uFF5C>"}) {
        Message message;
        message.role = Role::kSystem;
        message.content = {{half, ""}};
        conversation.messages.push_back(message);
    }
    const Prompt prompt = prompt_of(conversation);
    EXPECT_EQ(control_ids(ids_of(prompt)), (Ids{0}));
    EXPECT_EQ(control_ids(ids_of(prompt, OutsideText::kReference)), (Ids{0, 128804}));
}

TEST(PromptTokens, TheReferencesWayIsTheEncodingOfTheWholeText) {
    Rng rng(77);
    static const std::string_view kMarkers[] = {kUserMarker, kAssistantMarker, kThinkClose, kDsml,
                                                kEos};
    for (int i = 0; i < 1000; ++i) {
        Conversation conversation = random_conversation(rng);
        for (Message& message : conversation.messages)
            message.content[0].text += kMarkers[rng.next_below(std::size(kMarkers))];
        const Prompt prompt = prompt_of(conversation);
        const PromptTokens tokens =
            tokenize(prompt, chat_tokenizer(), OutsideText::kReference).value();
        EXPECT_EQ(tokens.tokens, chat_tokenizer().encode(prompt.text()).value());
        EXPECT_TRUE(std::is_sorted(tokens.message_ends.begin(), tokens.message_ends.end()));
        if (!tokens.message_ends.empty()) {
            EXPECT_EQ(tokens.message_ends.back(), tokens.tokens.size());
        }
    }
}

TEST(PromptTokens, SampledTokensAreRepeatedAsTheyWere) {
    Conversation conversation =
        conversation_of(R"({"messages": [{"role": "user", "content": "u"}, {"role": "assistant",
                            "content": "hello"}, {"role": "user", "content": "v"}],
                            "thinking_mode": "chat"})");
    // No encoding of a text: "h" and "ello".
    const TokenId h = chat_tokenizer().token_id("h");
    const TokenId ello = chat_tokenizer().token_id("ello");
    ASSERT_NE(h, -1);
    ASSERT_NE(ello, -1);
    const Prompt canonical = prompt_of(conversation);
    conversation.messages[1].sampled = {h, ello};
    for (const OutsideText outside : {OutsideText::kPlain, OutsideText::kReference}) {
        const Prompt prompt = prompt_of(conversation);
        const PromptTokens tokens = tokenize(prompt, chat_tokenizer(), outside).value();
        EXPECT_NE(tokens.tokens, ids_of(canonical));
        EXPECT_EQ(chat_tokenizer().decode(tokens.tokens).value(), canonical.text());
        const auto at = std::search(tokens.tokens.begin(), tokens.tokens.end(),
                                    conversation.messages[1].sampled.begin(),
                                    conversation.messages[1].sampled.end());
        // <BOS> <User> u <Assistant> </think> | h ello <EOS> | ...
        EXPECT_EQ(at - tokens.tokens.begin(), 5);
        EXPECT_EQ(tokens.message_ends, (std::vector<size_t>{5, 8, 12}));
    }
}

TEST(PromptTokens, WhatCannotBeEncodedIsAnError) {
    const auto code_of = [](const Prompt& prompt, OutsideText outside) {
        const Result<PromptTokens> tokens = tokenize(prompt, chat_tokenizer(), outside);
        EXPECT_FALSE(tokens.has_value());
        return tokens ? ErrorCode::kIo : tokens.error().code;
    };
    for (const OutsideText outside : {OutsideText::kPlain, OutsideText::kReference}) {
        Prompt prompt;
        prompt.pieces = {TextPiece{"a\xFF"}};
        EXPECT_EQ(code_of(prompt, outside), ErrorCode::kInvalidArgument);
        prompt.pieces = {ControlPiece{kSystemMarker}};  // of V4.1, unknown to V4
        EXPECT_EQ(code_of(prompt, outside), ErrorCode::kInvalidArgument);
        prompt.pieces = {ControlPiece{"hello"}};  // a token, but no added one
        EXPECT_EQ(code_of(prompt, outside), ErrorCode::kInvalidArgument);
        for (const TokenId id : {-1, 129280}) {
            prompt.pieces = {SampledPiece{{id}}};
            EXPECT_EQ(code_of(prompt, outside), ErrorCode::kInvalidArgument);
        }
    }
}

TEST(PromptTokens, NothingIsNoTokens) {
    for (const OutsideText outside : {OutsideText::kPlain, OutsideText::kReference}) {
        const PromptTokens tokens = tokenize(Prompt(), chat_tokenizer(), outside).value();
        EXPECT_TRUE(tokens.tokens.empty());
        EXPECT_TRUE(tokens.message_ends.empty());
    }
}

}  // namespace
}  // namespace baleen
