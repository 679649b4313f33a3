#include "sandbox/log/payload.h"

#include <gtest/gtest.h>

#include "sandbox/log/log_fixture.h"

namespace baleen::sandbox {
namespace {

std::string text(const Payload& payload) {
    return encode_payload(payload).value();
}

// Decoding gives the payload back, and no other text of the same length is taken for one.
void expect_only_spelling(const Payload& payload) {
    const std::string encoded = text(payload);
    const auto decoded = decode_payload(type_of(payload), encoded);
    ASSERT_TRUE(decoded) << encoded << ": " << decoded.error().message;
    EXPECT_EQ(*decoded, payload) << encoded;
    for (const std::string& other :
         {encoded + " ", " " + encoded, encoded.substr(1), encoded.substr(0, encoded.size() - 1),
          std::string("{}x"), std::string("[]"), std::string("null"), std::string()})
        EXPECT_FALSE(decode_payload(type_of(payload), other)) << other;
    std::string extra = encoded;
    extra.insert(1, extra == "{}" ? "\"zz\":1" : "\"!\":1,");
    if (std::holds_alternative<Note>(payload)) return;
    EXPECT_FALSE(decode_payload(type_of(payload), extra)) << extra;
}

TEST(Payload, Open) {
    OpenPayload open = opening("swe/1");
    EXPECT_EQ(text(open),
              "{\"created_ns\":1700000000000000000,\"policy\":\"fail\",\"sandbox\":"
              "\"node-1-1-abc\",\"trajectory\":\"swe/1\"}");
    expect_only_spelling(open);
    open.policy = OutcomePolicy::kRewind;
    open.labels = {{"job", "7"}, {"a", ""}};
    open.parent = {.name = "swe/0", .at = 12, .head = sha256("x")};
    expect_only_spelling(open);
    open.name = "";
    EXPECT_FALSE(encode_payload(open));
    open.name = "\xFF";
    EXPECT_FALSE(encode_payload(open));
}

TEST(Payload, AttachAndSeal) {
    EXPECT_EQ(text(AttachPayload{.epoch = 3}), "{\"epoch\":3}");
    expect_only_spelling(AttachPayload{.epoch = 3, .from = "trainer-1", .sandbox = "n-1-2-x"});
    EXPECT_EQ(text(SealPayload{.cause = "completed"}), "{\"cause\":\"completed\"}");
    expect_only_spelling(SealPayload{.cause = "node_lost", .is_infra = true});
}

TEST(Payload, Intent) {
    Intent intent = shell_intent("make", 4, 2);
    const std::string request = "{\"kind\":\"exec\",\"shell\":\"make\"}";
    EXPECT_EQ(text(intent), "{\"digest\":\"" + hex(sha256(request)) +
                                "\",\"effects\":\"sandbox\",\"epoch\":2,\"index\":4,\"request\":" +
                                request + ",\"stream\":\"main\"}");
    expect_only_spelling(intent);
    intent.options = {{"timeout_ms", "60000"}};
    intent.effects = Effects::kExternal;
    intent.is_volatile = true;
    intent.request.env = {{"A", std::nullopt}, {"B", ""}, {std::string("a\0b", 3), "c"}};
    intent.request.input = StoredBytes::in_record(std::string("\0\xFF", 2));
    intent.request.fields = {{"path", ""}};
    expect_only_spelling(intent);
    intent.request.input = StoredBytes::in_blob(sha256("x"), 5000);
    expect_only_spelling(intent);
    intent.stream = "a b";
    EXPECT_FALSE(encode_payload(intent));
}

TEST(Payload, AnIntentWhoseDigestIsNotThatOfItsRequestIsRefused) {
    std::string encoded = text(shell_intent("make", 0));
    encoded.replace(encoded.find("make"), 4, "fake");
    EXPECT_FALSE(decode_payload(RecordType::kIntent, encoded));
}

TEST(Payload, Result) {
    EXPECT_EQ(text(OpResult{}), "{\"duration_ns\":0}");
    expect_only_spelling(OpResult{});
    OpResult result = text_result("hello\n");
    EXPECT_EQ(text(result),
              "{\"duration_ns\":1000000,\"exit_code\":0,\"stdout\":{\"text\":\"hello\\n\"}}");
    expect_only_spelling(result);
    result.exit_code.reset();
    result.signal = 9;
    result.timed_out = true;
    result.cause = "oom";
    result.answer = "{\"size\":3}";
    result.standard_output = {.kept = StoredBytes::in_record("ab"),
                              .head = 1,
                              .total = 1000,
                              .digest = sha256("everything")};
    result.standard_error = whole_output(StoredBytes::in_blob(sha256("e"), 4097));
    result.layer = LayerState{.digest = sha256("m"), .manifest = {}};
    expect_only_spelling(result);
    result.layer->manifest = StoredBytes::in_record("m");
    expect_only_spelling(result);
}

TEST(Payload, OutputsAndLayersThatContradictThemselvesAreRefused) {
    OpResult result;
    result.standard_output = {.kept = StoredBytes::in_record("abc"), .head = 4, .total = 9};
    EXPECT_FALSE(encode_payload(result));
    result.standard_output = {.kept = StoredBytes::in_record("abc"), .head = 1, .total = 3};
    EXPECT_FALSE(encode_payload(result));
    result.standard_output = whole_output(StoredBytes::in_record("abc"));
    result.standard_output.total = 4;
    EXPECT_FALSE(encode_payload(result));
    result.standard_output = {};
    result.layer = LayerState{.digest = sha256("m"), .manifest = StoredBytes::in_record("n")};
    EXPECT_FALSE(encode_payload(result));
}

TEST(Payload, BytesUpToTheLimitStandInTheRecord) {
    for (const std::string& bytes :
         {std::string(), std::string(4096, 'x'), std::string(4096, '\xFF'), std::string(1, '\0'),
          std::string("\xF0\x9F\x90\x8B"), std::string("\xED\xA0\x80")}) {
        OpResult result;
        result.standard_error = whole_output(StoredBytes::in_record(bytes));
        expect_only_spelling(result);
    }
    // More than the limit in a record, or less in a blob, is not what this version writes.
    const std::string large =
        "{\"duration_ns\":0,\"stdout\":{\"text\":\"" + std::string(4097, 'x') + "\"}}";
    EXPECT_FALSE(decode_payload(RecordType::kResult, large));
    const std::string small =
        "{\"duration_ns\":0,\"stdout\":{\"blob\":\"" + hex(sha256("x")) + "\",\"size\":4096}}";
    EXPECT_FALSE(decode_payload(RecordType::kResult, small));
    EXPECT_TRUE(decode_payload(RecordType::kResult,
                               std::string(small).replace(small.find("4096"), 4, "4097")));
}

TEST(Payload, NotesAreObjectsInCanonicalForm) {
    EXPECT_EQ(text(Note{RecordType::kNetwork, " {\"b\": 1, \"a\": [ ]} "}), "{\"a\":[],\"b\":1}");
    expect_only_spelling(Note{RecordType::kEvent, "{}"});
    expect_only_spelling(Note{RecordType::kPause, "{\"a\":1.5}"});
    for (const std::string bad : {"", "[]", "1", "{", "{\"a\":1} x"})
        EXPECT_FALSE(encode_payload(Note{RecordType::kEvent, bad})) << bad;
    EXPECT_EQ(sandbox_of(Note{RecordType::kEvent, "{\"sandbox\":\"n-1\"}"}), "n-1");
    EXPECT_EQ(sandbox_of(Note{RecordType::kEvent, "{\"sandbox\":1}"}), "");
}

TEST(Payload, HasALimit) {
    Intent intent = shell_intent(std::string(kPayloadBytesMax, 'x'), 0);
    const auto refused = encode_payload(intent);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kExhausted);
}

// Every place of every payload holding a value of another type.
TEST(Payload, ValuesOfOtherTypesAreRefused) {
    OpResult result = text_result("x");
    result.layer = LayerState{.digest = sha256("m"), .manifest = StoredBytes::in_record("m")};
    OpenPayload open = opening("t");
    open.labels = {{"a", "b"}};
    open.parent = {.name = "p", .at = 1, .head = {}};
    Intent intent = shell_intent("x", 0);
    intent.request.argv = {"y"};
    intent.request.env = {{"A", "b"}};
    intent.options = {{"o", "p"}};
    intent.request.input = StoredBytes::in_record("z");
    for (const Payload& payload : {Payload(result), Payload(open), Payload(intent),
                                   Payload(AttachPayload{.epoch = 1, .from = "f"}),
                                   Payload(SealPayload{.cause = "c", .is_infra = true})}) {
        const std::string encoded = text(payload);
        for (size_t colon = encoded.find(':'); colon != std::string::npos;
             colon = encoded.find(':', colon + 1)) {
            const size_t end = encoded.find_first_of(",}", colon);
            for (const std::string other : {"null", "-1", "1.5", "true", "\"\"", "[]", "{}", "[1]",
                                            "{\"a\":1}", "99999999999999999999"}) {
                const std::string changed =
                    encoded.substr(0, colon + 1) + other + encoded.substr(end);
                if (changed == encoded) continue;
                const auto decoded = decode_payload(type_of(payload), changed);
                EXPECT_TRUE(!decoded || text(*decoded) == changed) << changed;
            }
        }
    }
}

}  // namespace
}  // namespace baleen::sandbox
