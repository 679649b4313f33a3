#include "text/json_schema.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "text/schema_fixture.h"
#include "text/token_mask.h"
#include "text/tokenizer_fixture.h"

namespace baleen {
namespace {

// Its first 256 tokens are the bytes.
const Vocabulary& byte_vocabulary() {
    static const Vocabulary vocabulary(Tokenizer::parse(dump_json(small_tokenizer_tree())).value(),
                                       320);
    return vocabulary;
}

struct Compiled {
    std::unique_ptr<Grammar> grammar;
    std::unique_ptr<LocalMasks> masks;
};

Result<Compiled> compile(const std::string& text, SchemaRules schema_rules,
                         JsonLayout layout = JsonLayout::kCompact) {
    const Json root = TRY(parse_json(text));
    RuleSet set;
    const JsonRules json = TRY(JsonRules::make(set, layout, {"MARK"}));
    SchemaDocument document(root, schema_rules);
    SchemaCompiler compiler(document, json, set);
    Automaton start;
    start.accept(TRY(compiler.add_value(start, 0, {&root}, kAllTypes, "schema")));
    TRY(compiler.define_pending());
    const uint32_t rule = TRY(set.add(start));
    Compiled compiled;
    compiled.grammar = std::make_unique<Grammar>(TRY(Grammar::build(set, rule, byte_vocabulary())));
    compiled.masks = std::make_unique<LocalMasks>(*compiled.grammar, byte_vocabulary());
    return compiled;
}

bool accepts(const Compiled& compiled, std::string_view text) {
    GrammarRun run(*compiled.grammar, byte_vocabulary(), *compiled.masks);
    for (const char c : text)
        if (!run.accept(static_cast<uint8_t>(c))) return false;
    return run.may_end();
}

struct Case {
    const char* name;
    const char* schema;
    std::vector<const char*> accepted;
    std::vector<const char*> rejected;
    SchemaRules rules = {.strict = true};
};

const std::vector<Case>& cases() {
    static const std::vector<Case> all = {
        {"true", "true", {"1", "null", "[]", "{\"a\": [1, {}]}", "\"x\""}, {"", "nul", "[1,]"}},
        {"empty", "{}", {"1.5e3", "false", "{}", "[[], [[]]]"}, {"{a:1}", "[1 2]", "tru"}},
        {"null", R"({"type":"null"})", {"null"}, {"0", "\"null\"", "nulll"}},
        {"boolean", R"({"type":"boolean"})", {"true", "false"}, {"0", "\"true\"", "True"}},
        {"integer",
         R"({"type":"integer"})",
         {"0", "-7", "123456789012345678"},
         {"01", "1.0", "-0", "+1", "1e3", "", "1234567890123456789"}},
        {"number",
         R"({"type":"number"})",
         {"0", "-0.5", "1e10", "2.50E-07", "-1"},
         {".5", "1.", "00", "1e", "NaN", "1e999", "0x1"}},
        {"string",
         R"({"type":"string"})",
         {"\"\"", "\"a\\n\\u00e9\\\"\"", "\"\u4E00\"", "\"\\ud83d\\ude00\""},
         {"\"", "a", "\"\n\"", "\"\\x\"", "\"MARK\"", "\"\xFF\"", "\"\\ud83d\"", "\"\\ude00\""}},
        {"type list",
         R"({"type":["string","integer","null"]})",
         {"\"a\"", "3", "null"},
         {"true", "1.5", "[]"}},
        {"enum",
         R"({"enum":["a","b\n",3,null,true,1.5]})",
         {"\"a\"", "\"b\\n\"", "3", "null", "true", "1.5"},
         {"\"c\"", "4", "false", "\"ab\""}},
        {"enum with type", R"({"type":"string","enum":["a",1,null]})", {"\"a\""}, {"1", "null"}},
        {"enum of structures",
         R"({"enum":[[1,{"a":null}],{}]})",
         {"[1,{\"a\":null}]", "[1, {\"a\": null}]", "{}"},
         {"[1]", "[]", "{\"a\": null}"}},
        {"const", R"({"const":"x y"})", {"\"x y\""}, {"\"x\"", "x y"}},
        {"const object", R"({"const":{"a":[true]}})", {"{\"a\": [true]}"}, {"{}"}},
        {"enum and const", R"({"enum":[1,2,3],"const":2})", {"2"}, {"1", "3"}},
        {"shared prefixes",
         R"({"enum":["in","inner","int",12,123]})",
         {"\"in\"", "\"inner\"", "\"int\"", "12", "123"},
         {"\"inn\"", "1", "1234"}},
        {"object", R"({"type":"object"})", {"{}", "{\"a\": 1, \"b\": {}}"}, {"[]", "{\"a\"}"}},
        {"properties",
         R"({"type":"object","properties":{"a":{"type":"integer"},
           "b":{"type":"string"}},"required":["a"],"additionalProperties":false})",
         {"{\"a\": 1}", "{\"a\":1,\"b\":\"x\"}", "{\"b\": \"x\", \"a\": 1}"},
         {"{}", "{\"b\": \"x\"}", "{\"a\": \"1\"}", "{\"a\": 1, \"a\": 2}", "{\"a\": 1, \"c\": 2}",
          "{\"a\": 1,  \"b\": \"x\"}", "{\"a\": 1,}"}},
        {"in order",
         R"({"type":"object","properties":{"a":{"type":"integer"},
           "b":{"type":"null"},"c":{"type":"null"}},"required":["b"],
           "additionalProperties":false})",
         {"{\"b\": null}", "{\"a\": 1, \"b\": null, \"c\": null}", "{\"b\": null, \"c\": null}"},
         {"{}", "{\"b\": null, \"a\": 1}", "{\"a\": 1}", "{\"c\": null, \"b\": null}"},
         {.strict = true, .ordered_members = true}},
        {"all optional",
         R"({"type":"object","properties":{"a":{"const":1},"b":{"const":2}},
           "additionalProperties":false})",
         {"{}", "{\"a\": 1}", "{\"b\": 2}", "{\"b\": 2, \"a\": 1}"},
         {"{\"c\": 1}", "{,}"}},
        {"open object",
         R"({"type":"object","properties":{"a":{"type":"integer"}}})",
         {"{\"a\": 1}", "{\"b\": [null]}", "{\"ab\": 1, \"a\": 2}", "{\"\": 0}"},
         {"{\"a\": \"1\"}", "{\"b\": 1, \"a\": null}"}},
        {"additional schema",
         R"({"type":"object","properties":{"a":{"const":1}},
           "additionalProperties":{"type":"boolean"}})",
         {"{\"b\": true}", "{\"a\": 1, \"aa\": false}"},
         {"{\"b\": 1}", "{\"a\": true}"}},
        {"map",
         R"({"type":"object","additionalProperties":{"type":"integer"}})",
         {"{}", "{\"x\": 1, \"y\": 2}"},
         {"{\"x\": null}"}},
        {"no members", R"({"type":"object","additionalProperties":false})", {"{}"}, {"{\"a\": 1}"}},
        {"closed by rule",
         R"({"properties":{"a":{}}})",
         {"{}", "{\"a\": [1]}"},
         {"{\"b\": 1}"},
         {.closed_objects = true}},
        {"required and not declared",
         R"({"required":["x"],"properties":{"a":{"const":1}}})",
         {"{\"x\": 1}", "{\"a\": 1, \"x\": {}}"},
         {"{}", "{\"a\": 1}"},
         {.closed_objects = true}},
        {"keys with escapes",
         R"({"properties":{"a\"b\n":{"const":1}},
           "additionalProperties":false})",
         {"{\"a\\\"b\\n\": 1}"},
         {"{\"ab\": 1}"}},
        {"implied object", R"({"properties":{"a":{"const":1}}})", {"{\"a\": 1}"}, {"1", "[]"}},
        {"nested",
         R"({"type":"object","properties":{"o":{"type":"object","properties":{
           "l":{"type":"array","items":{"type":"object","properties":{"n":{"type":"null"}},
           "required":["n"],"additionalProperties":false}}},"required":["l"],
           "additionalProperties":false}},"required":["o"],"additionalProperties":false})",
         {"{\"o\": {\"l\": []}}", "{\"o\": {\"l\": [{\"n\": null}, {\"n\": null}]}}"},
         {"{\"o\": {}}", "{\"o\": {\"l\": [{}]}}", "{\"o\": {\"l\": [{\"n\": null}, ]}}"}},
        {"items",
         R"({"type":"array","items":{"type":"integer"}})",
         {"[]", "[1]", "[1, 2,3]"},
         {"[\"a\"]", "[1,]", "[,]", "[1"}},
        {"items null or list",
         R"({"items":{"enum":["a",null]}})",
         {"[null, \"a\", null]"},
         {"[null,]", "[,null]"}},
        {"minItems",
         R"({"type":"array","items":{"const":1},"minItems":2})",
         {"[1, 1]", "[1, 1, 1, 1]"},
         {"[]", "[1]"}},
        {"maxItems",
         R"({"type":"array","items":{"const":1},"maxItems":2})",
         {"[]", "[1]", "[1, 1]"},
         {"[1, 1, 1]"}},
        {"no items", R"({"type":"array","maxItems":0})", {"[]"}, {"[1]"}},
        {"exactly three",
         R"({"type":"array","minItems":3,"maxItems":3})",
         {"[1, {}, null]"},
         {"[1, 2]", "[1, 2, 3, 4]"}},
        {"prefixItems",
         R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],
           "items":false})",
         {"[]", "[1]", "[1, \"a\"]"},
         {"[\"a\"]", "[1, \"a\", 2]"}},
        {"prefixItems and rest",
         R"({"prefixItems":[{"const":"x"}],"items":{"type":"boolean"},
           "minItems":2})",
         {"[\"x\", true]", "[\"x\", true, false]"},
         {"[\"x\"]", "[true, true]"}},
        {"draft 4 tuple",
         R"({"items":[{"const":1},{"const":2}],"additionalItems":false})",
         {"[1, 2]", "[]"},
         {"[2]", "[1, 2, 3]"}},
        {"minLength",
         R"({"type":"string","minLength":2})",
         {"\"ab\"", "\"\u4E00\U0001F600\""},
         {"\"\"", "\"\u4E00\""}},
        {"maxLength",
         R"({"type":"string","maxLength":2})",
         {"\"\"", "\"\\n\\\\\""},
         {"\"abc\"", "\"\\n\\\\a\""}},
        {"lengths",
         R"({"type":"string","minLength":1,"maxLength":1})",
         {"\"\u00E9\"", "\"\\\"\""},
         {"\"\"", "\"aa\""}},
        {"pattern",
         R"({"type":"string","pattern":"^[a-z]+_\\d{2}$"})",
         {"\"ab_12\""},
         {"\"ab_1\"", "\"AB_12\"", "\" ab_12\""}},
        {"pattern anywhere", R"({"type":"string","pattern":"a\"b"})", {"\"xa\\\"by\""}, {"\"ab\""}},
        {"pattern and length",
         R"({"type":"string","pattern":"^a*$","maxLength":3})",
         {"\"\"", "\"aaa\""},
         {"\"aaaa\"", "\"b\""}},
        {"enum and pattern",
         R"({"enum":["ab","cd",5],"pattern":"b"})",
         {"\"ab\"", "5"},
         {"\"cd\""}},
        {"minimum", R"({"type":"integer","minimum":7})", {"7", "10", "123"}, {"6", "0", "-7"}},
        {"maximum", R"({"type":"integer","maximum":-7})", {"-7", "-100"}, {"-6", "0", "7"}},
        {"integer range",
         R"({"type":"integer","minimum":-12,"maximum":105})",
         {"-12", "0", "9", "99", "105", "-1"},
         {"-13", "106", "200", "1000", "-0"}},
        {"exclusive",
         R"({"type":"integer","exclusiveMinimum":0,"exclusiveMaximum":10})",
         {"1", "9"},
         {"0", "10", "-1"}},
        {"draft 4 exclusive",
         R"({"type":"integer","minimum":0,"exclusiveMinimum":true})",
         {"1"},
         {"0"},
         {}},
        {"integer, fractional bounds",
         R"({"type":"integer","minimum":0.5,"maximum":2.5})",
         {"1", "2"},
         {"0", "3"}},
        {"number range",
         R"({"type":"number","minimum":0,"maximum":1})",
         {"0", "0.5", "1", "1.0", "0.0"},
         {"1.01", "-0.1", "2", "1e0"}},
        {"number range with fractions",
         R"({"type":"number","minimum":-1.25,"maximum":10.5})",
         {"-1.25", "-1.2", "10.5", "10.499", "10.50", "9.99", "0", "-0.3", "10"},
         {"-1.26", "-2", "10.51", "11", "10.6", "-1.250001"}},
        {"exclusive numbers",
         R"({"type":"number","exclusiveMinimum":0,"exclusiveMaximum":0.1})",
         {"0.05", "0.0999", "0.01"},
         {"0", "0.0", "0.1", "0.10", "0.11"}},
        {"numbers below zero",
         R"({"type":"number","exclusiveMaximum":0})",
         {"-0.1", "-5"},
         {"0", "-0.0", "1", "-0"}},
        {"anyOf",
         R"({"anyOf":[{"type":"integer"},{"type":"string","maxLength":1}]})",
         {"12", "\"a\""},
         {"\"ab\"", "null"}},
        {"oneOf", R"({"oneOf":[{"const":1},{"const":"1"}]})", {"1", "\"1\""}, {"2"}},
        {"anyOf objects",
         R"({"anyOf":[{"type":"object","properties":{"k":{"const":"a"},
           "x":{"type":"integer"}},"required":["k","x"],"additionalProperties":false},
           {"type":"object","properties":{"k":{"const":"b"}},"required":["k"],
           "additionalProperties":false}]})",
         {"{\"k\": \"a\", \"x\": 1}", "{\"k\": \"b\"}"},
         {"{\"k\": \"a\"}", "{\"k\": \"b\", \"x\": 1}"}},
        {"anyOf with neighbours",
         R"({"type":"object","properties":{"a":{"type":"integer"}},
           "anyOf":[{"required":["a"]},{"properties":{"b":{"const":1}},"required":["b"]}]})",
         {"{\"a\": 1}", "{\"b\": 1}", "{\"b\": 1, \"a\": 1}"},
         {"{}", "{\"b\": 2}", "{\"a\": null}"}},
        {"allOf",
         R"({"allOf":[{"type":"object","properties":{"a":{"type":"integer"}},
           "required":["a"]},{"properties":{"b":{"type":"null"}},"required":["b"]}]})",
         {"{\"a\": 1, \"b\": null}", "{\"b\": null, \"a\": 1, \"c\": 0}"},
         {"{\"a\": 1}", "{}"}},
        {"allOf narrows",
         R"({"allOf":[{"type":["integer","string"]},{"type":["integer","null"]},
           {"minimum":3}]})",
         {"3", "44"},
         {"\"a\"", "null", "2"}},
        {"allOf, same property",
         R"({"allOf":[{"properties":{"a":{"minimum":2}}},
           {"properties":{"a":{"type":"integer","maximum":4}},"additionalProperties":false}]})",
         {"{\"a\": 2}", "{\"a\": 4}"},
         {"{\"a\": 1}", "{\"a\": 5}", "{\"b\": 1}"}},
        {"$ref", R"({"$ref":"#/$defs/x","$defs":{"x":{"type":"integer"}}})", {"1"}, {"\"a\""}},
        {"$ref with neighbours",
         R"({"$ref":"#/$defs/x","maximum":3,
           "$defs":{"x":{"type":"integer"}}})",
         {"1"},
         {"4"}},
        {"definitions, escaped",
         R"({"items":{"$ref":"#/definitions/a~1b%20c"},
           "definitions":{"a/b c":{"const":1}}})",
         {"[1]"},
         {"[2]"}},
        {"recursive",
         R"({"type":"object","properties":{"v":{"type":"integer"},
           "next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["v","next"],
           "additionalProperties":false})",
         {"{\"v\": 1, \"next\": null}", "{\"v\": 1, \"next\": {\"v\": 2, \"next\": null}}"},
         {"{\"v\": 1}", "{\"v\": 1, \"next\": {}}"}},
        {"recursive list",
         R"({"$ref":"#/$defs/t","$defs":{"t":{"type":"array",
           "items":{"$ref":"#/$defs/t"}}}})",
         {"[]", "[[], [[]]]"},
         {"[1]", "[[]"}},
        {"useless loop", R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})", {"null"}, {"1"}},
        {"nullable", R"({"type":"string","nullable":true})", {"null", "\"a\""}, {"1"}},
        {"false member",
         R"({"properties":{"a":false,"b":true}})",
         {"{}", "{\"b\": 1}"},
         {"{\"a\": 1}"}},
        {"annotations",
         R"({"$schema":"x","title":"t","description":"d","default":1,
           "examples":[1],"format":"date","type":"string"})",
         {"\"a\""},
         {"1"}},
        {"relaxed",
         R"({"type":"array","uniqueItems":true,"contains":{"const":1},
           "items":{"type":"integer","multipleOf":3},"not":{}})",
         {"[1, 1]", "[2]"},
         {"[null]"},
         {}},
        {"relaxed pattern", R"({"type":"string","pattern":"(?=a)b"})", {"\"c\""}, {"1"}, {}},
        {"relaxed reference",
         R"({"items":{"$ref":"http://example.com/x"}})",
         {"[1, {}]"},
         {"1"},
         {}},
        {"relaxed type", R"({"type":"any"})", {"1", "\"a\""}, {"x"}, {}},
        {"relaxed length",
         R"({"type":"string","maxLength":1000000,"minLength":1})",
         {"\"ab\""},
         {"\"\""},
         {}},
    };
    return all;
}

