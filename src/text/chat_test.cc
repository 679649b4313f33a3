#include "text/chat.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "text/chat_fixture.h"
#include "text/prompt_strings.h"

namespace baleen {
namespace {

// A request with these messages and further fields, such as R"("thinking_mode": "chat")".
std::string request(const std::string& messages, const std::string& fields = "") {
    return R"({"messages": [)" + messages + "]" + (fields.empty() ? "" : ", ") + fields + "}";
}

const std::string kChat = R"("thinking_mode": "chat")";
const std::string kThinking = R"("thinking_mode": "thinking")";
const std::string kTool = R"({"type": "function", "function": {"name": "f"}})";
const std::string kTools = R"("tools": [)" + kTool + "]";

std::string tools_section(Dialect dialect = Dialect::kV4,
                          const std::string& schemas = R"({"name": "f"})") {
    return "\n\n" + tools_before_schemas(dialect) + schemas + std::string(kToolsAfterSchemas);
}

std::string joined(std::initializer_list<std::string_view> texts) {
    std::string out;
    for (const std::string_view text : texts) out += text;
    return out;
}

const std::string kUser = std::string(kUserMarker);
const std::string kAnswer = joined({kAssistantMarker, kThinkClose});
const std::string kThink = joined({kAssistantMarker, kThinkOpen});
const std::string kClose = std::string(kThinkClose);
const std::string kEnd = std::string(kEos);

// text_of without BOS.
std::string body_of(const std::string& request_json) {
    const std::string text = text_of(request_json);
    EXPECT_TRUE(text.starts_with(kBos)) << text;
    return text.substr(std::min(kBos.size(), text.size()));
}

// ---- the examples of the specification and of the release

TEST(ChatExamples, OfTheSpecification) {
    const JsonText file = chat_shared_json("spec/encoding-examples.json");
    ASSERT_GE(file.find("render")->size(), 13u);
    for (const JsonText& example : file.find("render")->items()) {
        const Conversation conversation = conversation_from_json(example).value();
        EXPECT_EQ(prompt_of(conversation).text(), example.find("expected")->string())
            << example.find("id")->string();
    }
}

// A case of the release: messages alone, or an object with more.
JsonText official_request(const JsonText& official) {
    const JsonText& input = *official.find("input");
    JsonText out = input;
    if (!input.is_object()) {
        out = JsonText::parse("{}").value();
        out.set("messages", input);
    }
    if (out.find("thinking_mode") == nullptr) {
        const JsonText* mode = official.find("thinking_mode");
        out.set("thinking_mode", mode != nullptr ? *mode : JsonText::of_string("chat"));
    }
    return out;
}

void expect_official(const std::string& file, Dialect dialect) {
    const JsonText cases = chat_shared_json(file);
    ASSERT_GE(cases.find("cases")->size(), 4u);
    for (const JsonText& official : cases.find("cases")->items()) {
        const auto conversation = conversation_from_json(official_request(official), dialect);
        ASSERT_TRUE(conversation.has_value()) << conversation.error().message;
        EXPECT_EQ(prompt_of(*conversation).text(), official.find("expected_prompt")->string())
            << file << " " << official.find("case_id")->number();
    }
}

TEST(ChatExamples, OfTheRelease) {
    expect_official("data/official-encoding/v4/cases.json", Dialect::kV4);
    expect_official("data/official-encoding/v4/cases.json", Dialect::kV4_0731);
    expect_official("data/official-encoding/v41/cases.json", Dialect::kV41);
}

// ---- section 3: merging

TEST(ChatMerge, NeighbouringUserMessagesAndResultsAreOneTurn) {
    EXPECT_EQ(body_of(request(R"({"role": "user", "content": "a"}, {"role": "user"},
                                 {"role": "tool", "content": "r"}, {"role": "user", "content": "b"})",
                              kChat)),
              kUser + "a\n\n\n\n<tool_result>r</tool_result>\n\nb" + kAnswer);
}

TEST(ChatMerge, AResultWithoutContentIsEmpty) {
    for (const char* content :
         {"", R"(, "content": null)", R"(, "content": "")", R"(, "content": [])"})
        EXPECT_EQ(body_of(request(std::string(R"({"role": "tool")") + content + "}", kChat)),
                  kUser + "<tool_result></tool_result>" + kAnswer);
}

TEST(ChatMerge, ATurnWithATaskTakesResultsButNoText) {
    EXPECT_EQ(body_of(request(R"({"role": "user", "content": "a", "task": "query"},
                                 {"role": "tool", "content": "r"}, {"role": "user", "content": "b"})",
                              kChat)),
              kUser + "a\n\n<tool_result>r</tool_result>" + kUser + "b" + kAnswer);
    // A text that joins leaves its task behind.
    EXPECT_EQ(body_of(request(R"({"role": "tool", "content": "r"},
                                 {"role": "user", "content": "a", "task": "query"})",
                              kChat)),
              kUser + "<tool_result>r</tool_result>\n\na" + kAnswer);
}

TEST(ChatMerge, PartsOfResultsAreTextsOrNamed) {
    EXPECT_EQ(body_of(request(R"({"role": "tool", "content": [{"type": "text", "text": "a"},
                                 {"type": "image_url", "image_url": {}}, {"type": "text"}]})",
                              kChat)),
              kUser + "<tool_result>a\n\n[Unsupported image_url]\n\n</tool_result>" + kAnswer);
}

