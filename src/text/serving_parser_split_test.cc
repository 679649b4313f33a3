// The serving parser's result does not depend on where the text was cut: a table of outputs, each
// cut at every byte into two, into pieces of every size, and cut off after every byte.
#include <gtest/gtest.h>

#include "base/rng.h"
#include "text/argument_json.h"
#include "text/completion_parser_fixture.h"

namespace baleen {
namespace {

const std::string kMark(kDsml);
const std::string kDoubled = "\uFF5C" + kMark + "\uFF5C";

struct Script {
    std::string text;
    ParsedMessage expected;
    ServingParserOptions options{};
    bool stopped = false;
};

// Raw values of string parameters; each stands in the arguments as JSON.
std::vector<std::string> string_values() {
    return {"",
            "x",
            "ls -l 2>&1",
            "<",
            "</",
            ">",
            "a<b>c</d>",
            "\n",
            "\n\nx\n\n",
            " \t ",
            "\"quoted\" \\ \\\" back",
            "\x01\x7F\b\f\r",
            "\u6F22\u5B57 \U0001F389 e\u0301 \uFF5C\uFF5C",
            "</\uFF5C",
            "</" + kMark,
            "</" + kMark + "invoke>\n</" + kMark + "tool_calls>",
            "</" + kMark + " calls>",
            "</" + kMark + "paramete",
            "</" + kMark + " paramete</" + kMark,
            "</" + kDoubled + "parameter>",
            "<" + kMark + "parameter name=\"b\" string=\"true\">",
            "<" + kMark + "tool_calls>\n<" + kMark + "invoke name=\"g\">",
            "</parameter></tool_call></function>",
            "</think><think>",
            std::string(kEos),
            "invoke name=\"f\">",
            "false\">true\">",
            "```json\n{\"a\": [1, {}]}\n```",
            "if (a < b && c > d) { return \"</a>\"; }\n",
            "{\"not\": [\"parsed\", 1]}"};
}

struct JsonValue {
    std::string raw;
    bool is_json = true;
};

std::vector<JsonValue> json_values() {
    return {{"3"},
            {" -1.5e3\n"},
            {"true"},
            {"null"},
            {"\"<\""},
            {"[1, [2, {\"a\": []}]]"},
            {"{\"a\": {\"b\": \"</" + kMark + "invoke>\"}}"},
            {"\"\u6F22 \\\" \U0001F389\""},
            {"\n{\n \"k\": 1\n}\n"},
            {"", false},
            {"nope <", false},
            {"{\"a\": ", false},
            {"1 2", false},
            {"1e999", false},
            {"\"\\ud800\"", false},
            {"\"line\nbreak\"", false}};
}

ParsedMessage one_call(const std::string& content, const std::string& arguments) {
    return {"", content, {{"f", arguments, true}}};
}

// Each value in blocks of both dialects, as the last thing, between others, in damaged wrappers.
void add_values(const DsmlParameter& parameter, const std::string& json,
                std::vector<Script>& scripts) {
    const std::string alone = "{\"a\": " + json + "}";
    scripts.push_back({"Go.\n\n" + write_dsml({{"f", {parameter}}}), one_call("Go.", alone)});
    scripts.push_back({write_dsml({{"f", {parameter}}}, kMark, true), one_call("", alone)});
    scripts.push_back(
        {"<" + kMark + "toolcalls\n" + write_dsml(DsmlCall{"f", {parameter}}, kMark, false) + "\n",
         one_call("", alone)});
    const std::string among = "{\"before\": \"1\", \"a\": " + json + ", \"after\": [2]}";
    Script parallel{
        "t\n\n" + write_dsml({{"g", {}},
                              {"f", {{"before", "1"}, parameter, {"after", "[2]", false}}},
                              {"f", {parameter}}}),
        {"t", "", {{"g", "{}", true}, {"f", among, true}, {"f", alone, true}}},
        {.in_reasoning = true}};
    scripts.push_back(std::move(parallel));
}

// Row A7: what of a wrapper goes out must not be taken back.
void add_wrappers(std::vector<Script>& scripts) {
    const ServingParserOptions options{.is_wrapper = [](std::string_view, std::string_view name) {
        return name == "input" || name == "arguments";
    }};
    const auto add = [&](const std::vector<DsmlParameter>& parameters,
                         const std::string& arguments) {
        scripts.push_back({write_dsml({{"f", parameters}}), one_call("", arguments), options});
        scripts.push_back({write_dsml({{"f", parameters}, {"f", parameters}}, kMark, true),
                           {"", "", {{"f", arguments, true}, {"f", arguments, true}}},
                           options});
    };
    for (const bool is_string : {true, false})
        for (const std::string blank : {"", " \n"}) {
            add({{"input", blank + R"({"q": "a </p> \u00e9"})" + blank, is_string}},
                R"({"q": "a </p> \u00e9"})");
            add({{"arguments", blank + "{}" + blank, is_string}}, "{}");
        }
    add({{"input", R"("{\"q\": 1}")", false}}, R"({"q": 1})");
    add({{"input", "{not"}}, R"({"input": "{not"})");
    add({{"input", " {not", false}}, R"({"input": "{not"})");
    add({{"input", "\n <x>"}}, R"({"input": "\n <x>"})");
    add({{"input", "<"}}, R"({"input": "<"})");
    add({{"input", ""}}, R"({"input": ""})");
    add({{"input", "[{}]", false}}, R"({"input": [{}]})");
    add({{"input", "{}"}, {"q", "{}"}}, R"({"input": "{}", "q": "{}"})");
    add({{"input", R"({"q": 1})", false}, {"arguments", "{}", false}},
        R"({"input": {"q": 1}, "arguments": {}})");
    add({{"q", "{}"}, {"input", "{}"}}, R"({"q": "{}", "input": "{}"})");
}

void add_doubled_bars(std::vector<Script>& scripts) {
    for (const std::string& bars : {kDoubled, "\uFF5C" + kMark})
        for (const bool is_spaced : {false, true})
            scripts.push_back({"Go.\n\n" + write_dsml({{"f", {{"a", "2>&1<"}}}}, bars, is_spaced),
                               one_call("Go.", R"({"a": "2>&1<"})")});
}

void add_empty_calls(std::vector<Script>& scripts) {
    for (const std::string between : {"", "\n", "\n\n", " \n <x/>"})
        scripts.push_back({"\n<" + kMark + "tool_calls>\n<" + kMark + "invoke name=\"f\">" +
                               between + "</" + kMark + "invoke>\n</" + kMark + "tool_calls>after",
                           one_call("", "{}")});
}

void add_unfinished(std::vector<Script>& scripts) {
    for (const std::string closer : {"</tool_call>", "</function>\n", "</\uFF5CDSML\uFF5Cinvoke>",
                                     "</\uFF5CDSML\uFF5Ctool_calls>"}) {
        std::string arguments = "{\"a\": \"v";
        append_json_escaped(closer + "!", arguments);
        scripts.push_back({"<" + kMark + "tool_calls>\n<" + kMark + "invoke name=\"f\">\n<" +
                               kMark + "parameter name=\"a\" string=\"true\">v" + closer + "!",
                           {"", "", {{"f", arguments, false}}}});
    }
}

void add_plain(std::vector<Script>& scripts) {
    for (const std::string& text : string_values()) {
        if (text.find("<\uFF5C") != text.npos || text.find("</think>") != text.npos) continue;
        const size_t begin = std::min(text.find_first_not_of('\n'), text.size());
        scripts.push_back({text, {"", text.substr(begin), {}}});
        scripts.push_back({"." + text + ".</think>." + text,
                           {"." + text + ".", "." + text, {}},
                           {.in_reasoning = true}});
    }
    scripts.push_back({"a\n</think>\nb", {"", "a\n\nb", {}}});
    scripts.push_back({"t\n\n</think></think>\nb", {"t", "\nb", {}}, {.in_reasoning = true}});
    scripts.push_back(
        {"\xFF"
         "a\xE6\xBC</think>\xF0\x9F",
         {"", "\uFFFDa\uFFFD\uFFFD", {}}});
}

void add_stops(std::vector<Script>& scripts) {
    const ServingParserOptions options{.in_reasoning = true,
                                       .stops = {"\n\nUser:", "END", "\u6F22"}};
    const auto add = [&](const std::string& answer, const std::string& content, bool stopped) {
        scripts.push_back({"END</think>\n" + answer, {"END", content, {}}, options, stopped});
    };
    add("one END two", "one ", true);
    add("one EN", "one EN", false);
    add("EEEND", "EE", true);
    add("one\n\n\nUser: x", "one\n", true);
    add("one\n\nUser", "one\n\nUser", false);
    add("a\u6F00\u6F22", "a\u6F00", true);
    add("\n\nUser: x", "User: x", false);  // the newlines are those at the start
    scripts.push_back({"t</think>a\n\n" + write_dsml({{"f", {{"a", "END"}}}}),
                       {"t", "a", {{"f", R"({"a": "END"})", true}}},
                       options});
}

void add_json_mode(std::vector<Script>& scripts) {
    const ServingParserOptions options{.json_mode = true};
    const std::string json = "{\"a\": \"```\", \"b\": \"<" + kMark + "x\", \"c\": [1, \"\u6F22\"]}";
    const std::string block = "\n\n" + std::string(write_dsml({{"f", {}}}));
    scripts.push_back({"\n\u6F22! " + json, {"", "   " + json, {}}, options});
    scripts.push_back({"```json\n" + json + "\n```\nx", {"", json + "  ", {}}, options});
    scripts.push_back({"``\n```\n" + json + "\n``", {"", "   " + json + "\n``", {}}, options});
    scripts.push_back({json + block, {"", json, {{"f", "{}", true}}}, options});
    scripts.push_back({"x" + block, {"", " ", {{"f", "{}", true}}}, options});
}

std::vector<Script> make_scripts() {
    std::vector<Script> scripts;
    for (const std::string& value : string_values())
        add_values({"a", value, true}, json_quoted(value), scripts);
    for (const JsonValue& value : json_values()) {
        const std::string_view json = trimmed(value.raw);
        add_values({"a", value.raw, false}, value.is_json ? std::string(json) : json_quoted(json),
                   scripts);
    }
    add_wrappers(scripts);
    add_doubled_bars(scripts);
    add_empty_calls(scripts);
    add_unfinished(scripts);
    add_plain(scripts);
    add_stops(scripts);
    add_json_mode(scripts);
    return scripts;
}

const std::vector<Script>& all_scripts() {
    static const std::vector<Script> scripts = make_scripts();
    return scripts;
}

TEST(ServingParserSplit, TheTableIsLargeAndRight) {
    EXPECT_GE(all_scripts().size(), 200u);
    for (const Script& script : all_scripts()) {
        const ServingRun run = run_whole(script.text, script.options);
        EXPECT_EQ(run.problem, "") << script.text;
        EXPECT_EQ(shown(run.message), shown(script.expected)) << script.text;
        EXPECT_EQ(run.stopped, script.stopped) << script.text;
        EXPECT_FALSE(run.is_malformed) << script.text;
    }
}

TEST(ServingParserSplit, EverySplitIntoTwoGivesTheSame) {
    for (const Script& script : all_scripts()) {
        const std::string whole = shown(run_whole(script.text, script.options));
        for (size_t at = 1; at < script.text.size(); ++at) {
            bool is_first = true;
            const ServingRun run = run_serving(script.text, script.options, [&] {
                return std::exchange(is_first, false) ? at : script.text.size();
            });
            ASSERT_EQ(shown(run), whole) << at << " of " << script.text;
        }
    }
}

TEST(ServingParserSplit, PiecesOfAnySizeGiveTheSame) {
    for (const Script& script : all_scripts()) {
        const std::string whole = shown(run_whole(script.text, script.options));
        for (size_t size = 1; size <= script.text.size(); ++size) {
            const ServingRun run = run_serving(script.text, script.options, [&] { return size; });
            ASSERT_EQ(shown(run), whole) << size << " of " << script.text;
        }
    }
}

TEST(ServingParserSplit, PiecesOfMixedSizesGiveTheSame) {
    Rng rng(20);
    for (const Script& script : all_scripts()) {
        const std::string whole = shown(run_whole(script.text, script.options));
        for (int i = 0; i < 20; ++i) {
            const ServingRun run =
                run_serving(script.text, script.options, [&] { return 1 + rng.next_below(9); });
            ASSERT_EQ(shown(run), whole) << script.text;
        }
    }
}

// Cut off after every byte: what calls there are, are the first of the whole text's. Complete ones
// are the same; the last may be the beginning of one.
TEST(ServingParserSplit, OfACutTextTheCallsAreTheBeginning) {
    for (const Script& script : all_scripts()) {
        const ServingRun whole = run_whole(script.text, script.options);
        for (size_t size = 0; size < script.text.size(); ++size) {
            const ServingRun run = run_whole(script.text.substr(0, size), script.options);
            ASSERT_EQ(run.problem, "") << size << " of " << script.text;
            ASSERT_LE(run.calls.size(), whole.calls.size());
            for (size_t i = 0; i < run.calls.size(); ++i) {
                EXPECT_EQ(run.calls[i].name, whole.calls[i].name);
                EXPECT_TRUE(whole.calls[i].arguments.starts_with(run.calls[i].arguments))
                    << run.calls[i].arguments << " of " << whole.calls[i].arguments;
                EXPECT_EQ(run.calls[i].ended, run.calls[i].arguments == whole.calls[i].arguments &&
                                                  whole.calls[i].ended);
            }
        }
    }
}

// While the text comes, what has been given out is never taken back and never part of a marker:
// it is a prefix of what the whole text gives.
TEST(ServingParserSplit, DeltasAreNeverAheadOfTheResult) {
    for (const Script& script : all_scripts()) {
        const ServingRun whole = run_whole(script.text, script.options);
        ServingParser parser(script.options);
        std::vector<ParserEvent> events;
        for (const char byte : script.text) {
            parser.push({&byte, 1}, events);
            ASSERT_TRUE(whole.reasoning.starts_with(parser.message().reasoning)) << script.text;
            ASSERT_TRUE(whole.content.starts_with(parser.message().content)) << script.text;
        }
    }
}

std::string random_text(Rng& rng, size_t pieces_max) {
    static const std::vector<std::string> kPieces = {
        "a", "<",    "</",     ">",          "\"",     "\\",   "\n",   "\n\n",
        " ", "2>&1", "\u6F22", "\U0001F389", "\uFF5C", "</p>", "DSML", "tool_calls>"};
    std::string text;
    for (size_t i = rng.next_below(pieces_max + 1); i > 0; --i)
        text += kPieces[rng.next_below(kPieces.size())];
    return text;
}

// Written canonically, read by both parsers: the same message comes back.
TEST(ServingParserSplit, WhatIsWrittenComesBackFromBothParsers) {
    Rng rng(21);
    for (int round = 0; round < 2000; ++round) {
        // Not empty and without newlines at the ends, which the serving parser drops.
        ParsedMessage message{"r" + random_text(rng, 5) + "r", "c" + random_text(rng, 5) + "c", {}};
        std::vector<DsmlCall> calls;
        for (size_t i = rng.next_below(4); i > 0; --i) {
            DsmlCall call{fmt::format("f{}", rng.next_below(3)), {}};
            std::string arguments = "{";
            for (size_t j = rng.next_below(4); j > 0; --j) {
                const std::string value = random_text(rng, 8);
                const bool is_string = rng.next_below(2) == 0;
                const std::string name = fmt::format("p{}", j);
                if (arguments.size() > 1) arguments += ", ";
                arguments += json_quoted(name) + ": " + json_quoted(value);
                call.parameters.push_back(
                    {name, is_string ? value : json_quoted(value), is_string});
            }
            message.tool_calls.push_back({call.name, arguments + "}", true});
            calls.push_back(std::move(call));
        }
        std::string text = message.reasoning + "</think>" + message.content;
        if (!calls.empty()) text.append("\n\n").append(write_dsml(calls));
        const ServingRun run =
            run_serving(text, {.in_reasoning = true}, [&] { return 1 + rng.next_below(30); });
        ASSERT_EQ(run.problem, "") << text;
        ASSERT_EQ(shown(run.message), shown(message)) << text;
        const auto strict = parse_strict(text + std::string(kEos), ThinkingMode::kThinking);
        ASSERT_TRUE(strict.has_value()) << strict.error().message << " in " << text;
        ASSERT_EQ(shown(*strict), shown(message)) << text;
    }
}

}  // namespace
}  // namespace baleen
