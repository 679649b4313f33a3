#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"
#include "text/completion_parser_fixture.h"

namespace baleen {
namespace {

const std::string kEnd(kEos);
const std::string kClose(kThinkClose);

Json read_shared(const std::string& name) {
    const char* shared = std::getenv("BALEEN_SHARED");
    const std::string path = std::string(shared != nullptr ? shared : "../shared") + "/" + name;
    return parse_json(read_file(path, size_t{16} << 20).value()).value();
}

void expect_case(const Json& test) {
    SCOPED_TRACE(test["id"].get<std::string>());
    const bool thinks = test["thinking_mode"] == "thinking";
    const auto message = parse_strict(test["completion"].get<std::string>(),
                                      thinks ? ThinkingMode::kThinking : ThinkingMode::kChat);
    if (test.contains("reference_error")) {
        EXPECT_FALSE(message.has_value());
        return;
    }
    ASSERT_TRUE(message.has_value()) << message.error().message;
    const Json& expected = test["expected"];
    EXPECT_EQ(message->reasoning, expected["reasoning_content"]);
    EXPECT_EQ(message->content, expected["content"]);
    ASSERT_EQ(message->tool_calls.size(), expected["tool_calls"].size());
    for (size_t i = 0; i < message->tool_calls.size(); ++i) {
        const Json& function = expected["tool_calls"][i]["function"];
        EXPECT_EQ(message->tool_calls[i].name, function["name"]);
        EXPECT_EQ(message->tool_calls[i].arguments, function["arguments"]);
        EXPECT_TRUE(message->tool_calls[i].complete);
    }
}

TEST(StrictParser, GivesThePublishedExamples) {
    const Json examples = read_shared("spec/encoding-examples.json");
    for (const Json& test : examples["parse"]) expect_case(test);
    const Json official = read_shared("data/official-encoding/v4/parse_cases.json");
    for (const Json& test : official["cases"]) expect_case(test);
    EXPECT_GE(examples["parse"].size() + official["cases"].size(), 8u);
}

// A well-formed text with everything in it.
std::string full_text() {
    return "Think <b>.\n" + kClose + "Doing it.\n\n\n" +
           write_dsml({{"run", {{"cmd", "ls 2>&1 </p> \"x\"\n"}, {"n", " 3 ", false}}},
                       {"now", {}},
                       {"now", {{"a b", ""}}}}) +
           kEnd;
}

TEST(StrictParser, TrimsNothing) {
    const ParsedMessage message = parse_strict(full_text(), ThinkingMode::kThinking).value();
    EXPECT_EQ(shown(message), R"(["Think <b>.\n","Doing it.\n",[["run",)"
                              R"("{\"cmd\": \"ls 2>&1 </p> \\\"x\\\"\\n\", \"n\":  3 }",true],)"
                              R"(["now","{}",true],["now","{\"a b\": \"\"}",true]]])");
}

TEST(StrictParser, TakesV41TagsOnlyInV41) {
    const std::string text = "ok\n\n" + write_dsml({{"f", {{"a", "1"}}}}, std::string(kDsml), true);
    const auto message = parse_strict(text, ThinkingMode::kChat, Dialect::kV41);
    ASSERT_TRUE(message.has_value()) << message.error().message;
    EXPECT_EQ(shown(*message), R"(["","ok",[["f","{\"a\": \"1\"}",true]]])");
    EXPECT_FALSE(parse_strict(text, ThinkingMode::kChat, Dialect::kV4).has_value());
    EXPECT_FALSE(
        parse_strict("ok\n\n" + write_dsml({{"f", {}}}), ThinkingMode::kChat, Dialect::kV41)
            .has_value());
}

TEST(StrictParser, DoesNotCheckOtherValues) {
    const std::string text = std::string("\n\n") + write_dsml({{"f", {{"a", "nope", false}}}});
    EXPECT_EQ(parse_strict(text, ThinkingMode::kChat)->tool_calls[0].arguments, R"({"a": nope})");
}

