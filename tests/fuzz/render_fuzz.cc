// libFuzzer entry for text/chat: any bytes as a request. The first byte chooses the dialect; the
// rest is JSON. An error, or a prompt whose pieces, text, message ends and tokens agree.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "text/chat.h"
#include "text/chat_json.h"
#include "text/json_text.h"
#include "text/tokenizer_fixture.h"

namespace baleen {
namespace {

// A tokenizer that knows the control tokens of all dialects.
const Tokenizer& tokenizer() {
    static const Tokenizer tokenizer = [] {
        Json tree = small_tokenizer_tree();
        int id = tree["added_tokens"].back()["id"].get<int>() + 1;
        for (const std::string_view name :
             {"begin\u2581of\u2581sentence", "end\u2581of\u2581sentence", "User", "Assistant",
              "latest_reminder", "System", "deepseek_image", "action", "query", "authority",
              "domain", "title", "read_url"})
            tree["added_tokens"].push_back(
                small_added_token(id++, fmt::format("<\uFF5C{}\uFF5C>", name), false));
        for (const std::string_view text : {kThinkOpen, kThinkClose, kDsml})
            tree["added_tokens"].push_back(small_added_token(id++, std::string(text), false));
        return Tokenizer::parse(dump_json(tree)).value();
    }();
    return tokenizer;
}

void check_error(const Error& error) {
    CHECK(!error.message.empty());
    CHECK_EQ(error.message.find('\n'), std::string::npos);
}

// What was read is written in a form that reads as itself.
void check_json(const JsonText& json) {
    const std::string written = json.dump_python();
    const auto again = JsonText::parse(written);
    CHECK(again.has_value());
    CHECK(again->dump_python() == written);
}

void check_pieces(const Prompt& prompt) {
    std::string joined;
    bool after_text = false;
    for (const Piece& piece : prompt.pieces) {
        const auto* text = std::get_if<TextPiece>(&piece);
        CHECK(text == nullptr || !text->text.empty());
        CHECK(text == nullptr || !after_text);
        after_text = text != nullptr;
        joined += text != nullptr ? text->text : std::get<ControlPiece>(piece).text;
    }
    CHECK(joined == prompt.text());
    const auto& ends = prompt.message_ends;
    CHECK(std::is_sorted(ends.begin(), ends.end()));
    CHECK(ends.empty() || ends.back() == prompt.pieces.size());
}

void check_tokens(const Prompt& prompt) {
    const auto num_controls = static_cast<size_t>(std::count_if(
        prompt.pieces.begin(), prompt.pieces.end(),
        [](const Piece& piece) { return std::holds_alternative<ControlPiece>(piece); }));
    const PromptTokens plain = tokenize(prompt, tokenizer()).value();
    const PromptTokens live = tokenize(prompt, tokenizer(), OutsideText::kReference).value();
    const auto num_added =
        static_cast<size_t>(std::count_if(plain.tokens.begin(), plain.tokens.end(),
                                          [](TokenId id) { return tokenizer().is_added(id); }));
    CHECK_EQ(num_added, num_controls);
    for (const PromptTokens& tokens : {plain, live}) {
        CHECK(tokenizer().decode(tokens.tokens).value() == prompt.text());
        CHECK_EQ(tokens.message_ends.size(), prompt.message_ends.size());
        CHECK(tokens.message_ends.empty() || tokens.message_ends.back() == tokens.tokens.size());
    }
}

void render_any(std::string_view text, Dialect dialect) {
    const auto json = JsonText::parse(text);
    if (!json) return check_error(json.error());
    check_json(*json);
    const auto conversation = conversation_from_json(*json, dialect);
    if (!conversation) return check_error(conversation.error());
    const auto prompt = render(*conversation);
    if (!prompt) return check_error(prompt.error());
    check_pieces(*prompt);
    check_tokens(*prompt);
}

}  // namespace
}  // namespace baleen

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
    using baleen::Dialect;
    if (size == 0) return 0;
    static constexpr Dialect kDialects[] = {Dialect::kV4, Dialect::kV4_0731, Dialect::kV41};
    baleen::render_any({reinterpret_cast<const char*>(bytes) + 1, size - 1},
                       kDialects[bytes[0] % 3]);
    return 0;
}
