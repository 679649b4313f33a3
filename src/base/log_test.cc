#include "base/log.h"

#include <gtest/gtest.h>

#include <regex>
#include <thread>
#include <vector>

namespace baleen {
namespace {

// What `body` writes to stderr.
template <typename Body>
std::string logged(const Body& body) {
    testing::internal::CaptureStderr();
    body();
    return testing::internal::GetCapturedStderr();
}

TEST(Log, ALineHasTimeLevelComponentAndMessage) {
    const std::string text = logged([] { log_warn("net", "listening port={}", 80); });
    const std::regex form(
        "\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z warning net listening port=80\n");
    EXPECT_TRUE(std::regex_match(text, form)) << text;
}

TEST(Log, LinesBelowTheLevelAreNotWritten) {
    set_log_level(LogLevel::kError);
    EXPECT_EQ(logged([] { log_warn("a", "x"); }), "");
    EXPECT_NE(logged([] { log_error("a", "x"); }), "");
    set_log_level(LogLevel::kOff);
    EXPECT_EQ(logged([] { log_error("a", "x"); }), "");
    set_log_level(LogLevel::kDebug);
    EXPECT_NE(logged([] { log_debug("a", "x"); }), "");
    set_log_level(LogLevel::kInfo);
    EXPECT_EQ(logged([] { log_debug("a", "x"); }), "");
    EXPECT_NE(logged([] { log_info("a", "x"); }), "");
}

TEST(Log, LevelsAreParsed) {
    EXPECT_EQ(parse_log_level("debug").value(), LogLevel::kDebug);
    EXPECT_EQ(parse_log_level("info").value(), LogLevel::kInfo);
    EXPECT_EQ(parse_log_level("warn").value(), LogLevel::kWarn);
    EXPECT_EQ(parse_log_level("error").value(), LogLevel::kError);
    EXPECT_EQ(parse_log_level("off").value(), LogLevel::kOff);
    EXPECT_EQ(parse_log_level("loud").error().code, ErrorCode::kInvalidArgument);
}

TEST(Log, AMessageStaysOneLine) {
    const std::string text = logged([] { log_info("a", "x={}", "1\n2099 error a forged\r\x1b"); });
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
    EXPECT_NE(text.find("x=1\\n2099 error a forged\\x0d\\x1b\n"), std::string::npos) << text;
}

TEST(Log, ValuesAreQuotedWhenTheyAreNotOneWord) {
    EXPECT_EQ(quoted("word-1/2"), "word-1/2");
    EXPECT_EQ(quoted(""), "\"\"");
    EXPECT_EQ(quoted("two words"), "\"two words\"");
    EXPECT_EQ(quoted("a\"b\\c\n"), "\"a\\\"b\\\\c\\n\"");
    EXPECT_EQ(quoted("a=b"), "\"a=b\"");
}

TEST(Log, LinesOfManyThreadsDoNotMix) {
    const std::string text = logged([] {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 4; ++i)
            threads.emplace_back([] {
                for (int k = 0; k < 100; ++k) log_info("a", "abcdefghij");
            });
    });
    size_t lines = 0;
    for (size_t at = 0; (at = text.find(" info a abcdefghij\n", at)) != std::string::npos; ++at)
        ++lines;
    EXPECT_EQ(lines, 400u);
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 400);
}

}  // namespace
}  // namespace baleen