TEST(StrictParser, EscapesOnlyWhatJsonMust) {
    const std::string text =
        std::string("\n\n") + write_dsml({{"f", {{"\"", "\x01\x7F/\u2028\U0001F389\\"}}}});
    EXPECT_EQ(parse_strict(text, ThinkingMode::kChat)->tool_calls[0].arguments,
              "{\"\\\"\": \"\\u0001\x7F/\u2028\U0001F389\\\\\"}");
}

TEST(StrictParser, TakesBothSpellingsOfNoParameters) {
    for (const char* lines : {"\n", "\n\n"}) {
        const std::string text = std::string("\n\n<\uFF5CDSML\uFF5Ctool_calls>\n") +
                                 "<\uFF5CDSML\uFF5Cinvoke name=\"f\">" + lines +
                                 "</\uFF5CDSML\uFF5Cinvoke>\n</\uFF5CDSML\uFF5Ctool_calls>";
        const auto message = parse_strict(text, ThinkingMode::kChat);
        ASSERT_TRUE(message.has_value()) << message.error().message;
        EXPECT_EQ(shown(*message), R"(["","",[["f","{}",true]]])");
    }
}

struct Refusal {
    const char* why;
    std::string text;
    const char* says;
};

std::string replaced(std::string text, const std::string& what, const std::string& by) {
    const size_t at = text.find(what);
    EXPECT_NE(at, std::string::npos) << what;
    return text.substr(0, at).append(by).append(text, at + what.size());
}

std::vector<Refusal> refusals() {
    const std::string block = write_dsml({{"f", {{"a", "1"}, {"b", "2", false}}}});
    const std::string good = "t" + kClose + "c\n\n" + block + kEnd;
    const auto bad = [&](const char* what, const char* by) { return replaced(good, what, by); };
    const char* dsml = "\uFF5CDSML\uFF5C";
    return {
        {"no </think>", "thoughts" + kEnd, "missing </think>"},
        {"block before </think>", "t\n\n" + block + kEnd, "missing </think>"},
        {"no EOS after a plain answer", "t" + kClose + "c", "missing <"},
        {"text after the block", good.substr(0, good.size() - kEnd.size()) + "x" + kEnd, "after"},
        {"a newline after the block", good.substr(0, good.size() - kEnd.size()) + "\n" + kEnd,
         "after"},
        {"text after EOS", good + "x", "text after <"},
        {"two EOS", good + kEnd, "text after <"},
        {"text after EOS of an answer", "t" + kClose + "c" + kEnd + " ", "text after <"},
        {"one newline before the block", bad("c\n\n", "c\n"), "in the content"},
        {"no newline before the block", bad("c\n\n", "c"), "in the content"},
        {"block never closes", bad("\n</\uFF5CDSML\uFF5Ctool_calls>", ""), "never closes"},
        {"call never closes", bad("\n</\uFF5CDSML\uFF5Cinvoke>", ""), "never closes"},
        {"value never closes",
         replaced(bad("1</\uFF5CDSML\uFF5Cparameter>", "1"), "</\uFF5CDSML\uFF5Cparameter>", ""),
         "never closes"},
        {"no newline after the block's name", bad("tool_calls>\n", "tool_calls>"), "newline"},
        {"two newlines after the block's name", bad("tool_calls>\n", "tool_calls>\n\n"), "newline"},
        {"no newline after a call's tag", bad("\"f\">\n", "\"f\">"), "newline"},
        {"no newline between parameters",
         bad("1</\uFF5CDSML\uFF5Cparameter>\n", "1</\uFF5CDSML\uFF5Cparameter>"), "newline"},
        {"no newline after a call", bad("invoke>\n", "invoke>"), "newline"},
        {"string=\"True\"", bad("string=\"true\"", "string=\"True\""), "string="},
        {"no string attribute", bad(" string=\"true\"", ""), "string="},
        {"attributes reordered", bad("name=\"a\" string=\"true\"", "string=\"true\" name=\"a\""),
         "name="},
        {"no name attribute of a call", bad("invoke name=\"f\"", "invoke"), "name="},
        {"closing slash without its bracket", bad("1</", "1/"), "string="},
        {"the same parameter twice", bad("name=\"b\"", "name=\"a\""), "twice"},
        {"a second </think>", "t" + kClose + "c" + kClose + "d" + kEnd, "in the content"},
        {"an echoed <think>", "<think>t" + kClose + "c" + kEnd, "in the reasoning"},
        {"a BOS in the content", "t" + kClose + std::string(kBos) + kEnd, "in the content"},
        {"an EOS in the reasoning", "t" + kEnd + kClose + "c" + kEnd, "in the reasoning"},
        {"a marker in the reasoning", std::string("t") + dsml + kClose + "c" + kEnd,
         "in the reasoning"},
        {"another block's name", bad("<\uFF5CDSML\uFF5Ctool_calls", "<\uFF5CDSML\uFF5Ctoolcalls"),
         "in the content"},
        {"a longer block's name", bad("tool_calls>\n", "tool_calls_x>\n"), "newline"},
        {"doubled bars", bad("<\uFF5CDSML\uFF5Ctool", "<\uFF5C\uFF5CDSML\uFF5C\uFF5Ctool"),
         "in the content"},
        {"two blocks", good.substr(0, good.size() - kEnd.size()) + "\n\n" + block + kEnd, "after"},
        {"no UTF-8", "t" + kClose + "\xFF" + kEnd, "UTF-8"},
        {"nothing", "", "missing </think>"},
    };
}

