#include "text/tokenizer_json.h"

#include <gtest/gtest.h>

#include <set>

#include "base/rng.h"
#include "text/tokenizer_fixture.h"

namespace baleen {
namespace {

Result<TokenizerFile> parsed(const Json& tree) {
    return parse_tokenizer_json(dump_json(tree));
}

// The error of a tree that must not load; one line, and it names what is wrong.
void expect_error(const Json& tree, ErrorCode code, const std::string& part) {
    const auto file = parsed(tree);
    ASSERT_FALSE(file) << "expected: " << part;
    EXPECT_EQ(file.error().code, code) << file.error().message;
    EXPECT_NE(file.error().message.find(part), std::string::npos) << file.error().message;
    EXPECT_EQ(file.error().message.find('\n'), std::string::npos);
    EXPECT_LT(file.error().message.size(), 400u);
}

// The tree with one value replaced; pointer as in RFC 6901.
Json with(const std::string& pointer, const Json& value) {
    Json tree = small_tokenizer_tree();
    tree[Json::json_pointer(pointer)] = value;
    return tree;
}

Json without(const std::string& parent, const std::string& key) {
    Json tree = small_tokenizer_tree();
    Json& object = parent.empty() ? tree : tree[Json::json_pointer(parent)];
    EXPECT_EQ(object.erase(key), 1u);
    return tree;
}

TEST(TokenizerJson, ReadsTheSmallTokenizer) {
    const auto file = parsed(small_tokenizer_tree());
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_EQ(file->token_bytes.size(), 256u + 7 + 4);
    for (int byte = 0; byte < 256; ++byte) {
        EXPECT_EQ(file->byte_ids[static_cast<size_t>(byte)], byte);
        EXPECT_EQ(file->token_bytes[static_cast<size_t>(byte)],
                  std::string(1, static_cast<char>(byte)));
    }
    EXPECT_EQ(file->token_bytes[261], "  ");
    EXPECT_EQ(file->token_bytes[262], "é");
    EXPECT_EQ(file->merges.size(), 7u);
    EXPECT_EQ(file->merges[1].left, 256);
    EXPECT_EQ(file->merges[1].merged, 257);
    EXPECT_EQ(file->first_round.size(), 3u);
    EXPECT_EQ(file->second_round.size(), 1u);
}

TEST(TokenizerJson, MergesMayBePairs) {
    const auto file = parsed(with("/model/merges", Json::array({Json::array({"a", "a"})})));
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(file->merges.size(), 1u);
}

TEST(TokenizerJson, NeutralSettingsAreAccepted) {
    for (const auto& [pointer, value] : std::vector<std::pair<std::string, Json>>{
             {"/normalizer", {{"type", "Sequence"}, {"normalizers", Json::array()}}},
             {"/post_processor", {{"type", "ByteLevel"}, {"use_regex", true}}},
             {"/model/byte_fallback", false},
             {"/model/ignore_merges", false},
             {"/model/end_of_word_suffix", ""}})
        EXPECT_TRUE(parsed(with(pointer, value))) << pointer;
}

TEST(TokenizerJson, OtherFormsAreUnsupported) {
    const ErrorCode unsupported = ErrorCode::kUnsupported;
    expect_error(with("/normalizer", {{"type", "NFC"}}), unsupported, "normalizer");
    expect_error(with("/truncation", {{"max_length", 8}}), unsupported, "truncation");
    expect_error(with("/padding", {{"strategy", "BatchLongest"}}), unsupported, "padding");
    expect_error(with("/post_processor/type", "TemplateProcessing"), unsupported, "post_processor");
    expect_error(with("/decoder/type", "WordPiece"), unsupported, "decoder.type");
    expect_error(with("/model/type", "Unigram"), unsupported, "model.type is \"Unigram\"");
    expect_error(with("/model/dropout", 0.1), unsupported, "model.dropout is 0.1");
    expect_error(with("/model/unk_token", "a"), unsupported, "model.unk_token");
    expect_error(with("/model/continuing_subword_prefix", "##"), unsupported, "prefix is \"##\"");
    expect_error(with("/model/end_of_word_suffix", "</w>"), unsupported, "suffix is \"</w>\"");
    expect_error(with("/model/byte_fallback", true), unsupported, "byte_fallback is true");
    expect_error(with("/model/ignore_merges", true), unsupported, "ignore_merges is true");
    expect_error(with("/pre_tokenizer/type", "ByteLevel"), unsupported, "pre_tokenizer.type");
    expect_error(with("/pre_tokenizer/pretokenizers", Json::array()), unsupported, "0 steps");
    const std::string steps = "/pre_tokenizer/pretokenizers";
    expect_error(with(steps + "/0/pattern/Regex", "\\p{N}{1,4}"), unsupported, "at byte 8");
    expect_error(with(steps + "/1/behavior", "Removed"), unsupported, "behavior is \"Removed\"");
    expect_error(with(steps + "/2/invert", true), unsupported, "invert is true");
    expect_error(with(steps + "/2/type", "Punctuation"), unsupported, "[2].type");
    expect_error(with(steps + "/3/use_regex", true), unsupported, "use_regex is true");
    expect_error(with(steps + "/3/add_prefix_space", true), unsupported, "add_prefix_space");
    for (const std::string flag : {"single_word", "lstrip", "rstrip"})
        expect_error(with("/added_tokens/1/" + flag, true), unsupported, flag + " is true");
    expect_error(with("/added_tokens/1/content", ""), unsupported, "content has 0 bytes");
    expect_error(with("/added_tokens/1/content", std::string(257, 'x')), unsupported, "257 bytes");
}

TEST(TokenizerJson, MissingKeysAreNamed) {
    for (const std::string key : {"model", "added_tokens", "pre_tokenizer", "decoder"})
        expect_error(without("", key), ErrorCode::kCorrupt, key + " is missing");
    for (const std::string key : {"type", "vocab", "merges"})
        expect_error(without("/model", key), ErrorCode::kCorrupt, "model." + key + " is missing");
    for (const std::string key : {"content", "single_word", "lstrip", "rstrip", "normalized"})
        expect_error(without("/added_tokens/1", key), ErrorCode::kCorrupt,
                     "added_tokens[1]." + key + " is missing");
    expect_error(without("/added_tokens/1", "id"), ErrorCode::kCorrupt, "has id null");
    for (const std::string key : {"type", "pattern", "behavior", "invert"})
        expect_error(without("/pre_tokenizer/pretokenizers/0", key), ErrorCode::kCorrupt, key);
}

// Each value of the tree, replaced by each kind of value: an error or the same tokenizer, no crash.
TEST(TokenizerJson, WrongTypesAnywhereAreErrors) {
    const Json values =
        Json::array({nullptr, true, -1, 3, 1e300, "x", Json::array({1}), Json::object({{"x", 1}})});
    std::set<std::string> pointers;  // of all leaves and of what holds them
    const Json leaves = small_tokenizer_tree().flatten();
    for (const auto& [leaf, value] : leaves.items())
        for (size_t end = leaf.size(); end != 0; end = leaf.rfind('/', end - 1))
            if (!leaf.starts_with("/model/vocab/") || value.get<int>() % 16 == 0)
                pointers.insert(leaf.substr(0, end));
    size_t num_errors = 0;
    size_t num_tried = 0;
    for (const std::string& pointer : pointers) {
        for (const Json& value : values) {
            const auto file = parsed(with(pointer, value));
            ++num_tried;
            if (file) continue;
            ++num_errors;
            EXPECT_EQ(file.error().message.find('\n'), std::string::npos);
        }
    }
    EXPECT_GT(num_tried, 500u);
    EXPECT_GT(num_errors, num_tried * 8 / 10);
}

TEST(TokenizerJson, IdsMustBeDenseAndSingle) {
    const ErrorCode corrupt = ErrorCode::kCorrupt;
    expect_error(with("/model/vocab/a", 98), corrupt, "has id 98, which another entry has");
    expect_error(with("/model/vocab/a", 266), corrupt, "266");
    expect_error(with("/model/vocab/a", 100000), corrupt,
                 "\"a\" has id 100000, expected an integer");
    expect_error(with("/model/vocab/a", -1), corrupt, "\"a\" has id -1");
    expect_error(with("/model/vocab/a", 97.0), corrupt, "\"a\" has id 97.0");
    expect_error(with("/model/vocab/a", uint64_t{1} << 63), corrupt, "9223372036854775808");
    expect_error(with("/added_tokens/1/id", 97), corrupt, "disagrees");
    expect_error(with("/added_tokens/0/id", 264), corrupt, "disagrees");
    expect_error(with("/added_tokens/3/id", 267), corrupt, "id 266 has no token, but 267 has");
    expect_error(with("/added_tokens/2/content", "<s>"), corrupt, "which another entry has");
    expect_error(with("/added_tokens/2/id", 264), corrupt, "disagrees");
    expect_error(with("/added_tokens/2/id", -4), corrupt, "has id -4");
}

TEST(TokenizerJson, VocabularyMustCoverTheBytesAndBeBytes) {
    Json tree = small_tokenizer_tree();
    tree["model"]["vocab"].erase("a");
    tree["model"]["vocab"]["zz"] = 97;
    expect_error(tree, ErrorCode::kUnsupported, "no token for byte 0x61");
    tree = small_tokenizer_tree();
    tree["added_tokens"][0] = small_added_token(267, "<t>", false);
    expect_error(tree, ErrorCode::kUnsupported, "id 263 is not in byte symbols");
    // An added token that the merges make too, standing for other bytes (two blanks).
    tree = small_tokenizer_tree();
    tree["added_tokens"].push_back(small_added_token(261, "\u0120\u0120", false));
    expect_error(tree, ErrorCode::kUnsupported, "stands for other bytes");
}

TEST(TokenizerJson, MergesMustNameKnownTokensOnce) {
    const ErrorCode corrupt = ErrorCode::kCorrupt;
    const auto merges = [](const Json& last) {
        return with("/model/merges", Json::array({"a a", last}));
    };
    expect_error(merges("a nope"), corrupt, "model.merges[1] needs the token \"nope\"");
    expect_error(merges("q z"), corrupt, "model.merges[1] needs the token \"qz\"");
    expect_error(merges("a a"), corrupt, "model.merges[1] repeats model.merges[0]");
    expect_error(merges(Json::array({"a", "a"})), corrupt, "repeats");
    for (const Json& bad : {Json("aa"), Json("a a a"), Json(""), Json(3), Json::array({"a"}),
                            Json::array({"a", 1}), Json::array({"a", "a", "a"}), Json(nullptr)})
        expect_error(merges(bad), corrupt, "expected two tokens");
    expect_error(merges("<\uFF5Cbos\uFF5C> a"), corrupt, "needs the token");
}

TEST(TokenizerJson, TruncatedAtAnyByteIsAnError) {
    const std::string text = dump_json(small_tokenizer_tree());
    for (size_t size = 0; size < text.size(); size += size < 2000 ? 1 : 7) {
        const auto file = parse_tokenizer_json(text.substr(0, size));
        ASSERT_FALSE(file) << "at " << size;
        EXPECT_EQ(file.error().code, ErrorCode::kCorrupt);
    }
}

TEST(TokenizerJson, RandomlyDamagedTextNeverCrashes) {
    const std::string text = dump_json(small_tokenizer_tree());
    Rng rng(3);
    for (int i = 0; i < 3000; ++i) {
        std::string damaged = text;
        for (uint64_t n = 1 + rng.next_below(4); n > 0; --n)
            damaged[rng.next_below(damaged.size())] = static_cast<char>(rng.next_below(256));
        const auto file = parse_tokenizer_json(damaged);
        EXPECT_TRUE(file.has_value() || !file.error().message.empty());
    }
}

TEST(TokenizerJson, TooManyEntriesAreRefusedBeforeTheyAreRead) {
    Json tree = small_tokenizer_tree();
    tree["added_tokens"] = Json::array();
    tree["added_tokens"].get_ref<Json::array_t&>().resize(kVocabSizeMax);
    expect_error(tree, ErrorCode::kExhausted, "at most 1048576");
    tree = small_tokenizer_tree();
    tree["model"]["merges"].get_ref<Json::array_t&>().resize(kVocabSizeMax + 1);
    expect_error(tree, ErrorCode::kExhausted, "at most 1048576");
    std::string deep(100'000, '[');
    EXPECT_EQ(parse_tokenizer_json(deep).error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace baleen
