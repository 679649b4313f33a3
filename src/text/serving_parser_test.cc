// The serving parser's rules, one by one. RowA1 to RowA12 are rows of the survey of what goes wrong
// around tool calls in other engines: each is one symptom that must not come back. Cutting the text
// is serving_parser_split_test.cc.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"
#include "text/completion_parser_fixture.h"

namespace baleen {
namespace {

const std::string kMark(kDsml);
const ServingParserOptions kThinks{.in_reasoning = true};

// As shown(message), for a message of one call or none.
std::string message(const std::string& reasoning, const std::string& content) {
    return shown(ParsedMessage{reasoning, content, {}});
}
std::string message(const std::string& reasoning, const std::string& content,
                    const std::vector<ParsedCall>& calls) {
    return shown(ParsedMessage{reasoning, content, calls});
}

std::string parsed(const std::string& text, const ServingParserOptions& options = {}) {
    const ServingRun run = run_whole(text, options);
    EXPECT_EQ(run.problem, "") << text;
    return shown(run.message);
}

std::string one_call(const std::string& value, bool is_string = true) {
    return write_dsml({{"f", {{"a", value, is_string}}}});
}

// The arguments of the only call of a text.
std::string arguments(const std::string& text) {
    const ServingRun run = run_whole(text);
    EXPECT_EQ(run.problem, "") << text;
    EXPECT_EQ(run.message.tool_calls.size(), 1u) << text;
    if (run.message.tool_calls.size() != 1) return "";
    EXPECT_TRUE(run.message.tool_calls[0].complete) << text;
    return run.message.tool_calls[0].arguments;
}

TEST(ServingParser, GivesThePublishedExamples) {
    const char* shared = std::getenv("BALEEN_SHARED");
    const std::string path =
        std::string(shared != nullptr ? shared : "../shared") + "/spec/encoding-examples.json";
    const Json examples = parse_json(read_file(path, size_t{16} << 20).value()).value()["stream"];
    ASSERT_GE(examples.size(), 2u);
    for (const Json& test : examples) {
        SCOPED_TRACE(test["id"].get<std::string>());
        const bool thinks = test["start"] == "after <think> in the prompt";
        const std::string text = test["text"];
        for (size_t size = 1; size <= text.size(); ++size) {
            const ServingRun run =
                run_serving(text, {.in_reasoning = thinks}, [&] { return size; });
            const Json& expected = test["expected"];
            EXPECT_EQ(run.problem, "");
            EXPECT_EQ(run.message.reasoning, expected["reasoning_content"]);
            EXPECT_EQ(run.message.content, expected["content"]);
            EXPECT_EQ(run.stopped, expected["stopped"]);
            ASSERT_EQ(run.message.tool_calls.size(), expected["tool_calls"].size());
            for (size_t i = 0; i < run.message.tool_calls.size(); ++i) {
                EXPECT_EQ(run.message.tool_calls[i].name, expected["tool_calls"][i]["name"]);
                EXPECT_EQ(run.message.tool_calls[i].arguments,
                          expected["tool_calls"][i]["arguments"]);
                EXPECT_EQ(run.message.tool_calls[i].complete,
                          expected["tool_calls"][i]["complete"]);
            }
        }
    }
}

TEST(ServingParser, RowA1_ACallBeforeTheEndOfReasoningIsACall) {
    EXPECT_EQ(parsed("I will look.\n\n" + one_call("x"), kThinks),
              message("I will look.", "", {{"f", R"({"a": "x"})", true}}));
    EXPECT_EQ(parsed(one_call("x"), kThinks), message("", "", {{"f", R"({"a": "x"})", true}}));
}

// The deltas of every cut are compared in serving_parser_split_test.cc; here, byte by byte, that
// nothing comes early and nothing late.
TEST(ServingParser, RowA2_NoPieceOfAMarkerIsContentWhileStreaming) {
    ServingParser parser({.in_reasoning = true});
    std::vector<ParserEvent> events;
    const std::string text = "t</think>a<b\n\n<" + kMark + "tool_calls>";
    std::string seen;
    for (const char byte : text) {
        parser.push({&byte, 1}, events);
        for (const ParserEvent& event : events) seen += event.text;
        events.clear();
        seen += '|';
    }
    EXPECT_EQ(seen.substr(0, 16), "t|||||||||a||<b|");
    EXPECT_EQ(seen.find_first_not_of('|', 16), std::string::npos) << seen;
    EXPECT_TRUE(parser.in_calls());
}

TEST(ServingParser, RowA3_ValuesThatEndLikeAClosingTagKeepTheirEnd) {
    for (const std::string value : {"ls 2>&1", "<", "</", "a <", ">", "</\uFF5C", "x</\uFF5CDSML",
                                    "</\uFF5CDSML\uFF5C", "</\uFF5CDSML\uFF5Cparamete"})
        EXPECT_EQ(arguments(one_call(value)), "{\"a\": \"" + value + "\"}");
}

TEST(ServingParser, RowA4_DamagedWrappersAreStillCalls) {
    const std::string invoke = write_dsml(DsmlCall{"f", {{"a", "x"}}}, kMark, false);
    const std::string closing = "\n</" + kMark + "tool_calls>";
    const std::string bars = "\uFF5C" + kMark + "\uFF5C";
    const std::vector<std::string> blocks = {
        "<" + kMark + "toolcalls>\n" + invoke + "\n</" + kMark + "toolcalls>",
        "<" + kMark + "function_calls>\n" + invoke + "\n</" + kMark + "function_calls>",
        "<" + kMark + "tool_calls\n" + invoke + closing,                     // no bracket
        "<" + kMark + "tool_calls>" + invoke + "</" + kMark + "tool_calls",  // no newlines
        invoke,                                                              // no wrapper
        invoke + closing,
        "<" + kMark + invoke,
        write_dsml({{"f", {{"a", "x"}}}}, bars),
        write_dsml({{"f", {{"a", "x"}}}}, bars, true),
        write_dsml({{"f", {{"a", "x"}}}}, "\uFF5C" + kMark),
        write_dsml({{"f", {{"a", "x"}}}}, kMark, true),  // the tags of V4.1
    };
    for (const std::string& block : blocks)
        EXPECT_EQ(parsed("Right.\n\n" + block),
                  message("", "Right.", {{"f", R"({"a": "x"})", true}}))
            << block;
}

// Doubled bars close only what they opened.
TEST(ServingParser, RowA4_DoubledBarsInAValueAreText) {
    const std::string value = "</\uFF5C" + kMark + "\uFF5Cparameter>";
    EXPECT_EQ(arguments(one_call(value)), "{\"a\": \"" + value + "\"}");
}

TEST(ServingParser, RowA5_UnconstrainedTextNeedsNoGrammarToBecomeACall) {
    // White space, other attributes and other tags between the parts: skipped.
    const std::string text = "<" + kMark + "tool_calls>  \n\n\t<" + kMark +
                             "invoke name=\"f\" id=\"1\">\n <note/> <" + kMark +
                             "parameter name=\"a\" type=\"x\" string=\"true\">v</" + kMark +
                             "parameter> ,\n</" + kMark + "invoke>;</" + kMark + "tool_calls>";
    EXPECT_EQ(parsed(text), message("", "", {{"f", R"({"a": "v"})", true}}));
    EXPECT_EQ(parsed("No call is needed."), message("", "No call is needed."));
}

TEST(ServingParser, RowA6_TheFlagAloneDecidesTheType) {
    EXPECT_EQ(arguments(one_call("3")), R"({"a": "3"})");
    EXPECT_EQ(arguments(one_call("true")), R"({"a": "true"})");
    EXPECT_EQ(arguments(one_call("3", false)), R"({"a": 3})");
    EXPECT_EQ(arguments(one_call("\"3\"", false)), R"({"a": "3"})");
    EXPECT_EQ(arguments(one_call("[1, null]", false)), R"({"a": [1, null]})");
}

ServingParserOptions wraps_in(const std::string& wrapper) {
    return {.is_wrapper = [wrapper](std::string_view tool, std::string_view parameter) {
        return tool == "f" && parameter == wrapper;
    }};
}

TEST(ServingParser, RowA7_WrappedArgumentsAreUnwrapped) {
    for (const DsmlParameter& wrapper :
         {DsmlParameter{"input", R"({"q": [1]})", false},
          DsmlParameter{"input", R"( {"q": [1]} )", false}, DsmlParameter{"input", R"({"q": [1]})"},
          DsmlParameter{"input", "\n {\"q\": [1]}\n"},
          DsmlParameter{"input", R"("{\"q\": [1]}")", false}}) {
        const ServingRun run = run_whole(write_dsml({{"f", {wrapper}}}), wraps_in("input"));
        EXPECT_EQ(run.problem, "");
        EXPECT_EQ(run.message.tool_calls[0].arguments, R"({"q": [1]})") << wrapper.value;
        EXPECT_EQ(run.unwrapped_calls, 1u);
    }
    const ServingRun empty = run_whole(
        write_dsml({{"f", {{"input", "{}", false}}}, {"f", {{"input", "{}"}}}}), wraps_in("input"));
    EXPECT_EQ(shown(empty.message), message("", "", {{"f", "{}", true}, {"f", "{}", true}}));
    EXPECT_EQ(empty.unwrapped_calls, 2u);
}

TEST(ServingParser, RowA7_WhatIsNoWrapperStaysAsItIs) {
    const auto expect_kept = [](const DsmlCall& call, const std::string& expected) {
        const ServingRun run = run_whole(write_dsml({call}), wraps_in("input"));
        EXPECT_EQ(run.problem, "");
        EXPECT_EQ(run.message.tool_calls[0].arguments, expected);
        EXPECT_EQ(run.unwrapped_calls, 0u) << expected;
    };
    expect_kept({"f", {{"input", "ls"}}}, R"({"input": "ls"})");
    expect_kept({"f", {{"input", ""}}}, R"({"input": ""})");
    expect_kept({"f", {{"input", " "}}}, R"({"input": " "})");
    expect_kept({"f", {{"input", "{ ls; }"}}}, R"({"input": "{ ls; }"})");
    expect_kept({"f", {{"input", "{} {}"}}}, R"({"input": "{} {}"})");
    expect_kept({"f", {{"input", "[{}]", false}}}, R"({"input": [{}]})");
    expect_kept({"f", {{"input", "{", false}}}, R"({"input": "{"})");
    // Not alone.
    expect_kept({"f", {{"input", "{}"}, {"b", "x"}}}, R"({"input": "{}", "b": "x"})");
    expect_kept({"f", {{"b", "x"}, {"input", "{}"}}}, R"({"b": "x", "input": "{}"})");
    // Another tool, another name, one wrapper too many.
    expect_kept({"g", {{"input", "{}"}}}, R"({"input": "{}"})");
    expect_kept({"f", {{"arguments", "{}", false}}}, R"({"arguments": {}})");
    const ServingRun twice =
        run_whole(write_dsml({{"f", {{"input", R"({"input": {"q": 1}})"}}}}), wraps_in("input"));
    EXPECT_EQ(twice.message.tool_calls[0].arguments, R"({"input": {"q": 1}})");
}

TEST(ServingParser, RowA7_OnlyWhatMayBeAWrapperIsHeldBack) {
    const auto held_bytes = [](const std::string& value) {
        ServingParser parser(wraps_in("input"));
        std::vector<ParserEvent> events;
        const std::string text = write_dsml({{"f", {{"input", value}}}});
        parser.push(text.substr(0, text.find(value) + value.size()), events);
        return value.size() + std::string(R"({"input": ")").size() -
               parser.message().tool_calls[0].arguments.size();
    };
    EXPECT_EQ(held_bytes("a plain text {"), 0u);
    EXPECT_EQ(held_bytes("{ a value } that may be one"), 38u);
}

TEST(ServingParser, RowA7_WithoutASchemaWrappedArgumentsArePassedOn) {
    EXPECT_EQ(arguments(write_dsml({{"f", {{"arguments", R"({"q": 1})", false}}}})),
              R"({"arguments": {"q": 1}})");
    EXPECT_EQ(arguments(write_dsml({{"f", {{"arguments", R"({"q": 1})"}}}})),
              R"({"arguments": "{\"q\": 1}"})");
}

TEST(ServingParser, RowA8_ValuesThatAreNoJsonBecomeStringsAndAreCounted) {
    const std::string deep(size_t{kJsonDepthMax}, '[');
    const std::string deep_value = deep + std::string(size_t{kJsonDepthMax}, ']');
    const std::string bom = "\xEF\xBB\xBF";
    for (const std::string& value :
         {std::string("nope"), std::string("NaN"), std::string("{a: 1}"), std::string("[1,"),
          std::string("1 2"), std::string("1, \\\"b\\\": 2"), std::string("01"),
          std::string("1e999"), std::string("'x'"), std::string("True"), deep_value, bom + "1",
          std::string()}) {
        std::string text = value;
        for (size_t at; (at = text.find("\\\"")) != std::string::npos;) text.erase(at, 1);
        const ServingRun run = run_whole(one_call(" \n" + text + "\t", false));
        EXPECT_EQ(run.problem, "");
        EXPECT_EQ(run.message.tool_calls[0].arguments, "{\"a\": \"" + value + "\"}");
        EXPECT_EQ(run.repaired_values, 1u) << value;
    }
    const ServingRun zero = run_whole(one_call(std::string("1\0", 2), false));
    EXPECT_EQ(zero.message.tool_calls[0].arguments, "{\"a\": \"1\\u0000\"}");
    const ServingRun surrogate = run_whole(one_call(R"("\ud800")", false));
    EXPECT_EQ(surrogate.message.tool_calls[0].arguments, R"({"a": "\"\\ud800\""})");
}

TEST(ServingParser, ValuesThatAreJsonStayAsTheyAreButForTheirEnds) {
    const std::string deep(size_t{kJsonDepthMax} - 1, '[');
    const std::string deep_value = deep + std::string(size_t{kJsonDepthMax} - 1, ']');
    const std::string long_number(300, '7');
    for (const std::string& value :
         {std::string("-1.50E+3"), std::string("{ \"k\" : [ true,\n null ] }"), long_number,
          std::string("\"\\u00e9 </p> \u6F22\""), deep_value}) {
        const ServingRun run = run_whole(one_call("\r\n " + value + "\t ", false));
        EXPECT_EQ(run.problem, "");
        EXPECT_EQ(run.message.tool_calls[0].arguments, "{\"a\": " + value + "}");
        EXPECT_EQ(run.repaired_values, 0u) << value;
    }
}

TEST(ServingParser, RowA9_BothSpellingsOfNoParametersAreAnEmptyObject) {
    for (const char* between : {"", "\n", "\n\n"})
        EXPECT_EQ(arguments("<" + kMark + "tool_calls>\n<" + kMark + "invoke name=\"f\">" +
                            between + "</" + kMark + "invoke>\n</" + kMark + "tool_calls>"),
                  "{}");
}

TEST(ServingParser, RowA10_ACutCallIsUnfinishedAndShowsNoTag) {
    const std::string text = one_call("ls -l");
    const size_t value_end = text.find("</" + kMark + "parameter");
    for (const size_t cut : {value_end - 1, value_end + 1, value_end + 14, value_end + 24}) {
        const ServingRun run = run_whole("Now:\n\n" + text.substr(0, cut));
        EXPECT_EQ(run.problem, "");
        EXPECT_EQ(run.message.content, "Now:");
        ASSERT_EQ(run.message.tool_calls.size(), 1u);
        EXPECT_FALSE(run.message.tool_calls[0].complete);
        const std::string& begun = run.message.tool_calls[0].arguments;
        EXPECT_EQ(begun, std::string(R"({"a": "ls -l")").substr(0, begun.size()));
        EXPECT_GE(begun.size(), std::string(R"({"a": "ls -)").size());
    }
    // Before the name is complete there is no call at all.
    EXPECT_EQ(parsed(text.substr(0, text.find("f\">"))), message("", ""));
}

TEST(ServingParser, RowA11_QuotedTagsOutsideTheirPlaceAreNoCalls) {
    for (const std::string text :
         {"A call is written invoke name=\"f\"> with parameter name=\"a\" string=\"true\">.",
          "It ends in </\uFF5CDSML\uFF5Cinvoke> there.", "The marker is \uFF5CDSML\uFF5C, you see.",
          "With ASCII bars, <|DSML|tool_calls> is text."})
        EXPECT_EQ(parsed(text), message("", text));
}

TEST(ServingParser, RowA11_MarkersMayBeDemandedToBeControlTokens) {
    const auto run = [](const std::vector<std::pair<std::string, bool>>& pieces) {
        ServingParser parser({.in_reasoning = true, .control_markers_only = true});
        std::vector<ParserEvent> events;
        for (const auto& [text, is_control] : pieces)
            parser.push(
                text, events,
                is_control ? ServingParser::Origin::kControl : ServingParser::Origin::kText);
        parser.finish(events);
        return shown(parser.message());
    };
    const std::string quoted = "</think> <" + kMark + "tool_calls> <\uFF5C" + kMark + "\uFF5C";
    // Typed out: text, in reasoning, answer and value.
    EXPECT_EQ(run({{quoted, false}}), message(quoted, ""));
    EXPECT_EQ(run({{"t", false}, {"</think>", true}, {quoted, false}}), message("t", quoted));
    const std::string closer = "</" + kMark + "parameter></" + kMark + "invoke>";
    EXPECT_EQ(run({{"t\n\n<", false},
                   {kMark, true},
                   {"tool_calls>\n<", false},
                   {kMark, true},
                   {"invoke name=\"f\">\n<", false},
                   {kMark, true},
                   {"parameter name=\"a\" string=\"true\">" + closer + "</", false},
                   {kMark, true},
                   {"parameter>\n</", false},
                   {kMark, true},
                   {"invoke>\n</", false},
                   {kMark, true},
                   {"tool_calls>", false}}),
              message("t", "", {{"f", "{\"a\": \"" + closer + "\"}", true}}));
    // Doubled bars: the inner marker is the token.
    EXPECT_EQ(run({{"<\uFF5C", false}, {kMark, true}, {"\uFF5Cx", false}}), message("", "", {}));
    // Any other control token is text; it ends a character that was cut.
    EXPECT_EQ(run({{"a\xE6\xBC", false}, {"<think>", true}, {"\xA2", false}}),
              message("a\uFFFD<think>\uFFFD", ""));
}

TEST(ServingParser, RowA12_InventedClosersAreTextAndTheCallIsUnfinished) {
    for (const std::string closer :
         {"</tool_call>", "</function>", "</parameter>", "</\uFF5CDSML\uFF5Cinvoke>",
          "</\uFF5CDSML\uFF5Ctool_calls>"}) {
        const std::string text = "<" + kMark + "tool_calls>\n<" + kMark + "invoke name=\"f\">\n<" +
                                 kMark + "parameter name=\"a\" string=\"true\">v" + closer;
        const ServingRun run = run_whole(text);
        EXPECT_EQ(run.problem, "");
        EXPECT_EQ(shown(run.message), message("", "", {{"f", "{\"a\": \"v" + closer, false}}));
        // The next right closer ends the value.
        EXPECT_EQ(arguments(text + "</" + kMark + "parameter>\n</" + kMark + "invoke>"),
                  "{\"a\": \"v" + closer + "\"}");
    }
}

TEST(ServingParser, NewlinesAroundReasoningAndAnswerAreDropped) {
    EXPECT_EQ(parsed("\n\nhm\n\nhm\n</think>\n\nHello\n\nyou\n", kThinks),
              message("hm\n\nhm", "Hello\n\nyou\n"));
    EXPECT_EQ(parsed("\n\n\n</think>\n", kThinks), message("", ""));
    EXPECT_EQ(parsed("\n\n\n" + write_dsml({{"f", {}}})), message("", "", {{"f", "{}", true}}));
    EXPECT_EQ(parsed("\nHello\n\n\n\n" + write_dsml({{"f", {}}})),
              message("", "Hello", {{"f", "{}", true}}));
    EXPECT_EQ(parsed("a \n\n<b"), message("", "a \n\n<b"));
}

TEST(ServingParser, OnlyNewlinesAreDropped) {
    EXPECT_EQ(parsed(" \n t \n </think> \nHi", kThinks), message(" \n t \n ", " \nHi"));
}

TEST(ServingParser, AStrayEndOfReasoningIsDropped) {
    EXPECT_EQ(parsed("a\n</think>\nb</think>"), message("", "a\n\nb"));
    EXPECT_EQ(parsed("\n</think>\n</think>b"), message("", "\nb"));
    EXPECT_EQ(parsed("t</think></think>b", kThinks), message("t", "b"));
}

TEST(ServingParser, ReasoningThatNeverEndsIsReasoning) {
    const ServingRun run = run_whole("on and on </thin", kThinks);
    EXPECT_EQ(shown(run.message), message("on and on </thin", ""));
    EXPECT_EQ(run.problem, "");
}

TEST(ServingParser, EverythingAfterTheBlockIsDropped) {
    const std::string block = one_call("x");
    EXPECT_EQ(parsed(block + "Done.\n\n" + block), message("", "", {{"f", R"({"a": "x"})", true}}));
    // Also where the closing tag of the call is missing.
    std::string unclosed = block;
    unclosed.erase(unclosed.find("</" + kMark + "invoke>"), ("</" + kMark + "invoke>").size());
    EXPECT_EQ(parsed(unclosed + block), message("", "", {{"f", R"({"a": "x"})", true}}));
}

TEST(ServingParser, CallsComeInOrderAndStringsStreamAsTheyCome) {
    ServingParser parser({});
    std::vector<ParserEvent> events;
    const auto pushed = [&](const std::string& text) {
        events.clear();
        parser.push(text, events);
        std::string shown_events;
        for (const ParserEvent& event : events)
            shown_events += fmt::format("{}{}:{};", "rcban"[static_cast<size_t>(event.kind)],
                                        event.call_idx, event.text);
        return shown_events;
    };
    EXPECT_EQ(pushed("Hi\n"), "c0:Hi;");
    EXPECT_EQ(pushed("\n<" + kMark + "tool_calls>\n<" + kMark + "invoke name=\"wri"), "");
    EXPECT_EQ(pushed("te\""), "b0:write;");
    EXPECT_EQ(pushed(">\n<" + kMark + "parameter name=\"a\""), "a0:{\"a\": ;");
    EXPECT_EQ(pushed(" string=\"true\">one \"line\"\n\xE6"), "a0:\"one \\\"line\\\"\\n;");
    EXPECT_EQ(pushed("\xBC\xA2 <"), "a0:\u6F22 ;");
    EXPECT_EQ(pushed("/b>"), "a0:</b>;");
    EXPECT_EQ(pushed("</" + kMark + "parameter>"), "a0:\";");
    EXPECT_EQ(pushed("\n<" + kMark + "parameter name=\"n\" string=\"false\"> 1"), "a0:, \"n\": ;");
    EXPECT_EQ(pushed("2 "), "");
    EXPECT_EQ(pushed("</" + kMark + "parameter>"), "a0:12;");
    EXPECT_EQ(pushed("\n</" + kMark + "invoke>"), "a0:};n0:;");
    EXPECT_EQ(pushed("\n<" + kMark + "invoke name=\"g\">\n\n</" + kMark + "invoke>"),
              "b1:g;a1:{};n1:;");
    EXPECT_EQ(shown(parser.message()), message("", "Hi",
                                               {{"write",
                                                 R"({"a": "one \"line\"\n)"
                                                 "\u6F22 </b>\", \"n\": 12}",
                                                 true},
                                                {"g", "{}", true}}));
}

TEST(ServingParser, OfARepeatedParameterTheLastOneWins) {
    const ServingRun run = run_whole(
        write_dsml({{"f", {{"a", "1"}, {"b", "2"}, {"a", "[3]", false}, {"\u00E9\\", "4"}}},
                    {"g", {{"a", "5"}}}}));
    EXPECT_EQ(run.problem, "");
    EXPECT_TRUE(run.is_malformed);
    EXPECT_EQ(run.message.tool_calls[0].arguments,
              "{\"a\": [3], \"b\": \"2\", \"\u00E9\\\\\": \"4\"}");
    EXPECT_EQ(run.calls[0].arguments,
              "{\"a\": \"1\", \"b\": \"2\", \"a\": [3], \"\u00E9\\\\\": \"4\"}");
    EXPECT_EQ(run.message.tool_calls[1].arguments, R"({"a": "5"})");
    EXPECT_FALSE(run_whole(write_dsml({{"f", {{"a", "1"}}}, {"f", {{"a", "1"}}}})).is_malformed);
}

TEST(ServingParser, StopsEndTheAnswerBeforeThem) {
    const ServingParserOptions options{.in_reasoning = true, .stops = {"END", "###"}};
    const ServingRun run = run_whole("END ###</think>one ##EN END two", options);
    EXPECT_EQ(run.problem, "");
    EXPECT_TRUE(run.stopped);
    EXPECT_EQ(shown(run.message), message("END ###", "one ##EN "));
    EXPECT_FALSE(run_whole("x</think>one EN", options).stopped);
    EXPECT_EQ(parsed("x</think>one EN", options), message("x", "one EN"));
    EXPECT_FALSE(run_whole("x</think>" + one_call("END"), options).stopped);  // not in calls
}

// The stop that is complete first ends the answer; of those complete at the same byte the longest.
TEST(ServingParser, OfSeveralStopsTheFirstToBeCompleteCounts) {
    EXPECT_EQ(parsed("xabcd", {.stops = {"abcd", "bc"}}), message("", "xa"));
    EXPECT_EQ(parsed("xabc", {.stops = {"c", "abc", "bc"}}), message("", "x"));
    EXPECT_EQ(parsed("aaab", {.stops = {"aab"}}), message("", "a"));
    EXPECT_EQ(parsed("x\u6F22\u5B57y", {.stops = {"\u5B57"}}), message("", "x\u6F22"));
}

// Newlines may be the end of the answer, the space before a block, or a stop. Those at the start of
// the answer are never a stop; after that a stop counts as soon as it is complete, and then no
// block can follow. A block that is complete first wins over a stop that would have gone on.
TEST(ServingParser, StopsAndNewlinesBeforeABlock) {
    const std::string block = write_dsml({{"f", {}}});
    const auto stopped_at = [&](const std::string& stop) {
        const ServingRun run = run_whole("\n\nHello\n\n" + block, {.stops = {stop}});
        EXPECT_EQ(run.problem, "");
        EXPECT_EQ(run.stopped, run.message.tool_calls.empty());
        return run.stopped ? run.message.content : "block after " + run.message.content;
    };
    EXPECT_EQ(stopped_at("\n"), "Hello");
    EXPECT_EQ(stopped_at("\n\n"), "Hello");
    EXPECT_EQ(stopped_at("o\n"), "Hell");
    EXPECT_EQ(stopped_at("\n\n<"), "Hello");
    EXPECT_EQ(stopped_at("\n\n\n"), "block after Hello");
    EXPECT_EQ(stopped_at("o\n\n<" + kMark + "tool"), "block after Hello");
    EXPECT_EQ(stopped_at("\n\n<" + kMark), "Hello");    // the same bytes: the stop
    EXPECT_EQ(stopped_at(kMark), "block after Hello");  // the block began earlier
    const ServingRun run = run_whole("Hello\n\n", {.stops = {"\n\n\n"}});
    EXPECT_FALSE(run.stopped);
    EXPECT_EQ(run.message.content, "Hello\n\n");
}

TEST(ServingParser, AfterAStopTheRestIsIgnored) {
    ServingParser parser({.stops = {"."}});
    std::vector<ParserEvent> events;
    parser.push("One. Two", events);
    EXPECT_TRUE(parser.stopped());
    parser.push(" three", events);
    parser.finish(events);
    parser.push("four", events);
    EXPECT_EQ(shown(parser.message()), message("", "One"));
    EXPECT_EQ(events.size(), 1u);
}

TEST(ServingParser, WithoutToolsTagsAreText) {
    const std::string block = one_call("x");
    EXPECT_EQ(parsed("A\n\n" + block, {.parse_tools = false}), message("", "A\n\n" + block));
    EXPECT_EQ(parsed("t\n" + block + "\n</think>\nb", {.in_reasoning = true, .parse_tools = false}),
              message("t\n" + block, "b"));
}

TEST(ServingParser, BytesThatAreNoCharacterAreReplaced) {
    EXPECT_EQ(parsed("a\xFF\xE6\xBC</think>\xC3", kThinks), message("a\uFFFD\uFFFD", "\uFFFD"));
    EXPECT_EQ(arguments(one_call("\xE6\xBC")), "{\"a\": \"\uFFFD\"}");
}

TEST(ServingParser, SaysWhereItIs) {
    ServingParser parser({.in_reasoning = true});
    std::vector<ParserEvent> events;
    EXPECT_TRUE(parser.in_reasoning());
    parser.push("t</think", events);
    EXPECT_TRUE(parser.in_reasoning());
    parser.push(">a", events);
    EXPECT_FALSE(parser.in_reasoning());
    EXPECT_FALSE(parser.in_calls());
    parser.push(write_dsml({{"f", {}}}), events);
    EXPECT_TRUE(parser.in_calls());
    ServingParser moved = std::move(parser);
    moved.finish(events);
    EXPECT_EQ(moved.message().tool_calls.size(), 1u);
}

const ServingParserOptions kJsonMode{.stops = {"STOP"}, .json_mode = true};

TEST(ServingParser, JsonModeBlanksWhatIsAroundTheJson) {
    const auto content = [](const std::string& text) {
        const ServingRun run = run_whole(text, kJsonMode);
        EXPECT_EQ(run.problem, "");
        return run.message.content;
    };
    EXPECT_EQ(content("{\"a\": 1}"), "{\"a\": 1}");
    EXPECT_EQ(content("\n\nSure \u6F22:\n[1, 2]"), "        [1, 2]");
    EXPECT_EQ(content("Here:\n```json\n{\"a\": 1}\n```\nBye."), "      {\"a\": 1}     ");
    EXPECT_EQ(content("```\nnull\n```"), "null");
    EXPECT_EQ(content("```python\n{1}"), "          {1}");
    EXPECT_EQ(content("```json {\"a\": 1}"), "        {\"a\": 1}");
    EXPECT_EQ(content("no JSON"), "       ");
    EXPECT_EQ(content("{\"a\": \"```\"}"), "{\"a\": \"```\"}");
    EXPECT_EQ(content("{\"a\": 1}\n``"), "{\"a\": 1}\n``");
}

TEST(ServingParser, JsonModeSeesTagsOutsideTheJsonOnly) {
    const std::string block = write_dsml({{"f", {}}});
    const std::vector<ParsedCall> calls = {{"f", "{}", true}};
    EXPECT_EQ(parsed("x\n\n" + block, kJsonMode), message("", " ", calls));
    EXPECT_EQ(parsed("{\"a\": 1}\n\n" + block, kJsonMode), message("", "{\"a\": 1}", calls));
    EXPECT_EQ(parsed("```json\n1\n```\n\n" + block, kJsonMode), message("", "1", calls));
    const std::string inside = "{\"a\": \"\\\"<" + kMark + "tool_calls> </think>\"}";
    EXPECT_EQ(parsed(inside, kJsonMode), message("", inside));
    EXPECT_EQ(parsed("{\"a\": \"" + block, {.json_mode = true, .parse_tools = false}),
              message("", "{\"a\": \"" + block));
}

TEST(ServingParser, JsonModeLooksForStopsInTheJsonOnly) {
    const ServingRun run = run_whole("STOP {\"a\": STOP }", kJsonMode);
    EXPECT_TRUE(run.stopped);
    EXPECT_EQ(run.message.content, "     {\"a\": ");
    EXPECT_FALSE(run_whole("```\n1\n```STOP", kJsonMode).stopped);
}

// The long ones would not end within a test's time limit if what is held back were looked at again
// with every byte.
TEST(ServingParser, TakesLinearTime) {
    constexpr size_t kShort = size_t{1} << 14;
    constexpr size_t kLong = size_t{1} << 20;
    const auto repeated = [](const std::string& unit, size_t size) {
        std::string text;
        while (text.size() < size) text += unit;
        return text;
    };
    const auto before_closer = [](const std::string& block) {
        return block.substr(0, block.find("</"));
    };
    const std::string string_begin = before_closer(one_call(""));
    const std::string json_begin = before_closer(one_call("", false));
    ServingParserOptions options{.stops = {std::string(1000, '\n') + "x", "<<<<<<<<<<<<>"}};
    for (const std::string& text :
         {"a" + repeated("\n", kLong) + one_call("x"), "a" + repeated("\n", kShort),
          repeated("<", kShort), repeated("\n<", kShort), repeated("</think", kShort),
          repeated("<" + kMark.substr(0, 8), kShort), string_begin + repeated("<", kShort),
          string_begin + repeated("</" + kMark, kShort), json_begin + repeated("[", kLong),
          json_begin + repeated("\n", kShort) + "</" + kMark + "parameter>",
          repeated("<" + kMark + "invoke name=\"", kShort),
          "```json\n{" + repeated("\n``", kShort)}) {
        options.json_mode = text.starts_with('`');
        const ServingRun whole = run_whole(text, options);
        const ServingRun cut = run_serving(text, options, [] { return size_t{1}; });
        EXPECT_EQ(whole.problem, "");
        EXPECT_TRUE(shown(whole) == shown(cut)) << text.substr(0, 40);
    }
}

TEST(ServingParser, ManyRepeatedParametersTakeLinearTime) {
    std::vector<DsmlParameter> parameters;
    for (size_t i = 0; i < 20000; ++i) parameters.push_back({std::to_string(i % 7), "v"});
    const ServingRun run = run_whole(write_dsml({{"f", parameters}}));
    EXPECT_TRUE(run.is_malformed);
    EXPECT_EQ(parse_json(run.message.tool_calls[0].arguments)->size(), 7u);
}

}  // namespace
}  // namespace baleen
