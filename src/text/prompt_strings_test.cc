#include "text/prompt_strings.h"

#include "text/chat_fixture.h"

namespace baleen {
namespace {

// The string at strings/a/b/... of the shared file.
std::string shared_string(std::initializer_list<std::string_view> path) {
    static const JsonText file = chat_shared_json("spec/prompt-strings.json");
    const JsonText* at = file.find("strings");
    for (const std::string_view key : path) {
        at = at->find(key);
        if (at == nullptr) {
            ADD_FAILURE() << "no " << key << " in prompt-strings.json";
            return "";
        }
    }
    return at->string();
}

std::string prefix(Dialect dialect, Effort effort) {
    return effort_prefix(dialect, effort, std::nullopt).value();
}

TEST(PromptStrings, EffortPrefixesAreTheSharedBytes) {
    EXPECT_EQ(prefix(Dialect::kV4, Effort::kUnnamed),
              shared_string({"effort_prefix", "v4", "none"}));
    EXPECT_EQ(prefix(Dialect::kV4, Effort::kHigh), shared_string({"effort_prefix", "v4", "high"}));
    EXPECT_EQ(prefix(Dialect::kV4, Effort::kMax), shared_string({"effort_prefix", "v4", "max"}));
    for (const Effort effort : {Effort::kLow, Effort::kHigh, Effort::kMax})
        EXPECT_EQ(prefix(Dialect::kV4_0731, effort),
                  shared_string({"effort_prefix", "v4-0731", effort_name(effort)}));
    EXPECT_EQ(prefix(Dialect::kV4_0731, Effort::kUnnamed), prefix(Dialect::kV4_0731, Effort::kLow));
    EXPECT_FALSE(effort_prefix(Dialect::kV4, Effort::kLow, std::nullopt).has_value());
}

TEST(PromptStrings, RowC4_V41NamesItsBudgets) {
    const auto line = [](const std::string& budget) {
        std::string text = shared_string({"effort_prefix", "v41_template"});
        return text.replace(text.find("{budget}"), 8, budget);
    };
    EXPECT_EQ(prefix(Dialect::kV41, Effort::kLow), line("50"));
    EXPECT_EQ(prefix(Dialect::kV41, Effort::kHigh), line("75"));
    EXPECT_EQ(prefix(Dialect::kV41, Effort::kUnnamed), line("75"));
    EXPECT_EQ(prefix(Dialect::kV41, Effort::kMax), line("100"));
    EXPECT_EQ(effort_prefix(Dialect::kV41, Effort::kUnnamed, 1).value(), line("1"));
    EXPECT_FALSE(effort_prefix(Dialect::kV41, Effort::kUnnamed, 0).has_value());
    EXPECT_FALSE(effort_prefix(Dialect::kV41, Effort::kUnnamed, 101).has_value());
    EXPECT_FALSE(effort_prefix(Dialect::kV4_0731, Effort::kUnnamed, 50).has_value());
}

TEST(PromptStrings, RowC9_SectionsAreTheSharedBytes) {
    for (const auto& [dialect, name] :
         {std::pair{Dialect::kV4, "v4"}, {Dialect::kV4_0731, "v4"}, {Dialect::kV41, "v41"}}) {
        EXPECT_EQ(tools_before_schemas(dialect),
                  shared_string({"tools_section", name, "before_schemas"}));
        EXPECT_EQ(kToolsAfterSchemas, shared_string({"tools_section", name, "after_schemas"}));
        const DsmlTags& tags = dsml_tags(dialect);
        const auto opened = [](std::string_view tag) { return fmt::format("<{}{}", kDsml, tag); };
        EXPECT_EQ(opened(tags.calls) + ">", shared_string({"dsml_tags", name, "block_open"}));
        EXPECT_EQ(opened(tags.invoke) + " name=\"{name}\">",
                  shared_string({"dsml_tags", name, "invoke_open"}));
        EXPECT_EQ(opened(tags.parameter) + " name=\"{name}\" string=\"{true|false}\">",
                  shared_string({"dsml_tags", name, "parameter_open"}));
    }
    EXPECT_EQ(kSchemaSeparator, shared_string({"tools_section", "schema_separator"}));
    EXPECT_EQ(kResponseFormatPrefix, shared_string({"response_format_prefix"}));
    EXPECT_EQ(kSectionSeparator, shared_string({"section_separator"}));
    EXPECT_EQ(kPartSeparator, shared_string({"part_separator"}));
    EXPECT_EQ(kCallsLeadIn, shared_string({"block_lead_in"}));
    EXPECT_EQ(kToolResultOpen, shared_string({"tool_result", "open"}));
    EXPECT_EQ(kToolResultClose, shared_string({"tool_result", "close"}));
}

TEST(PromptStrings, ControlTokensAreTheSharedBytes) {
    EXPECT_EQ(kBos, shared_string({"bos"}));
    EXPECT_EQ(kEos, shared_string({"eos"}));
    EXPECT_EQ(kUserMarker, shared_string({"user"}));
    EXPECT_EQ(kAssistantMarker, shared_string({"assistant"}));
    EXPECT_EQ(kThinkOpen, shared_string({"think_open"}));
    EXPECT_EQ(kThinkClose, shared_string({"think_close"}));
    EXPECT_EQ(kDsml, shared_string({"dsml"}));
    EXPECT_EQ(kReminderMarker, shared_string({"latest_reminder"}));
    EXPECT_EQ(kSystemMarker, shared_string({"v41_extra", "system"}));
    EXPECT_EQ(kImagePlaceholder, shared_string({"v41_extra", "image_placeholder"}));
    for (const auto& [task, name] : {std::pair{Task::kAction, "action"},
                                     {Task::kQuery, "query"},
                                     {Task::kAuthority, "authority"},
                                     {Task::kDomain, "domain"},
                                     {Task::kTitle, "title"},
                                     {Task::kReadUrl, "read_url"}})
        EXPECT_EQ(task_token(task), shared_string({"task_tokens", name}));
}

}  // namespace
}  // namespace baleen