TEST(StrictParser, RefusesEverythingElse) {
    for (const Refusal& refusal : refusals()) {
        SCOPED_TRACE(refusal.why);
        const auto message = parse_strict(refusal.text, ThinkingMode::kThinking);
        ASSERT_FALSE(message.has_value()) << shown(*message);
        EXPECT_EQ(message.error().code, ErrorCode::kInvalidArgument);
        EXPECT_NE(message.error().message.find(refusal.says), std::string::npos)
            << message.error().message;
        EXPECT_NE(message.error().message.find(" at byte "), std::string::npos);
        EXPECT_EQ(message.error().message.find('\n'), std::string::npos);
    }
}

TEST(StrictParser, RefusesReasoningInChatMode) {
    EXPECT_FALSE(parse_strict("t" + kClose + "c" + kEnd, ThinkingMode::kChat).has_value());
}

TEST(StrictParser, AnErrorNamesTheByte) {
    const std::string text = "t" + kClose + "abc<think>" + kEnd;
    EXPECT_EQ(parse_strict(text, ThinkingMode::kThinking).error().message,
              "<think> in the content at byte 12");
}

// Only the end marker after a block may be missing.
TEST(StrictParser, RefusesATextCutAtAnyByte) {
    const std::string text = full_text();
    const std::string whole = shown(*parse_strict(text, ThinkingMode::kThinking));
    for (size_t size = 0; size < text.size(); ++size) {
        const auto message = parse_strict(text.substr(0, size), ThinkingMode::kThinking);
        if (size == text.size() - kEnd.size())
            EXPECT_EQ(shown(message.value()), whole);
        else
            EXPECT_FALSE(message.has_value()) << size;
    }
}

// Whatever a changed byte makes of the text, the parser answers, and what it accepts is a message.
TEST(StrictParser, SurvivesEveryChangedByte) {
    const std::string text = full_text();
    for (size_t i = 0; i < text.size(); ++i) {
        for (const char byte : {'\0', '\n', '<', '>', '"', '/', '\x80', '\xEF'}) {
            std::string changed = text;
            changed[i] = byte;
            const auto message = parse_strict(changed, ThinkingMode::kThinking);
            if (!message) continue;
            for (const ParsedCall& call : message->tool_calls) EXPECT_TRUE(call.complete);
        }
    }
}

// Would not end within a test's time limit if every call searched the rest of the text.
TEST(StrictParser, TakesLinearTimeInTheNumberOfCalls) {
    const std::vector<DsmlCall> calls(50000, DsmlCall{"f", {}});
    const auto message = parse_strict(std::string("\n\n") + write_dsml(calls), ThinkingMode::kChat);
    EXPECT_EQ(message->tool_calls.size(), calls.size());
}

}  // namespace
}  // namespace baleen
