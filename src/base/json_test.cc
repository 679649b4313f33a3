#include "base/json.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace baleen {
namespace {

TEST(Json, OneWholeTextAndNothingElse) {
    using namespace std::string_literals;
    const std::vector<std::string> bad = {
        "",          " ",     "{} x",        "{}{}",           "1 2",
        "[1],",      "{}\0"s, "{}\0x"s,      "\0{}"s,          "{\"a\": \0 1}"s,
        "\"a\0b\""s, "\0"s,   "{} \n\0 {}"s, "\xEF\xBB\xBF{}", "{}\xEF\xBB\xBF",
    };
    for (const std::string& text : bad) {
        const auto json = parse_json(text);
        ASSERT_FALSE(json) << text;
        EXPECT_EQ(json.error().code, ErrorCode::kCorrupt);
        EXPECT_FALSE(parse_sorted_json(text)) << text;
    }
    EXPECT_EQ(parse_json("{}\0x"s).error().message, "bad JSON at byte 3");
    for (const std::string& text : {" {} \n\t\r"s, "\"\\u0000\""s, "\"\xEF\xBB\xBF\""s}) {
        EXPECT_TRUE(parse_json(text)) << text;
        EXPECT_TRUE(parse_sorted_json(text)) << text;
    }
}

TEST(Json, NestingHasALimit) {
    const std::string open(size_t{kJsonDepthMax}, '['), close(size_t{kJsonDepthMax}, ']');
    EXPECT_TRUE(parse_json(open + close));
    EXPECT_EQ(parse_json("[" + open + close + "]").error().message,
              "JSON is nested deeper than 128 levels at byte 128");
}

TEST(Json, CanonicalTextIsOnePerValue) {
    const auto text = [](std::string_view json) {
        return *dump_canonical_json(*parse_sorted_json(json));
    };
    EXPECT_EQ(text(" {\"b\": [1, null], \"a\": {\"d\": \"\\u00e9\", \"c\": 2}} "),
              "{\"a\":{\"c\":2,\"d\":\"\xC3\xA9\"},\"b\":[1,null]}");
    EXPECT_EQ(text("{\"a\": 1, \"a\": 2}"), "{\"a\":2}");
    for (const std::string bad : {"\xFF", "a\xC3", "\xC0\x80", "\xED\xA0\x80"}) {
        const auto refused = dump_canonical_json(SortedJson{{"a", bad}});
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
    }
}

}  // namespace
}  // namespace baleen
