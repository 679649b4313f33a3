// libFuzzer entry for text/tokenizer. The first byte chooses: even, the rest is a tokenizer.json;
// odd, it is text for a small embedded tokenizer, whose encoding must decode to the same text.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "text/tokenizer.h"
#include "text/tokenizer_fixture.h"
#include "text/utf8.h"

namespace baleen {
namespace {

void load_hostile(std::string_view json) {
    const auto tokenizer = Tokenizer::parse(json);
    if (!tokenizer) {
        CHECK(!tokenizer.error().message.empty());
        CHECK_EQ(tokenizer.error().message.find('\n'), std::string::npos);
        return;
    }
    CHECK(tokenizer->encode("what loads must also work: 12345 <s> \u6F22").has_value());
}

void round_trip(const Tokenizer& tokenizer, std::string_view text) {
    const auto ids = tokenizer.encode(text);
    const auto plain = tokenizer.encode_plain(text);
    CHECK_EQ(ids.has_value(), first_invalid_utf8(text) == text.npos);
    CHECK_EQ(ids.has_value(), plain.has_value());
    if (!ids) return;
    for (const auto& encoded : {*ids, *plain}) {
        const std::string decoded = tokenizer.decode(encoded).value();
        CHECK_EQ(decoded, text);
    }
}

// Any bytes as ids: the stream and the whole must agree.
void decode_any(const Tokenizer& tokenizer, std::string_view bytes) {
    std::vector<TokenId> ids;
    for (const char c : bytes) ids.push_back(static_cast<uint8_t>(c));
    StreamDecoder decoder(tokenizer);
    std::string streamed;
    for (const TokenId id : ids) streamed += decoder.push(id).value();
    streamed += decoder.finish();
    const std::string decoded = tokenizer.decode(ids).value();
    CHECK_EQ(streamed, decoded);
    CHECK_EQ(first_invalid_utf8(streamed), streamed.npos);
}

}  // namespace
}  // namespace baleen

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
    if (size == 0) return 0;
    const std::string_view rest(reinterpret_cast<const char*>(bytes) + 1, size - 1);
    if (bytes[0] % 2 == 0) {
        baleen::load_hostile(rest);
        return 0;
    }
    static const baleen::Tokenizer tokenizer =
        baleen::Tokenizer::parse(baleen::dump_json(baleen::small_tokenizer_tree())).value();
    baleen::round_trip(tokenizer, rest);
    baleen::decode_any(tokenizer, rest);
    return 0;
}