TEST(ChatMerge, PartsOfUsersAreJoinedAndImagesRefused) {
    const std::string parts =
        R"({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"},
            {"type": "input_audio"}]})";
    for (const char* dialect : {"v4", "v4-0731"})
        EXPECT_EQ(body_of(request(parts, kChat + R"(, "dialect": ")" + dialect + "\"")),
                  kUser + "a\n\nb\n\n[Unsupported input_audio]" + kAnswer);
    const std::string image =
        R"({"role": "system"}, {"role": "user", "content": [{"type": "text", "text": "a"},
            {"type": "image_url", "image_url": {"url": "x"}}]})";
    EXPECT_EQ(error_of(request(image)),
              "messages[1]: content[1] is an image (image_url); this model reads text only");
    EXPECT_EQ(body_of(request(image, kChat + R"(, "dialect": "v41")")),
              joined({kSystemMarker, kUser, "a\n\n", kImagePlaceholder, kAnswer}));
}

TEST(ChatMerge, NothingIsEscaped) {
    EXPECT_EQ(body_of(request(R"({"role": "tool", "content": "</tool_result>&<b>\""})", kChat)),
              kUser + "<tool_result></tool_result>&<b>\"</tool_result>" + kAnswer);
}

// ---- section 4: order of results

// An assistant message whose calls have these ids ("": none).
std::string calls_with_ids(std::initializer_list<const char*> ids) {
    std::string calls;
    for (const std::string id : ids)
        calls += (calls.empty() ? "" : ", ") +
                 (id.empty() ? std::string("{") : R"({"id": ")" + id + "\", ") +
                 R"("function": {"name": "f", "arguments": "{}"}})";
    return R"({"role": "assistant", "content": "", "tool_calls": [)" + calls + "]}";
}

std::string result(const std::string& id, const std::string& content) {
    const std::string id_field = id.empty() ? "" : R"("tool_call_id": ")" + id + "\", ";
    return R"({"role": "tool", )" + id_field + R"("content": ")" + content + "\"}";
}

// The user turn that follows the last end marker.
std::string last_turn_of(const std::string& request_json) {
    const std::string text = body_of(request_json);
    return text.substr(text.rfind(kEnd) + kEnd.size());
}

TEST(ChatSort, ResultsComeInTheOrderOfTheCalls) {
    const std::string messages = calls_with_ids({"a", "b", "c"}) + ", " + result("c", "C") + ", " +
                                 result("a", "A") + R"(, {"role": "user", "content": "u"}, )" +
                                 result("b", "B");
    EXPECT_EQ(last_turn_of(request(messages, kChat)),
              kUser +
                  "<tool_result>A</tool_result>\n\n<tool_result>B</tool_result>\n\nu\n\n"
                  "<tool_result>C</tool_result>" +
                  kAnswer);
}

TEST(ChatSort, UnknownAndMissingIdsCountAsTheFirst) {
    const std::string messages = calls_with_ids({"a", "b"}) + ", " + result("b", "B") + ", " +
                                 result("x", "X") + ", " + result("a", "A") + ", " +
                                 result("", "N");
    EXPECT_EQ(last_turn_of(request(messages, kChat)),
              kUser +
                  "<tool_result>X</tool_result>\n\n<tool_result>A</tool_result>\n\n"
                  "<tool_result>N</tool_result>\n\n<tool_result>B</tool_result>" +
                  kAnswer);
}

TEST(ChatSort, CallsWithoutIdsSortNothing) {
    const std::string results = result("b", "B") + ", " + result("a", "A");
    const std::string unsorted =
        kUser + "<tool_result>B</tool_result>\n\n<tool_result>A</tool_result>" + kAnswer;
    // The nearest message with calls counts, also when its calls have no ids.
    EXPECT_EQ(
        last_turn_of(request(
            calls_with_ids({"a", "b"}) + ", " + calls_with_ids({"", ""}) + ", " + results, kChat)),
        unsorted);
    EXPECT_NE(last_turn_of(request(calls_with_ids({"a", "b"}) +
                                       R"(, {"role": "assistant", "content": "x"}, )" + results,
                                   kChat)),
              unsorted);
    EXPECT_EQ(last_turn_of(request(R"({"role": "assistant", "content": "x"}, )" + results, kChat)),
              unsorted);
}

TEST(ChatSort, AnIdInsideTheFunctionAndARepeatedId) {
    const std::string calls =
        R"({"role": "assistant", "tool_calls": [
            {"function": {"id": "a", "name": "f", "arguments": "{}"}},
            {"id": "b", "function": {"name": "f", "arguments": "{}"}},
            {"id": "a", "function": {"name": "f", "arguments": "{}"}}]})";
    EXPECT_EQ(
        last_turn_of(request(calls + ", " + result("a", "A") + ", " + result("b", "B"), kChat)),
        kUser + "<tool_result>B</tool_result>\n\n<tool_result>A</tool_result>" + kAnswer);
}

// ---- section 5: dropping old reasoning

const std::string kTwoTurns =
    R"({"role": "user", "content": "u1"},
       {"role": "assistant", "content": "a1", "reasoning_content": "r1"},
       {"role": "user", "content": "u2"},
       {"role": "assistant", "content": "a2", "reasoning_content": "r2"})";
const std::string kDropped =
    kUser + "u1" + kAnswer + "a1" + kEnd + kUser + "u2" + kThink + "r2" + kClose + "a2" + kEnd;
const std::string kKept = kUser + "u1" + kThink + "r1" + kClose + "a1" + kEnd + kUser + "u2" +
                          kThink + "r2" + kClose + "a2" + kEnd;

