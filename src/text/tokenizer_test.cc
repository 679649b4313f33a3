#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "text/tokenizer_fixture.h"
#include "text/utf8.h"

namespace baleen {
namespace {

using Ids = std::vector<TokenId>;

std::string shared_path(const std::string& name) {
    const char* shared = std::getenv("BALEEN_SHARED");
    return std::string(shared != nullptr ? shared : "../shared") + "/" + name;
}

Json read_json(const std::string& path) {
    return parse_json(read_file(path, size_t{64} << 20).value()).value();
}

const Tokenizer& v4() {
    static const Tokenizer tokenizer =
        Tokenizer::load(shared_path("data/deepseek-v4-tokenizer.json")).value();
    return tokenizer;
}

const Tokenizer& small() {
    static const Tokenizer tokenizer = Tokenizer::parse(dump_json(small_tokenizer_tree())).value();
    return tokenizer;
}

// Random scalar values of all kinds: ASCII, common scripts, anywhere, unassigned, control.
std::string random_text(Rng& rng, size_t num_chars) {
    std::string text;
    for (size_t i = 0; i < num_chars; ++i) {
        static constexpr char32_t kBounds[] = {0x20, 0x80, 0x800, 0x3100, 0x10000, 0x110000};
        const uint64_t bound = kBounds[rng.next_below(std::size(kBounds))];
        const auto code = static_cast<char32_t>(rng.next_below(bound));
        if (code < 0xD800 || code >= 0xE000) append_utf8(code, text);
    }
    return text;
}

TEST(TokenizerV4, FactsOfTheSpec) {
    EXPECT_EQ(v4().vocab_size(), 129280u);
    size_t num_added = 0;
    size_t longest = 0;
    for (TokenId id = 0; v4().contains(id); ++id) {
        num_added += v4().is_added(id) ? 1 : 0;
        if (!v4().is_added(id)) longest = std::max(longest, v4().token_bytes(id).size());
    }
    EXPECT_EQ(num_added, 1283u);
    EXPECT_EQ(longest, 128u);
    const std::map<TokenId, std::string> known = {{0, "<｜begin▁of▁sentence｜>"},
                                                  {1, "<｜end▁of▁sentence｜>"},
                                                  {30, "<"},
                                                  {201, "\n"},
                                                  {262, "  "},
                                                  {271, "\n\n"},
                                                  {1718, "</"},
                                                  {128803, "<｜User｜>"},
                                                  {128805, "<|EOT|>"},
                                                  {128821, "<think>"},
                                                  {128825, "｜DSML｜"},
                                                  {129265, "<｜/table>｜"}};
    for (const auto& [id, text] : known) {
        EXPECT_EQ(v4().token_bytes(id), text);
        EXPECT_EQ(v4().token_id(text), id);
    }
    EXPECT_EQ(v4().token_id("no such token"), -1);
    EXPECT_EQ(v4().token_id(""), -1);
    EXPECT_FALSE(v4().contains(-1));
    EXPECT_FALSE(v4().contains(129280));
}

TEST(TokenizerV4, TextsOfTheSpec) {
    const Json examples = read_json(shared_path("spec/tokenizer-examples.json"));
    ASSERT_GE(examples["texts"].size(), 20u);
    for (const Json& example : examples["texts"]) {
        const auto text = example["text"].get<std::string>();
        EXPECT_EQ(v4().encode(text).value(), example["ids"].get<Ids>()) << text;
        EXPECT_EQ(v4().decode(example["ids"].get<Ids>()).value(), text);
    }
}

TEST(TokenizerV4, PromptsOfTheSpec) {
    std::map<std::string, std::string> prompts;
    const Json renders = read_json(shared_path("spec/encoding-examples.json"))["render"];
    for (const Json& example : renders)
        if (example.contains("expected")) prompts[example["id"]] = example["expected"];
    const Json examples = read_json(shared_path("spec/tokenizer-examples.json"))["examples"];
    ASSERT_GE(examples.size(), 6u);
    for (const Json& example : examples) {
        const auto prompt = prompts.find(example["example"].get<std::string>());
        ASSERT_NE(prompt, prompts.end()) << example["example"];
        const Ids ids = v4().encode(prompt->second).value();
        EXPECT_EQ(ids, example["ids"].get<Ids>()) << prompt->first;
        EXPECT_EQ(ids.size(), example["n"].get<size_t>());
        EXPECT_EQ(v4().decode(ids).value(), prompt->second);
    }
}

TEST(TokenizerV4, PlainEncodingKnowsNoAddedToken) {
    EXPECT_EQ(v4().encode_plain("｜DSML｜").value(), (Ids{28217, 10525, 7398, 28217}));
    EXPECT_EQ(v4().encode_plain("<think>").value(), (Ids{30, 37947, 32}));
    EXPECT_EQ(v4().encode("<think>").value(), Ids{128821});
}

TEST(TokenizerV4, RowC10_StressTextsOfTheReference) {
    const Json cases = read_json("tests/golden/tokenizer-stress.json")["cases"];
    ASSERT_GE(cases.size(), 100u);
    for (const Json& c : cases) {
        const auto text = c["text"].get<std::string>();
        EXPECT_EQ(v4().encode(text).value(), c["ids"].get<Ids>()) << c["text"];
        EXPECT_EQ(v4().encode_plain(text).value(), c["plain"].get<Ids>()) << c["text"];
        EXPECT_EQ(v4().decode(c["ids"].get<Ids>()).value(), text);
        EXPECT_EQ(v4().decode(c["plain"].get<Ids>()).value(), text);
    }
}

TEST(TokenizerV4, EveryTokenEncodesToItselfOrRoundTrips) {
    for (TokenId id = 0; v4().contains(id); ++id) {
        const std::string_view bytes = v4().token_bytes(id);
        const auto ids = v4().encode(bytes);
        if (!ids) {  // part of a character
            EXPECT_NE(first_invalid_utf8(bytes), bytes.npos);
        } else if (v4().is_added(id)) {
            EXPECT_EQ(*ids, Ids{id});
        } else {
            EXPECT_EQ(v4().decode(*ids).value(), bytes) << id;
        }
    }
}

TEST(TokenizerV4, RandomTextRoundTrips) {
    Rng rng(4);
    for (int i = 0; i < 4000; ++i) {
        const std::string text = random_text(rng, rng.next_below(60));
        EXPECT_EQ(v4().decode(v4().encode(text).value()).value(), text);
        EXPECT_EQ(v4().decode(v4().encode_plain(text).value()).value(), text);
    }
}

TEST(TokenizerV4, LongRunsComeBack) {
    for (const std::string unit : {"a", " ", "😀", "一", "0", "\n", "\x01"}) {
        std::string text;
        while (text.size() < 200'000) text += unit;
        EXPECT_EQ(v4().decode(v4().encode(text).value()).value(), text);
    }
}

// The pieces, joined, are decode() of all; each piece is whole characters.
void expect_stream_equals_decode(const Tokenizer& tokenizer, const Ids& ids) {
    StreamDecoder decoder(tokenizer);
    std::string joined;
    for (const TokenId id : ids) {
        const std::string piece = decoder.push(id).value();
        EXPECT_EQ(first_invalid_utf8(piece), piece.npos);
        joined += piece;
    }
    joined += decoder.finish();
    EXPECT_EQ(joined, tokenizer.decode(ids).value());
    EXPECT_EQ(decoder.finish(), "");
}

TEST(StreamDecoder, JoinsToTheSameTextForAnyIds) {
    Rng rng(5);
    for (int i = 0; i < 2000; ++i) {
        Ids ids(rng.next_below(30));
        for (TokenId& id : ids)
            id = static_cast<TokenId>(rng.next_below(rng.next_below(2) ? 259 : v4().vocab_size()));
        expect_stream_equals_decode(v4(), ids);
    }
}

// One byte per token: each byte of each character is a split point.
TEST(StreamDecoder, HoldsBackAnIncompleteCharacter) {
    const std::string text = "aé\u0301漢😀z";
    StreamDecoder decoder(small());
    std::string seen;
    for (size_t i = 0; i < text.size(); ++i) {
        seen += decoder.push(static_cast<uint8_t>(text[i])).value();
        size_t whole = i + 1;  // up to the last complete character
        while (first_invalid_utf8(text.substr(0, whole)) != text.npos) --whole;
        EXPECT_EQ(seen, text.substr(0, whole)) << i;
    }
    EXPECT_EQ(decoder.finish(), "");
}

TEST(StreamDecoder, EverySplitOfTextIntoTokensIsTheSame) {
    const std::string text = "\u00E9\u00E9 \u6F22\xF0\x9F\x98\x80";
    for (size_t end = 0; end <= text.size(); ++end) {
        // The small tokenizer has a token for both bytes of é; use bytes before `end`, tokens
        // after.
        Ids ids;
        for (size_t i = 0; i < end; ++i) ids.push_back(static_cast<uint8_t>(text[i]));
        std::string_view rest = std::string_view(text).substr(end);
        while (!rest.empty()) {
            const bool pair = rest.starts_with("\u00E9");
            ids.push_back(pair ? small().token_id("\u00E9") : static_cast<uint8_t>(rest[0]));
            rest.remove_prefix(pair ? 2 : 1);
        }
        EXPECT_EQ(small().decode(ids).value(), text);
        expect_stream_equals_decode(small(), ids);
    }
}

TEST(StreamDecoder, ReplacesOnlyWhatCannotBecomeValid) {
    const std::string r(kReplacementCharacter);
    StreamDecoder decoder(small());
    EXPECT_EQ(decoder.push(0xF0).value(), "");
    EXPECT_EQ(decoder.push(0x9F).value(), "");
    EXPECT_EQ(decoder.push(0x98).value(), "");
    EXPECT_EQ(decoder.push('a').value(), r + "a");
    EXPECT_EQ(decoder.push(0xFF).value(), r);
    EXPECT_EQ(decoder.push(0xE6).value(), "");
    EXPECT_EQ(decoder.finish(), r);
    EXPECT_EQ(decoder.push('b').value(), "b");  // ready for another output
}

TEST(StreamDecoder, IdOutsideTheVocabularyIsAnErrorAndChangesNothing) {
    StreamDecoder decoder(small());
    EXPECT_EQ(decoder.push(0xC3).value(), "");
    for (const TokenId id : {-1, 267, INT32_MAX, INT32_MIN})
        EXPECT_EQ(decoder.push(id).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(decoder.push(0xA9).value(), "é");
    EXPECT_EQ(small().decode(Ids{97, 267}).error().message, "token id 267 is not in 0 to 266");
}

TEST(Tokenizer, MergesInOrderOfRankWithoutVocabularyShortcut) {
    EXPECT_EQ(small().encode("aaaaa").value(), (Ids{257, 'a'}));
    EXPECT_EQ(small().encode("aaaaaaa").value(), (Ids{257, 256, 'a'}));
    // "bcd" is an entry, but "c d" comes before "b c".
    ASSERT_GE(small().token_id("bcd"), 0);
    EXPECT_EQ(small().encode("bcd").value(), (Ids{'b', small().token_id("cd")}));
}

TEST(Tokenizer, AddedTokensLeftmostLongestInTwoRounds) {
    const TokenId bos = 263, s = 264, ss = 265, late = 266;
    EXPECT_EQ(small().encode("<s>").value(), Ids{s});
    EXPECT_EQ(small().encode("<s><s><s>").value(), (Ids{ss, s}));
    EXPECT_EQ(small().encode("<<s>>").value(), (Ids{'<', s, '>'}));
    EXPECT_EQ(small().encode("<s><s").value(), (Ids{s, '<', 's'}));
    EXPECT_EQ(small().encode("<｜bos｜><s").value(), (Ids{bos, '<', 's'}));
    // "x<s" starts further left than "<s>", but is looked for in what the first round leaves.
    EXPECT_EQ(small().encode("x<s>").value(), (Ids{'x', s}));
    EXPECT_EQ(small().encode("x<s!").value(), (Ids{late, '!'}));
    EXPECT_EQ(small().encode_plain("<s>").value(), (Ids{'<', 's', '>'}));
}

TEST(Tokenizer, TextThatIsNotUtf8IsAnErrorWithItsOffset) {
    for (const auto& encoded : {small().encode("ab\xFFz"), small().encode_plain("ab\xFFz")}) {
        ASSERT_FALSE(encoded);
        EXPECT_EQ(encoded.error().code, ErrorCode::kInvalidArgument);
        EXPECT_EQ(encoded.error().message, "text is not UTF-8: byte 0xff at offset 2");
    }
    EXPECT_FALSE(small().encode("a\xED\xA0\x80"));          // a surrogate
    EXPECT_FALSE(small().encode("0123456789abc\xE6\xBC"));  // cut within a character
    EXPECT_EQ(small().encode("").value(), Ids{});
}

TEST(Tokenizer, LoadsFromAFileOrItsFolder) {
    const auto folder = std::filesystem::path(testing::TempDir()) / "baleen_tokenizer_test";
    std::filesystem::create_directories(folder);
    const std::string file = folder / "tokenizer.json";
    ASSERT_TRUE(write_file_atomically(file, dump_json(small_tokenizer_tree())));
    EXPECT_EQ(Tokenizer::load(file).value().vocab_size(), 267u);
    EXPECT_EQ(Tokenizer::load(folder).value().vocab_size(), 267u);
    ASSERT_TRUE(write_file_atomically(file, "{}"));
    const Error error = Tokenizer::load(folder).error();
    EXPECT_EQ(error.code, ErrorCode::kCorrupt);
    EXPECT_EQ(error.message, file + ": model is missing, expected an object");
    std::filesystem::remove_all(folder);
    EXPECT_EQ(Tokenizer::load(file).error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace baleen
