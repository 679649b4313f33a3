#include "serve/script.h"

#include <gtest/gtest.h>

namespace baleen::serve {
namespace {

Job job_with(std::string text, Api api = Api::kChat) {
    Job job{.api = api};
    job.conversation.messages.push_back({.role = Role::kUser, .content = {{std::move(text), ""}}});
    return job;
}

std::string text_of(const Script::Answer& answer) {
    return answer.completion.text();
}

TEST(Script, TurnsAreUsedOnceInOrder) {
    auto script = Script::parse(R"({"turns": [
        {"when": {"contains": "rain"}, "content": "A"},
        {"content": "B"},
        {"when": {"api": "messages"}, "content": "C", "repeat": true}],
        "otherwise": {"content": "D"}})");
    ASSERT_TRUE(script) << script.error().message;
    const auto ask = [&](const Job& job) {
        auto answer = (*script)->answer(job, false);
        return answer ? text_of(*answer) : answer.error().message;
    };
    EXPECT_EQ(ask(job_with("sun")), "B");
    EXPECT_EQ(ask(job_with("rain tomorrow")), "A");
    EXPECT_EQ(ask(job_with("rain tomorrow")), "D");
    EXPECT_EQ(ask(job_with("x", Api::kMessages)), "C");
    EXPECT_EQ(ask(job_with("x", Api::kMessages)), "C");
}

TEST(Script, WritesWhatAModelWould) {
    auto script = Script::parse(R"({"turns": [
        {"reasoning": "hm", "content": "go",
         "tool_calls": [{"name": "f", "arguments": {"a": "x", "b": 1}}]}],
        "otherwise": {"raw": "as <think> is"}})");
    ASSERT_TRUE(script) << script.error().message;
    EXPECT_EQ(
        text_of(*(*script)->answer(job_with(""), true)),
        "hm</think>go\n\n<\uFF5CDSML\uFF5Ctool_calls>\n"
        "<\uFF5CDSML\uFF5Cinvoke name=\"f\">\n"
        "<\uFF5CDSML\uFF5Cparameter name=\"a\" string=\"true\">x</\uFF5CDSML\uFF5Cparameter>\n"
        "<\uFF5CDSML\uFF5Cparameter name=\"b\" string=\"false\">1</\uFF5CDSML\uFF5Cparameter>\n"
        "</\uFF5CDSML\uFF5Cinvoke>\n</\uFF5CDSML\uFF5Ctool_calls>");
    EXPECT_EQ(text_of(*(*script)->answer(job_with(""), true)), "as <think> is");
}

TEST(Script, ErrorsNameTurnAndField) {
    for (const auto& [json, words] : std::vector<std::pair<std::string, std::string>>{
             {"[]", "turns"},
             {R"({"turns": [1]})", "turn 0"},
             {R"({"turns": [{}, {"content": 3}]})", "turn 1: content"},
             {R"({"turns": [{"repeat": "yes"}]})", "repeat"},
             {R"({"turns": [{"tool_calls": {}}]})", "tool_calls"},
             {R"({"turns": [], "otherwise": {"raw": 1}})", "otherwise: raw"}}) {
        const auto script = Script::parse(json);
        ASSERT_FALSE(script) << json;
        EXPECT_NE(script.error().message.find(words), std::string::npos) << script.error().message;
    }
}

TEST(ForcedTokens, AllowOneTokenAtATime) {
    ForcedTokens forced({5, 70});
    std::vector<uint64_t> mask(2, ~uint64_t{0});
    EXPECT_EQ(forced.restrict_next(mask, 10), TokenConstraint::Restriction::kMasked);
    EXPECT_EQ(mask, (std::vector<uint64_t>{uint64_t{1} << 5, 0}));
    forced.accept(5);
    mask.assign(2, ~uint64_t{0});
    EXPECT_EQ(forced.restrict_next(mask, 9), TokenConstraint::Restriction::kMasked);
    EXPECT_EQ(mask, (std::vector<uint64_t>{0, uint64_t{1} << 6}));
    forced.accept(70);
    EXPECT_EQ(forced.restrict_next(mask, 8), TokenConstraint::Restriction::kFinished);
}

}  // namespace
}  // namespace baleen::serve