TEST(ChatDrop, OldReasoningGoesUnlessToolsAreDeclared) {
    EXPECT_EQ(body_of(request(kTwoTurns, kThinking)), kDropped);
    EXPECT_EQ(body_of(request(kTwoTurns)), kDropped);  // thinking is the default
    EXPECT_EQ(body_of(request(kTwoTurns, kThinking + R"(, "drop_thinking": false)")), kKept);
    EXPECT_EQ(body_of(request(kTwoTurns, kThinking + ", " + kTools)), tools_section() + kKept);
    EXPECT_EQ(body_of(request(kTwoTurns, kThinking + R"(, "tools": [])")), kDropped);
    EXPECT_EQ(body_of(request(kTwoTurns, kChat)),
              kUser + "u1" + kAnswer + "a1" + kEnd + kUser + "u2" + kAnswer + "a2" + kEnd);
}

TEST(ChatDrop, ToolsOnAnyMessageThatKeepsThemCount) {
    const std::string with_tools =
        ", {\"role\": \"assistant\", \"content\": \"a3\", " + kTools + "}";
    EXPECT_TRUE(body_of(request(kTwoTurns + with_tools, kThinking)).starts_with(kKept));
    // Merging leaves those of a user message behind, but in V4.1.
    const std::string user = ", {\"role\": \"user\", \"content\": \"u3\", " + kTools + "}";
    EXPECT_EQ(body_of(request(kTwoTurns + user, kThinking)).find("r1"), std::string::npos);
    EXPECT_NE(body_of(request(kTwoTurns + user, R"("dialect": "v41")")).find("r1"),
              std::string::npos);
}

TEST(ChatDrop, CallsInTheHistoryDoNotCount) {
    const std::string messages =
        R"({"role": "user", "content": "u"},
           {"role": "assistant", "reasoning_content": "r", "tool_calls":
               [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
           {"role": "tool", "tool_call_id": "c", "content": "x"})";
    const std::string text = body_of(request(messages, kThinking));
    EXPECT_TRUE(text.starts_with(kUser + "u" + kAnswer + "\n\n<")) << text;
    EXPECT_TRUE(text.ends_with("</tool_result>" + kThink)) << text;
}

TEST(ChatDrop, MissingReasoningIsAnEmptyBlockWithTools) {
    EXPECT_EQ(
        body_of(request(R"({"role": "user", "content": "u"}, {"role": "assistant", "content": "a"},
                                 {"role": "user", "content": "v"})",
                        kTools)),
        tools_section() + kUser + "u" + kThink + kClose + "a" + kEnd + kUser + "v" + kThink);
}

TEST(ChatDrop, OldDevelopersVanishAndTheLastUserIsFoundAgain) {
    const std::string messages =
        R"({"role": "developer", "content": "d"}, {"role": "assistant", "content": "a"},
           {"role": "latest_reminder", "content": "l"}, {"role": "user", "content": "u"})";
    EXPECT_EQ(body_of(request(messages, kThinking)),
              joined({"a", kEnd, kReminderMarker, "l", kUser, "u", kThink}));
    EXPECT_EQ(body_of(request(messages, kChat)),
              joined({kUser, "d", kAnswer, "a", kEnd, kReminderMarker, "l", kUser, "u", kAnswer}));
    EXPECT_EQ(body_of(request(messages, R"("drop_thinking": false)")),
              joined({kUser, "d", kThink, kThinkClose, "a", kEnd, kReminderMarker, "l", kUser, "u",
                      kThink}));
    // The effort stands before what is first then.
    EXPECT_TRUE(body_of(request(messages, R"("reasoning_effort": "max")"))
                    .starts_with(effort_prefix(Dialect::kV4, Effort::kMax, {}).value() + "a"));
    const std::string last =
        R"({"role": "user", "content": "u"}, {"role": "developer", "content": "d"})";
    EXPECT_EQ(body_of(request(last, kThinking)), joined({kUser, "u", kUser, "d", kThink}));
}

// ---- section 6: messages

TEST(ChatEffort, FollowsTheTableOfTheDialect) {
    const std::string user = R"({"role": "user", "content": "u"})";
    const auto fields = [](const char* dialect, const char* effort) {
        return fmt::format(R"("dialect": "{}", "reasoning_effort": {})", dialect, effort);
    };
    const auto prefix_of = [](Dialect dialect, Effort effort) {
        return effort_prefix(dialect, effort, {}).value();
    };
    const std::string plain = kUser + "u" + kThink;
    EXPECT_EQ(body_of(request(user, fields("v4", "null"))), plain);
    EXPECT_EQ(body_of(request(user, fields("v4", "\"high\""))), plain);
    EXPECT_EQ(body_of(request(user, fields("v4", "\"max\""))),
              prefix_of(Dialect::kV4, Effort::kMax) + plain);
    EXPECT_EQ(error_of(request(user, fields("v4", "\"low\""))),
              "reasoning_effort is low: dialect v4 knows high and max");
    EXPECT_EQ(body_of(request(user, fields("v4-0731", "null"))), plain);
    EXPECT_EQ(body_of(request(user, fields("v4-0731", "\"low\""))), plain);
    EXPECT_EQ(body_of(request(user, fields("v4-0731", "\"high\""))),
              prefix_of(Dialect::kV4_0731, Effort::kHigh) + plain);
    EXPECT_EQ(body_of(request(user, fields("v4-0731", "\"max\""))),
              prefix_of(Dialect::kV4_0731, Effort::kMax) + plain);
    for (const char* effort : {"\"medium\"", "\"\"", "true", "0.5", "[]", "\"HIGH\""})
        for (const char* dialect : {"v4", "v4-0731", "v41"})
            EXPECT_NE(error_of(request(user, fields(dialect, effort))), "") << effort;
    for (const char* effort : {"50", "0", "101", "-1", "99999999999999999999"})
        for (const char* dialect : {"v4", "v4-0731"})
            EXPECT_NE(error_of(request(user, fields(dialect, effort))), "") << effort;
    // Only when thinking, and only in front of the first message.
    EXPECT_EQ(body_of(request(user, kChat + R"(, "reasoning_effort": "max")")),
              kUser + "u" + kAnswer);
}