TEST(JsonSchema, AcceptsAndRejects) {
    EXPECT_GE(cases().size(), 60u);
    for (const Case& one : cases()) {
        const auto compiled = compile(one.schema, one.rules);
        ASSERT_TRUE(compiled.has_value()) << one.name << ": " << compiled.error().message;
        for (const char* text : one.accepted)
            EXPECT_TRUE(accepts(*compiled, text)) << one.name << ": " << text;
        for (const char* text : one.rejected)
            EXPECT_FALSE(accepts(*compiled, text)) << one.name << ": " << text;
    }
}

TEST(JsonSchema, IndentedLayoutAllowsLinesButNoEndlessBlanks) {
    const auto compiled =
        compile(R"({"properties":{"a":{"items":{"type":"integer"}}}})", {}, JsonLayout::kIndented);
    ASSERT_TRUE(compiled.has_value());
    for (const char* text : {"{\"a\":[1,2]}", "{\n  \"a\": [\n    1,\n    2\n  ]\n}",
                             "{ \"a\": [1, 2] }", "{}", "{\"a\": []}"})
        EXPECT_TRUE(accepts(*compiled, text)) << text;
    EXPECT_FALSE(accepts(*compiled, "{\n\n\"a\": []}"));
    EXPECT_FALSE(accepts(*compiled, "{\n" + std::string(41, ' ') + "\"a\": []}"));
    EXPECT_TRUE(accepts(*compiled, "{\n" + std::string(40, ' ') + "\"a\": []}"));
}

