#include "text/arguments_wrapper.h"

#include <gtest/gtest.h>

namespace baleen {
namespace {

bool is_wrapper(const std::string& schema, const std::string& parameter = "arguments") {
    return is_wrapper_name({.name = "f", .parameters = schema}, parameter);
}

TEST(ArgumentsWrapper, RowA7_ANameThatTheSchemaLacksMayWrap) {
    const std::string schema = R"({"type": "object", "properties": {"q": {"type": "string"}}})";
    EXPECT_TRUE(is_wrapper(schema));
    EXPECT_TRUE(is_wrapper(schema, "input"));
    for (const char* other : {"q", "Arguments", "args", "", "parameters"})
        EXPECT_FALSE(is_wrapper(schema, other)) << other;
    EXPECT_TRUE(is_wrapper(R"({"$ref": "#/$defs/a", "$defs": {"a": )" + schema + "}}"));
    EXPECT_TRUE(is_wrapper(R"({"type": "object", "additionalProperties": false})"));
}

TEST(ArgumentsWrapper, RowA7_ANameThatTheSchemaHasOrMayHaveNeverWraps) {
    EXPECT_FALSE(is_wrapper(R"({"type": "object", "properties": {"arguments": {}}})"));
    EXPECT_FALSE(is_wrapper(R"({"type": "object", "properties": {"input": {}}})", "input"));
    EXPECT_TRUE(is_wrapper(R"({"type": "object", "properties": {"input": {}}})"));
    for (const char* schema :
         {"", "null", "{}", "{", "[]", R"({"type": "object"})", R"({"type": "string"})", "false",
          R"({"type": "object", "properties": {"q": {}}, "additionalProperties": true})",
          R"({"type": "object", "properties": {"q": {}}, "additionalProperties": {}})",
          R"({"allOf": [{"properties": {"q": {}}}, {"properties": {"arguments": {}}}]})",
          R"({"anyOf": [{"type": "object", "properties": {"q": {}}},
                        {"type": "object", "properties": {"arguments": {}}}]})"})
        EXPECT_FALSE(is_wrapper(schema)) << schema;
}

}  // namespace
}  // namespace baleen