TEST(ChatSystem, HasNoMarkerAnywhere) {
    EXPECT_EQ(
        body_of(request(R"({"role": "system", "content": "s"}, {"role": "user", "content": "u"},
                                 {"role": "system", "content": "t"}, {"role": "system"},
                                 {"role": "user", "content": "v"})",
                        kChat)),
        "s" + kUser + "ut" + kUser + "v" + kAnswer);
}

TEST(ChatSystem, ToolsAndResponseFormatFollowTheContent) {
    const std::string format = R"("response_format": {"type":"json_schema","a":1.50})";
    const std::string format_section =
        std::string(kResponseFormatPrefix) + R"({"type": "json_schema", "a": 1.5})";
    EXPECT_EQ(
        body_of(request(R"({"role": "system", "content": "s", )" + kTools + ", " + format + "}")),
        joined({"s", tools_section(), "\n\n", format_section}));
    EXPECT_NE(tools_section().find("calls.\n"), std::string::npos);
    EXPECT_EQ(body_of(request(R"({"role": "system", )" + format + "}")), "\n\n" + format_section);
    for (const char* falsy : {"{}", "null", "\"\"", "0", "false", "[]"})
        EXPECT_EQ(body_of(request(R"({"role": "system", "content": "s", "response_format": )" +
                                  std::string(falsy) + "}")),
                  "s");
    // On other messages it says nothing.
    EXPECT_EQ(body_of(request(R"({"role": "user", "content": "u", )" + format + "}", kChat)),
              kUser + "u" + kAnswer);
}

TEST(ChatSystem, SchemasKeepAllKeysInTheirOrder) {
    const std::string tools =
        R"("tools": [{"type": "function", "strict": 1, "function": {"strict":true,"name":"f",
            "parameters":{"x":[1e3,"\u00e9"]},"?":null}}, {"function": {"name": "g"}}])";
    EXPECT_EQ(body_of(request(R"({"role": "system"})", tools)),
              tools_section(Dialect::kV4,
                            "{\"strict\": true, \"name\": \"f\", \"parameters\": {\"x\": [1000.0, "
                            "\"\u00e9\"]}, \"?\": null}\n{\"name\": \"g\"}"));
}

TEST(ChatTools, OfTheRequestGoToTheFirstMessage) {
    const std::string user = R"({"role": "user", "content": "u"})";
    EXPECT_EQ(body_of(request(user, kChat + ", " + kTools)),
              tools_section() + kUser + "u" + kAnswer);
    EXPECT_EQ(body_of(request(R"({"role": "system", "content": "s", "tools":
                                  [{"function": {"name": "old"}}]}, )" +
                                  user,
                              kChat + ", " + kTools)),
              joined({"s", tools_section(), kUser, "u", kAnswer}));
    EXPECT_EQ(body_of(request(R"({"role": "developer", "content": "d"})", kChat + ", " + kTools)),
              kUser + "d" + tools_section() + kAnswer);
    EXPECT_EQ(body_of(request("", kChat + ", " + kTools)), tools_section());
    EXPECT_EQ(body_of(request(user, kChat + R"(, "tools": null)")), kUser + "u" + kAnswer);
}

TEST(ChatDeveloper, IsAUserWithSections) {
    EXPECT_EQ(body_of(request(R"({"role": "developer", "content": "d", )" + kTools +
                              R"(, "response_format": {"a":1}})")),
              kUser + "d" + tools_section() + "\n\n" + std::string(kResponseFormatPrefix) +
                  R"({"a": 1})" + kThink);
    for (const char* content : {"", R"(, "content": "")", R"(, "content": null)"})
        EXPECT_EQ(error_of(request(std::string(R"({"role": "developer")") + content + "}")),
                  "messages[0]: content of a developer is empty");
}

TEST(ChatAssistant, WritesReasoningContentAndCalls) {
    const std::string assistant =
        R"({"role": "user", "content": "u"},
           {"role": "assistant", "content": "c\n\n", "reasoning_content": "r", "tool_calls":
            [{"function": {"name": "f", "arguments": "{}"}}]})";
    const std::string block =
        "c\n\n\n\n<\uFF5CDSML\uFF5Ctool_calls>\n<\uFF5CDSML\uFF5Cinvoke name=\"f\">\n\n"
        "</\uFF5CDSML\uFF5Cinvoke>\n</\uFF5CDSML\uFF5Ctool_calls>";
    EXPECT_EQ(body_of(request(assistant)), kUser + "u" + kThink + "r" + kClose + block + kEnd);
    EXPECT_EQ(body_of(request(assistant, kChat)), kUser + "u" + kAnswer + block + kEnd);
    // Without a user message before it everything is shown, and there is no header.
    EXPECT_EQ(body_of(request(R"({"role": "assistant", "content": null, "reasoning": "r"})")),
              "r" + kClose + kEnd);
    EXPECT_EQ(body_of(request(R"({"role": "assistant", "content": "a", "tool_calls": []},
                                 {"role": "assistant", "content": "b", "wo_eos": true})",
                              kChat)),
              "a" + kEnd + "b");
}

