#include "text/json_text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/json.h"
#include "base/rng.h"
#include "text/utf8.h"

namespace baleen {
namespace {

std::string dumped(std::string_view json) {
    const Result<JsonText> value = JsonText::parse(json);
    return value ? value->dump_python() : "error: " + value.error().message;
}

ErrorCode error_code_of(std::string_view json) {
    const Result<JsonText> value = JsonText::parse(json);
    EXPECT_FALSE(value.has_value()) << json;
    return value ? ErrorCode::kIo : value.error().code;
}

TEST(JsonText, WritesNumbersAsPythonDoes) {
    const std::pair<const char*, const char*> cases[] = {
        {"1.50", "1.5"},
        {"1e3", "1000.0"},
        {"1E-7", "1e-07"},
        {"1e16", "1e+16"},
        {"0.0001", "0.0001"},
        {"1e-5", "1e-05"},
        {"-0.0", "-0.0"},
        {"-0", "0"},
        {"0", "0"},
        {"-0e0", "-0.0"},
        {"0e999999999999999999999", "0.0"},
        {"9999999999999999", "9999999999999999"},
        {"9999999999999998.0", "9999999999999998.0"},
        {"1e15", "1000000000000000.0"},
        {"123456789012345678.0", "1.2345678901234568e+17"},
        {"1.7976931348623157e308", "1.7976931348623157e+308"},
        {"-1.5e-300", "-1.5e-300"},
        {"5e-324", "5e-324"},
        {"2e-324", "0.0"},
        {"-1e-400", "-0.0"},
        {"0.000000000000000000001e21", "1.0"},
        {"1000000000000000000000000e-24", "1.0"},
        {"123456789012345678901234567890123456789", "123456789012345678901234567890123456789"},
        {"-18446744073709551616", "-18446744073709551616"},
        {"0.1", "0.1"},
        {"100", "100"},
        {"1e2", "100.0"},
        {"1.0E+2", "100.0"},
    };
    for (const auto& [json, expected] : cases) EXPECT_EQ(dumped(json), expected) << json;
    const std::string long_fraction = "0." + std::string(5000, '3');
    EXPECT_EQ(dumped(long_fraction), "0.3333333333333333");
    const std::string small = "0." + std::string(400, '0') + "1e401";
    EXPECT_EQ(dumped(small), "1.0");
}

TEST(JsonText, WritesStringsAsPythonDoes) {
    const std::pair<const char*, const char*> cases[] = {
        {R"("\/\"\\\b\f\n\r\t")", R"("/\"\\\b\f\n\r\t")"},
        {R"("\u0000\u001F\u007f")", "\"\\u0000\\u001f\x7F\""},
        {R"("\u2028\u00e9")", "\"\u2028\u00e9\""},
        {R"("\ud83d\ude00")", "\"\U0001F600\""},
        {R"("\uD83D\uDE00x")", "\"\U0001F600x\""},
        {"\"\u6f22\"", "\"\u6f22\""},
        {R"("\uFFFF")", "\"\uFFFF\""},
    };
    for (const auto& [json, expected] : cases) EXPECT_EQ(dumped(json), expected) << json;
}

TEST(JsonText, WritesSeparatorsAsPythonDoes) {
    EXPECT_EQ(dumped(" [ 1 ,2,[ ] ,{ } , true,false ,null ] "),
              "[1, 2, [], {}, true, false, null]");
    EXPECT_EQ(dumped("{\"b\":1,\n\t\"a\":{\"\":[]}}\r\n"), "{\"b\": 1, \"a\": {\"\": []}}");
}

TEST(JsonText, ARepeatedKeyKeepsItsFirstPlaceAndLastValue) {
    EXPECT_EQ(dumped(R"({"a":1,"b":2,"a":3})"), R"({"a": 3, "b": 2})");
    EXPECT_EQ(dumped(R"({"a":1,"a":2,"a":[]})"), R"({"a": []})");
    EXPECT_EQ(dumped(R"({"\u0061":1,"b":0,"a":2})"), R"({"a": 2, "b": 0})");
}

TEST(JsonText, ManyKeysKeepTheirOrder) {
    std::string json = "{";
    std::string expected = "{";
    constexpr int kNumKeys = 200'000;
    for (int round = 0; round < 2; ++round)
        for (int i = kNumKeys; i-- > 0;)
            json += fmt::format("{}\"k{}\":{}", json.size() > 1 ? "," : "", i, i + round);
    for (int i = kNumKeys; i-- > 0;)
        expected += fmt::format("{}\"k{}\": {}", expected.size() > 1 ? ", " : "", i, i + 1);
    EXPECT_EQ(dumped(json + "}"), expected + "}");
}

TEST(JsonText, WhatIsNoJsonIsCorrupt) {
    for (const char* json : {"",
                             " ",
                             "nul",
                             "truex",
                             "tru",
                             "01",
                             "-",
                             "-a",
                             "1.",
                             ".5",
                             "1e",
                             "1e+",
                             "+1",
                             "0x10",
                             "[1",
                             "[1,",
                             "[1,]",
                             "[,1]",
                             "{",
                             "{\"a\"",
                             "{\"a\":",
                             "{\"a\":1",
                             "{\"a\":1,",
                             "{\"a\":1,}",
                             "{a:1}",
                             "{1:1}",
                             "[1}",
                             "\"",
                             "\"\\",
                             "\"\\x\"",
                             "\"\\u12\"",
                             "\"\\u12g4\"",
                             "\"\\u-123\"",
                             "\"a\nb\"",
                             "\"\x01\"",
                             "'a'",
                             "1 2",
                             "[] []",
                             "\"\xFF\"",
                             "\"\xED\xA0\x80\"",
                             "\xEF\xBB\xBF{}",
                             "[1]\xC3",
                             "\v1"})
        EXPECT_EQ(error_code_of(json), ErrorCode::kCorrupt) << json;
    EXPECT_EQ(error_code_of(std::string_view("\"a\0b\"", 5)), ErrorCode::kCorrupt);
    EXPECT_EQ(error_code_of(std::string_view("1\0", 2)), ErrorCode::kCorrupt);
}

TEST(JsonText, WhatAPromptCannotCarryIsRefused) {
    for (const char* json :
         {"NaN", "[Infinity]", "-Infinity", "1e309", "-1e400", "1e99999999999999999999",
          "17976931348623157000e290", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\ud800\"",
          "\"\\ud800\\u0041\"", "\"\\ud800x\"", "{\"\\udfff\":1}"})
        EXPECT_EQ(error_code_of(json), ErrorCode::kInvalidArgument) << json;
}

TEST(JsonText, NestingHasALimit) {
    const auto nested = [](int depth) {
        const auto size = static_cast<size_t>(depth);
        return std::string(size, '[') + std::string(size, ']');
    };
    EXPECT_EQ(dumped(nested(kJsonDepthMax)), nested(kJsonDepthMax));
    EXPECT_EQ(error_code_of(nested(kJsonDepthMax + 1)), ErrorCode::kInvalidArgument);
    EXPECT_EQ(error_code_of(std::string(1'000'000, '[')), ErrorCode::kInvalidArgument);
    std::string objects;
    for (int i = 0; i <= kJsonDepthMax; ++i) objects += "{\"a\":";
    EXPECT_EQ(error_code_of(objects), ErrorCode::kInvalidArgument);
    // Breadth is no depth.
    std::string wide = "[[]";
    for (int i = 0; i < 1000; ++i) wide += ", [[]]";
    EXPECT_EQ(dumped(wide + "]"), wide + "]");
}

TEST(JsonText, EveryTruncationIsAnError) {
    const std::string_view json =
        R"({"a": [1, -2.5e3, "x\u00e9\ud83d\ude00", {"b": null}], "c": true, "d": false})";
    EXPECT_NE(dumped(json).find("-2500.0"), std::string::npos);
    for (size_t size = 0; size < json.size(); ++size)
        EXPECT_FALSE(JsonText::parse(json.substr(0, size)).has_value()) << size;
}

// Whatever a flipped byte makes of a text: an error, or a value that is written as it is read.
TEST(JsonText, FlippedBytesAreReadOrRefused) {
    const std::string json =
        R"({"a": [1, -2.5e3, "x\u00e9\ud83d\ude00", {"b": null}], "c": true, "a": 0.001})";
    for (size_t i = 0; i < json.size(); ++i)
        for (int byte = 0; byte < 256; ++byte) {
            std::string flipped = json;
            flipped[i] = static_cast<char>(byte);
            const Result<JsonText> value = JsonText::parse(flipped);
            if (!value) continue;
            const std::string written = value->dump_python();
            EXPECT_EQ(dumped(written), written);
        }
}

TEST(JsonText, RandomDoublesComeBack) {
    Rng rng(20261124);
    for (int i = 0; i < 200'000; ++i) {
        const uint64_t bits = rng.next_below(std::numeric_limits<uint64_t>::max());
        double value = 0;
        std::memcpy(&value, &bits, sizeof value);
        if (!std::isfinite(value)) continue;
        const std::string text = python_double(value);
        EXPECT_EQ(std::strtod(text.c_str(), nullptr), value) << text;
        EXPECT_EQ(dumped(text), text);
    }
}

TEST(JsonText, GivesAccessToItsTree) {
    const JsonText value =
        JsonText::parse(R"({"i": 7, "d": 7.0, "big": 99999999999999999999, "n": null, "l": ["x"]})")
            .value();
    EXPECT_EQ(value.size(), 5u);
    EXPECT_EQ(value.find("i")->integer(), 7);
    EXPECT_FALSE(value.find("d")->integer().has_value());
    EXPECT_FALSE(value.find("big")->integer().has_value());
    EXPECT_EQ(value.find("big")->number(), "99999999999999999999");
    EXPECT_NE(value.find("n"), nullptr);
    EXPECT_EQ(value.find_set("n"), nullptr);
    EXPECT_EQ(value.find("nothing"), nullptr);
    EXPECT_EQ(value.find("l")->find("x"), nullptr);
    EXPECT_EQ(value.find("l")->at(0).string(), "x");
    EXPECT_EQ(value.members()[1].key, "d");
    EXPECT_EQ(JsonText().size(), 0u);
}

TEST(JsonText, TruthIsPythons) {
    for (const char* json : {"null", "false", "0", "-0", "0.0", "-0.0", "\"\"", "[]", "{}"})
        EXPECT_FALSE(JsonText::parse(json)->truthy()) << json;
    for (const char* json : {"true", "1", "0.5", "\" \"", "[0]", "{\"\":0}"})
        EXPECT_TRUE(JsonText::parse(json)->truthy()) << json;
}

TEST(JsonText, SetAndEraseKeepTheOrder) {
    JsonText value = JsonText::parse(R"({"a":1,"b":2})").value();
    value.set("a", JsonText::of_string("\n"));
    value.set("c", JsonText());
    EXPECT_EQ(value.dump_python(), R"({"a": "\n", "b": 2, "c": null})");
    value.erase("b");
    value.erase("nothing");
    EXPECT_EQ(value.dump_python(), R"({"a": "\n", "c": null})");
}

}  // namespace
}  // namespace baleen