// What random choices lead to is valid for the validator, which knows nothing of the compiler.
TEST(JsonSchema, RandomTextsValidate) {
    Rng rng(11);
    for (const Case& one : cases()) {
        // Relaxed keywords are left to the model; the validator would follow the loop for ever.
        const std::string_view name = one.name;
        if (name.starts_with("relaxed") || name == "useless loop") continue;
        const auto compiled = compile(one.schema, one.rules);
        ASSERT_TRUE(compiled.has_value());
        const Json schema = parse_json(one.schema).value();
        for (int i = 0; i < 20; ++i) {
            GrammarRun run(*compiled->grammar, byte_vocabulary(), *compiled->masks);
            std::string text;
            for (int64_t left = 120; !run.is_finished() && left > 0; --left) {
                if (run.may_end() && rng.next_below(3) == 0) break;
                std::vector<uint64_t> bits(byte_vocabulary().mask_words(), ~uint64_t{0});
                run.mask(bits, left - 1);
                std::vector<uint8_t> bytes;
                for (size_t byte = 0; byte < 256; ++byte)
                    if (bits[byte / 64] >> (byte % 64) & 1)
                        bytes.push_back(static_cast<uint8_t>(byte));
                ASSERT_FALSE(bytes.empty()) << one.name << ": " << text;
                const uint8_t byte = bytes[rng.next_below(bytes.size())];
                ASSERT_TRUE(run.accept(byte));
                text += static_cast<char>(byte);
            }
            ASSERT_TRUE(run.may_end()) << one.name << ": " << text;
            const Result<Json> value = parse_json(text);
            ASSERT_TRUE(value.has_value()) << one.name << ": " << text;
            const bool draft_4 = std::string_view(one.name).starts_with("draft 4");
            EXPECT_TRUE(draft_4 || SchemaValidator(schema).valid(*value))
                << one.name << ": " << text;
        }
    }
}