TEST(ChatAssistant, AContentOfPartsIsJoined) {
    EXPECT_EQ(body_of(request(R"({"role": "assistant", "content": [{"type": "text", "text": "a"},
                                 {"type": "refusal", "refusal": "b"}]},
                                 {"role": "system", "content": [{"type": "text", "text": "c"}, "d"]})",
                              kChat)),
              "a\n\nb" + kEnd + "c\n\nd");
}

TEST(ChatPrefix, ContinuesTheContentOrTheReasoning) {
    const auto last = [](const char* fields) {
        return request(
            std::string(
                R"({"role": "user", "content": "u"}, {"role": "assistant", "wo_eos": true, )") +
            fields + "}");
    };
    const auto expect = [](const std::string& request_json, const std::string& body, bool reasons) {
        const Prompt prompt = prompt_of(conversation_of(request_json));
        EXPECT_EQ(prompt.text(), std::string(kBos) + body);
        EXPECT_EQ(prompt.in_reasoning, reasons) << body;
    };
    const std::string head = kUser + "u" + kThink;
    expect(last(R"("content": "c", "reasoning_content": "r")"), head + "r" + kClose + "c", false);
    expect(last(R"("content": "", "reasoning_content": "r")"), head + "r", true);
    expect(last(R"("reasoning_content": "r")"), head + "r", true);
    expect(last(R"("content": "")"), head + kClose, false);
    // Not the last message: closed, as the reference does.
    expect(request(R"({"role": "assistant", "wo_eos": true, "reasoning_content": "r"},
                      {"role": "assistant", "content": "b"})"),
           "r" + kClose + kClose + "b" + kEnd, false);
}

// ---- section 7: headers

TEST(ChatHeader, StandsBeforeAnswersAndReminders) {
    EXPECT_EQ(body_of(request(R"({"role": "user", "content": "u"},
                                 {"role": "latest_reminder", "content": "l"})",
                              kChat)),
              joined({kUser, "u", kAnswer, kReminderMarker, "l"}));
    EXPECT_EQ(
        body_of(request(R"({"role": "user", "content": "u"}, {"role": "system", "content": "s"})",
                        kChat)),
        kUser + "us");
    EXPECT_EQ(body_of(request("")), "");
}

TEST(ChatHeader, LeavesTheModelInReasoningOrNot) {
    const std::string user = R"({"role": "user", "content": "u"})";
    const auto in_reasoning = [](const std::string& request_json) {
        const Prompt prompt = prompt_of(conversation_of(request_json));
        EXPECT_EQ(prompt.in_reasoning, prompt.text().ends_with(kThinkOpen));
        return prompt.in_reasoning;
    };
    EXPECT_TRUE(in_reasoning(request(user)));
    EXPECT_FALSE(in_reasoning(request(user, kChat)));
    EXPECT_FALSE(in_reasoning(request(user + R"(, {"role": "latest_reminder", "content": "l"})")));
    EXPECT_FALSE(in_reasoning(request(user + R"(, {"role": "assistant", "content": "a"})")));
    EXPECT_FALSE(in_reasoning(request(R"({"role": "user", "content": "u", "task": "action"})")));
    EXPECT_FALSE(in_reasoning(request("")));
}

TEST(ChatHeader, BosIsWrittenOnceUnlessThereIsAContext) {
    const std::string user = R"({"role": "user", "content": "u"})";
    EXPECT_EQ(text_of(request(user, kChat + R"(, "add_bos": false)")), kUser + "u" + kAnswer);
    EXPECT_EQ(
        text_of(request(user, kChat + R"(, "context": [{"role": "system", "content": "s"}])")),
        kUser + "u" + kAnswer);
    EXPECT_EQ(text_of(request(user, kChat + R"(, "context": [])")),
              std::string(kBos) + kUser + "u" + kAnswer);
}

TEST(ChatContext, CountsForDroppingSortingTasksAndEffort) {
    const std::string context =
        R"("context": [{"role": "user", "content": "u"}, )" + calls_with_ids({"a", "b"}) + "]";
    EXPECT_EQ(text_of(request(result("b", "B") + ", " + result("a", "A"),
                              context + R"(, "reasoning_effort": "max")")),
              kUser + "<tool_result>A</tool_result>\n\n<tool_result>B</tool_result>" + kThink);
    // The last user message is looked for in both.
    EXPECT_EQ(text_of(request(R"({"role": "assistant", "content": "a", "reasoning_content": "r"})",
                              R"("context": [{"role": "user", "content": "u"}])")),
              "r" + kClose + "a" + kEnd);
    EXPECT_EQ(text_of(request(R"({"role": "assistant", "content": "a", "reasoning_content": "r"},
                                 {"role": "user", "content": "v"})",
                              R"("context": [{"role": "user", "content": "u"}])")),
              "a" + kEnd + kUser + "v" + kThink);
    EXPECT_EQ(text_of(request(R"({"role": "assistant", "content": "a", "reasoning_content": "r"})",
                              R"("context": [{"role": "user", "content": "u", "task": "query"}])")),
              "a" + kEnd);
    // A new message does not join the turn that was encoded.
    EXPECT_EQ(text_of(request(R"({"role": "user", "content": "v"})",
                              R"("context": [{"role": "user", "content": "u"}])")),
              kUser + "v" + kThink);
    // Tools declared in the context keep the reasoning.
    EXPECT_EQ(text_of(request(R"({"role": "assistant", "content": "a", "reasoning_content": "r"},
                                 {"role": "user", "content": "v"})",
                              R"("context": [{"role": "system", )" + kTools +
                                  R"(}, {"role": "user", "content": "u"}])")),
              "r" + kClose + "a" + kEnd + kUser + "v" + kThink);
    // Only the new messages are rendered, also where an old developer message vanishes.
    EXPECT_EQ(text_of(request(R"({"role": "user", "content": "v"})",
                              R"("context": [{"role": "developer", "content": "d"},
                                             {"role": "assistant", "content": "a"}])")),
              kUser + "v" + kThink);
}

// ---- section 8: calls

// The parameters of one call with these arguments (JSON of the field).
std::string parameters_of(const std::string& arguments, const std::string& dialect = "v4") {
    const std::string text = body_of(
        request(R"({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": )" +
                    arguments + "}}]}",
                kChat + R"(, "dialect": ")" + dialect + "\""));
    const size_t begin = text.find("\"f\">\n") + 5;
    const size_t end = text.rfind("\n</", text.rfind("invoke>"));
    return text.substr(begin, end - begin);
}

std::string parameter(const std::string& name, const std::string& is_string,
                      const std::string& value) {
    return "<\uFF5CDSML\uFF5Cparameter name=\"" + name + "\" string=\"" + is_string + "\">" +
           value + "</\uFF5CDSML\uFF5Cparameter>";
}

TEST(ChatCalls, MembersBecomeParameters) {
    EXPECT_EQ(
        parameters_of(R"("{\"b\":\"x\",\"a\":1.50,\"c\":null,\"d\":[1,{\"e\":true}],\"f\":\"\"}")"),
        parameter("b", "true", "x") + "\n" + parameter("a", "false", "1.5") + "\n" +
            parameter("c", "false", "null") + "\n" + parameter("d", "false", "[1, {\"e\": true}]") +
            "\n" + parameter("f", "true", ""));
    EXPECT_EQ(parameters_of(R"("{}")"), "");
    EXPECT_EQ(parameters_of(R"(" {\"a\":1,\"a\":2} ")"), parameter("a", "false", "2"));
    EXPECT_EQ(parameters_of(R"({"a": [1,2]})"), parameter("a", "false", "[1, 2]"));
    EXPECT_EQ(parameters_of("null"), "");
}

TEST(ChatCalls, StringsAndNamesAreRaw) {
    EXPECT_EQ(parameters_of(R"("{\"<&\\\">\": \"a\\n\\\"<b>&</\uFF5CDSML\uFF5Cparameter>\"}")"),
              parameter("<&\">", "true", "a\n\"<b>&</\uFF5CDSML\uFF5Cparameter>"));
}

TEST(ChatCalls, TextThatIsNoJsonIsOneParameter) {
    for (const char* text : {"", "oops", "{", "{'a': 1}", "{a: 1}"})
        for (const char* dialect : {"v4", "v4-0731"})
            EXPECT_EQ(parameters_of(fmt::format("\"{}\"", text), dialect),
                      parameter("arguments", "true", text));
}

TEST(ChatCalls, JsonThatIsNoObjectIsRefused) {
    const auto error = [](const std::string& arguments) {
        return error_of(request(
            R"({"role": "user", "content": "u"}, {"role": "assistant", "tool_calls":
               [{"name": "f", "arguments": "{}"}, {"name": "f", "arguments": )" +
            arguments + "}]}"));
    };
    EXPECT_EQ(error(R"("[1]")"),
              "messages[1]: tool_calls[1]: arguments are a list, expected a JSON object");
    EXPECT_EQ(error(R"("\"{}\"")"),
              "messages[1]: tool_calls[1]: arguments are a string, expected a JSON object");
    for (const char* arguments :
         {R"("1")", R"("null")", R"("true")", "[1]", "1", R"("{\"a\":NaN}")", R"("{\"a\":1e999}")",
          R"("{\"a\":\"\\ud800\"}")"})
        EXPECT_TRUE(error(arguments).starts_with("messages[1]: tool_calls[1]: "))
            << error(arguments);
}

// ---- section 9: tasks

TEST(ChatTask, WritesItsTokenWhereTheHeaderWouldStand) {
    for (const char* task : {"query", "authority", "domain", "title", "read_url"})
        EXPECT_EQ(body_of(request(R"({"role": "user", "content": "u", "task": ")" +
                                  std::string(task) + R"("}, {"role": "assistant", "content": "a",
                                  "reasoning_content": "r"})")),
                  kUser + "u<\uFF5C" + task + "\uFF5C>a" + kEnd);
    const std::string action = R"({"role": "user", "content": "u", "task": "action"})";
    EXPECT_EQ(body_of(request(action)), kUser + "u" + kThink + "<\uFF5Caction\uFF5C>");
    EXPECT_EQ(body_of(request(action, kChat)), kUser + "u" + kAnswer + "<\uFF5Caction\uFF5C>");
    EXPECT_EQ(body_of(request(R"({"role": "assistant", "content": "a", "task": "title"})", kChat)),
              "a" + kEnd + "<\uFF5Ctitle\uFF5C>");
    EXPECT_EQ(body_of(request(R"({"role": "system", "content": "s", "task": "query"})")),
              "s<\uFF5Cquery\uFF5C>");
    // Not at a header's place: nothing.
    EXPECT_EQ(body_of(request(R"({"role": "assistant", "content": "a", "task": "title"},
                                 {"role": "user", "content": "u"})",
                              kChat)),
              "a" + kEnd + kUser + "u" + kAnswer);
    EXPECT_EQ(error_of(request(R"({"role": "user", "task": "sing"})")),
              "messages[0]: task is \"sing\", expected one of action, query, authority, domain, "
              "title, read_url");
}

// ---- section 12: V4.1

std::string v41_effort_line(int budget) {
    return std::string(kSystemMarker) + effort_prefix(Dialect::kV41, {}, budget).value();
}

TEST(ChatV41, SystemsHaveAMarker) {
    const std::string v41 = R"(, "dialect": "v41")";
    const std::string system = R"({"role": "system", "content": "s"})";
    const std::string user = R"({"role": "user", "content": "u"})";
    EXPECT_EQ(body_of(request(system + ", " + user, kChat + v41)),
              joined({kSystemMarker, "s", kUser, "u", kAnswer}));
    EXPECT_EQ(body_of(request(user, kChat + v41)), kUser + "u" + kAnswer);
    EXPECT_EQ(body_of(request(user, kThinking + v41)), v41_effort_line(75) + kUser + "u" + kThink);
    EXPECT_EQ(body_of(request(system + ", " + user, kThinking + v41)),
              v41_effort_line(75) + "s" + kUser + "u" + kThink);
    // Later ones ask for an answer and count as the last user.
    EXPECT_EQ(
        body_of(request(user + R"(, {"role": "assistant", "content": "a",
                                          "reasoning_content": "r"}, )" +
                            system,
                        kThinking + v41)),
        v41_effort_line(75) + joined({kUser, "u", kAnswer, "a", kEnd, kSystemMarker, "s", kThink}));
    EXPECT_EQ(body_of(request(user + ", " + system, kChat + v41)),
              joined({kUser, "u", kSystemMarker, "s", kAnswer}));
    EXPECT_EQ(body_of(request(system, kChat + v41)), joined({kSystemMarker, "s"}));
    EXPECT_EQ(text_of(request(system, kChat + v41 + R"(, "context": [)" + user + "]")),
              joined({kSystemMarker, "s", kAnswer}));
    EXPECT_EQ(error_of(request(R"({"role": "developer", "content": "d"})", kChat + v41)),
              "messages[0]: role is developer, which dialect v41 does not have");
}

TEST(ChatV41, EffortIsANumberOrAName) {
    const auto effort = [](const char* value) {
        return request("", R"("dialect": "v41", "reasoning_effort": )" + std::string(value));
    };
    const auto with_user = [](const char* value) {
        return request(R"({"role": "user"})",
                       R"("dialect": "v41", "reasoning_effort": )" + std::string(value));
    };
    for (const auto& [value, budget] : {std::pair{"1", 1},
                                        {"100", 100},
                                        {"33", 33},
                                        {"\"low\"", 50},
                                        {"\"high\"", 75},
                                        {"\"max\"", 100}})
        EXPECT_EQ(body_of(with_user(value)), v41_effort_line(budget) + kUser + kThink);
    for (const char* value : {"0", "101", "-5", "1e2", "50.0"})
        EXPECT_NE(error_of(effort(value)), "");
}

TEST(ChatV41, TagsAndToolsHaveOtherNames) {
    EXPECT_EQ(body_of(request(R"({"role": "assistant", "content": "c", "tool_calls":
                                  [{"name": "f", "arguments": {"a": "x"}}]})",
                              kChat + R"(, "dialect": "v41", )" + kTools)),
              std::string(kSystemMarker) + tools_section(Dialect::kV41) +
                  "c\n\n<\uFF5CDSML\uFF5C calls>\n<\uFF5CDSML\uFF5C invoke name=\"f\">\n"
                  "<\uFF5CDSML\uFF5C parameter name=\"a\" string=\"true\">x</\uFF5CDSML\uFF5C "
                  "parameter>\n</\uFF5CDSML\uFF5C invoke>\n</\uFF5CDSML\uFF5C calls>" +
                  kEnd);
}

TEST(ChatV41, ArgumentsAreAnObjectOrJsonEncodedOnceOrTwice) {
    const std::string expected =
        "<\uFF5CDSML\uFF5C parameter name=\"a\" string=\"false\">1</\uFF5CDSML\uFF5C parameter>";
    EXPECT_EQ(parameters_of(R"({"a":1})", "v41"), expected);
    EXPECT_EQ(parameters_of(R"("{\"a\":1}")", "v41"), expected);
    EXPECT_EQ(parameters_of(R"("\"{\\\"a\\\":1}\"")", "v41"), expected);
    // Anything else is one parameter with the text as it came.
    for (const auto& [field, text] : {std::pair<std::string, std::string>{R"("[1]")", "[1]"},
                                      {R"("\"x\"")", "\"x\""},
                                      {R"("\"\\\"{}\\\"\"")", R"("\"{}\"")"},
                                      {R"("oops")", "oops"}})
        EXPECT_EQ(parameters_of(field, "v41"),
                  "<\uFF5CDSML\uFF5C parameter name=\"arguments\" string=\"true\">" + text +
                      "</\uFF5CDSML\uFF5C parameter>");
}

TEST(ChatV41, ToolsHaveNamespaces) {
    const auto schemas = [](const std::string& tool) {
        const std::string text = body_of(request(
            R"({"role": "system"})", kChat + R"(, "dialect": "v41", "tools": [)" + tool + "]"));
        const size_t begin = text.find("Schemas\n\n") + 9;
        return text.substr(begin, text.find("\n\nYou MUST strictly") - begin);
    };
    EXPECT_EQ(schemas(R"({"namespace": "ns", "function": {"a": 1, "name": "f"}})"),
              R"({"a": 1, "name": "ns::f"})");
    EXPECT_EQ(schemas(R"({"namespace": {"name": "ns", "description": "N"},
                          "function": {"name": "f", "description": "D", "b": 2}})"),
              R"({"name": "ns::f", "description": "N\nD", "b": 2})");
    EXPECT_EQ(
        schemas(R"({"function": {"namespace": {"name": "ns", "description": "N"}, "name": "f"}})"),
        R"({"name": "ns::f", "description": "N\n"})");
    EXPECT_EQ(schemas(R"({"namespace": "ns", "function": {"name": "ns::f"}})"),
              R"({"name": "ns::f"})");
    EXPECT_EQ(schemas(R"({"function": {"name": "ns::f", "description": "D"}})"),
              R"({"name": "ns::f", "description": "D"})");
    for (const char* tool :
         {R"({"namespace": "other", "function": {"name": "ns::f"}})",
          R"({"function": {"name": "a::b::c"}})",
          R"({"namespace": "a::b", "function": {"name": "c"}})",
          R"({"namespace": 1, "function": {"name": "c"}})", R"({"function": {"a": 1}})"})
        EXPECT_NE(
            error_of(request("", R"("dialect": "v41", "tools": [)" + std::string(tool) + "]")), "")
            << tool;
    EXPECT_NE(
        body_of(request(R"({"role": "assistant", "tool_calls": [{"namespace": "ns", "function":
                                   {"name": "f", "arguments": "{}"}}]})",
                        kChat + R"(, "dialect": "v41")"))
            .find("name=\"ns::f\""),
        std::string::npos);
    // V4 shows the function as it is.
    EXPECT_NE(body_of(request(R"({"role": "system"})",
                              kChat + R"(, "tools": [{"namespace": "ns", "function":
                                        {"namespace": "x", "name": "f"}}])"))
                  .find(R"({"namespace": "x", "name": "f"})"),
              std::string::npos);
}