TEST(JsonSchema, ErrorsNamePathAndKeyword) {
    struct Bad {
        const char* schema;
        ErrorCode code;
        const char* named;
    };
    const Bad all[] = {
        {"5", ErrorCode::kInvalidArgument, "not a schema"},
        {R"({"type":7})", ErrorCode::kInvalidArgument, "type"},
        {R"({"type":"text"})", ErrorCode::kInvalidArgument, "\"text\""},
        {R"({"enum":[]})", ErrorCode::kInvalidArgument, "enum"},
        {R"({"enum":"a"})", ErrorCode::kInvalidArgument, "enum"},
        {R"({"properties":[]})", ErrorCode::kInvalidArgument, "properties"},
        {R"({"required":"a"})", ErrorCode::kInvalidArgument, "required"},
        {R"({"required":[1]})", ErrorCode::kInvalidArgument, "required"},
        {R"({"anyOf":[]})", ErrorCode::kInvalidArgument, "anyOf"},
        {R"({"allOf":{}})", ErrorCode::kInvalidArgument, "allOf"},
        {R"({"minLength":-1})", ErrorCode::kInvalidArgument, "minLength"},
        {R"({"maxItems":1.5})", ErrorCode::kInvalidArgument, "maxItems"},
        {R"({"minimum":"1"})", ErrorCode::kInvalidArgument, "minimum"},
        {R"({"pattern":1})", ErrorCode::kInvalidArgument, "pattern"},
        {R"x({"type":"string","pattern":"("})x", ErrorCode::kInvalidArgument, "pattern"},
        {R"x({"type":"string","pattern":"(?=a)"})x", ErrorCode::kUnsupported, "pattern"},
        {R"({"$ref":1})", ErrorCode::kInvalidArgument, "$ref"},
        {R"({"$ref":"#/nowhere"})", ErrorCode::kUnsupported, "#/nowhere"},
        {R"({"items":{"properties":{"a":{"not":{}}}}})", ErrorCode::kUnsupported,
         "schema/items/properties/a: keyword \"not\""},
        {R"({"uniqueItems":true})", ErrorCode::kUnsupported, "uniqueItems"},
        {R"({"type":"string","maxLength":100000})", ErrorCode::kUnsupported, "maxLength"},
        {R"({"type":"array","minItems":100000})", ErrorCode::kUnsupported, "minItems"},
        {R"({"type":"number","minimum":1e-30})", ErrorCode::kUnsupported, "minimum"},
        {"false", ErrorCode::kInvalidArgument, "no text can satisfy"},
        {R"({"type":"string","const":1})", ErrorCode::kInvalidArgument, "no text can satisfy"},
        {R"({"$ref":"#"})", ErrorCode::kInvalidArgument, "no text can satisfy"},
        {R"({"properties":{"a":{"$ref":"#"}},"required":["a"]})", ErrorCode::kInvalidArgument,
         "no text can satisfy"},
        {R"({"type":"integer","minimum":3,"maximum":2})", ErrorCode::kInvalidArgument,
         "no text can satisfy"},
        {R"({"required":["MARK"]})", ErrorCode::kUnsupported, "MARK"},
    };
    for (const Bad& bad : all) {
        const auto compiled = compile(bad.schema, {.strict = true});
        ASSERT_FALSE(compiled.has_value()) << bad.schema;
        EXPECT_EQ(compiled.error().code, bad.code) << bad.schema << compiled.error().message;
        EXPECT_NE(compiled.error().message.find(bad.named), std::string::npos)
            << bad.schema << ": " << compiled.error().message;
    }
}

TEST(JsonSchema, LimitsAreErrors) {
    std::string many = R"({"type":"object","properties":{)";
    for (int i = 0; i < 1001; ++i) many += fmt::format("{}\"p{}\":{{}}", i > 0 ? "," : "", i);
    const auto members = compile(many + "}}", {});
    ASSERT_FALSE(members.has_value());
    EXPECT_EQ(members.error().code, ErrorCode::kUnsupported);

    // Each level is an anyOf of all: without a limit, every order of them would be tried.
    std::string defs;
    for (int i = 0; i < 12; ++i) {
        defs += fmt::format("{}\"d{}\":{{\"anyOf\":[", i > 0 ? "," : "", i);
        for (int j = 0; j < 12; ++j)
            defs += fmt::format("{}{{\"$ref\":\"#/$defs/d{}\"}}", j > 0 ? "," : "", j);
        defs += "]}";
    }
    const auto steps = compile("{\"$ref\":\"#/$defs/d0\",\"$defs\":{" + defs + "}}", {});
    ASSERT_FALSE(steps.has_value());
    EXPECT_EQ(steps.error().code, ErrorCode::kExhausted);

    std::string deep = R"({"type":"null"})";
    for (int i = 0; i < 60; ++i) deep = R"({"required":["a"],"properties":{"a":)" + deep + "}}";
    EXPECT_TRUE(compile(deep, {}).has_value());
}

TEST(JsonSchema, NestingStaysWithinWhatIsParsed) {
    const auto compiled = compile("{}", {});
    ASSERT_TRUE(compiled.has_value());
    GrammarRun run(*compiled->grammar, byte_vocabulary(), *compiled->masks);
    int depth = 0;
    while (run.accept('[')) ++depth;
    EXPECT_GT(depth, 90);
    EXPECT_LT(depth, kJsonDepthMax);
    for (int i = 0; i < depth; ++i) {
        std::vector<uint64_t> bits(byte_vocabulary().mask_words(), ~uint64_t{0});
        run.mask(bits, 100'000);
        EXPECT_NE(bits[']' / 64] >> (']' % 64) & 1, 0u);
        ASSERT_TRUE(run.accept(']'));
    }
    EXPECT_TRUE(run.may_end());
}

}  // namespace
}  // namespace baleen