// ---- where messages end, and what was sampled

TEST(ChatPieces, MessagesEndWithTheirHeader) {
    const Prompt prompt = prompt_of(conversation_of(
        request(R"({"role": "system", "content": "s"}, {"role": "user", "content": "u"},
                   {"role": "assistant", "content": "a"}, {"role": "user", "content": "v"},
                   {"role": "user", "content": "w"})",
                kChat)));
    // BOS s | User u Assistant </think> | a EOS | User v | w Assistant </think>
    EXPECT_EQ(prompt.message_ends, (std::vector<size_t>{2, 6, 8, 10, 12}));
    EXPECT_EQ(prompt.pieces.size(), 12u);
    EXPECT_EQ(std::get<TextPiece>(prompt.pieces[9]).text, "v\n\nw");
}

TEST(ChatPieces, SortedResultsAndVanishedMessagesEndInOrder) {
    const Prompt sorted = prompt_of(conversation_of(request(
        calls_with_ids({"a", "b"}) + ", " + result("b", "B") + ", " + result("a", "A"), kChat)));
    EXPECT_TRUE(std::is_sorted(sorted.message_ends.begin(), sorted.message_ends.end()));
    EXPECT_EQ(sorted.message_ends.back(), sorted.pieces.size());
    const Prompt dropped = prompt_of(conversation_of(
        request(R"({"role": "system", "content": "s"}, {"role": "developer", "content": "d"},
                   {"role": "user", "content": "u"})")));
    EXPECT_EQ(dropped.message_ends, (std::vector<size_t>{2, 2, 6}));
}

TEST(ChatSampled, ReplacesWhatTheModelSaidWhereItIsShown) {
    constexpr size_t kNumMessages = 4;
    const auto with_sampled = [](const std::string& fields) {
        Conversation conversation = conversation_of(request(kTwoTurns, fields));
        const size_t first = conversation.messages.size() - kNumMessages;  // tools add a system
        conversation.messages[first + 1].sampled = {30, 31};
        conversation.messages[first + 3].sampled = {32};
        std::vector<std::vector<TokenId>> shown;
        for (const Piece& piece : prompt_of(conversation).pieces)
            if (const auto* sampled = std::get_if<SampledPiece>(&piece))
                shown.push_back(sampled->tokens);
        return shown;
    };
    const std::vector<std::vector<TokenId>> both = {{30, 31}, {32}};
    EXPECT_EQ(with_sampled(kThinking), (std::vector<std::vector<TokenId>>{{32}}));
    EXPECT_EQ(with_sampled(kThinking + ", " + kTools), both);
    EXPECT_EQ(with_sampled(kThinking + R"(, "drop_thinking": false)"), both);
    EXPECT_EQ(with_sampled(kChat), both);
}

TEST(ChatSampled, KeepsHeaderAndEndMarker) {
    Conversation conversation = conversation_of(request(kTwoTurns));
    const Tokenizer& tokenizer = chat_tokenizer();
    conversation.messages[3].sampled = tokenizer.encode("x</think>\n\ny").value();
    EXPECT_EQ(prompt_of(conversation).text(&tokenizer),
              joined({kBos, kUser, "u1", kAnswer, "a1", kEnd, kUser, "u2", kThink, "x</think>\n\ny",
                      kEnd}));
    EXPECT_EQ(prompt_of(conversation).text(),
              joined({kBos, kUser, "u1", kAnswer, "a1", kEnd, kUser, "u2", kThink, kEnd}));
    // Arguments that could not be rendered do no harm where they are not.
    conversation.messages[3].tool_calls.push_back({"", "f", "[1]"});
    EXPECT_TRUE(render(conversation).has_value());
    conversation.messages[3].sampled.clear();
    EXPECT_FALSE(render(conversation).has_value());
}

TEST(ChatDialect, HasANameAndComesBack) {
    for (const char* name : {"v4", "v4-0731", "v41"})
        EXPECT_EQ(dialect_name(parse_dialect(name).value()), name);
    for (const char* name : {"", "v3", "V4", "v4 "}) EXPECT_FALSE(parse_dialect(name).has_value());
}

}  // namespace
}  // namespace baleen
