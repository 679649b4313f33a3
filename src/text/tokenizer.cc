#include "text/tokenizer.h"

#include <sys/stat.h>

#include <utility>

#include "base/file.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/pretokenizer.h"
#include "text/token_table.h"
#include "text/tokenizer_json.h"
#include "text/utf8.h"

namespace baleen {

namespace {

// Working memory and result of one call of encode.
struct Encoding {
    std::vector<TokenId> ids;
    std::vector<uint32_t> piece_ends;
    BpeScratch bpe;
};

}  // namespace

struct Tokenizer::State {
    explicit State(TokenizerFile file);

    // Appends the ids of text, in which no added token is looked for.
    void encode(std::string_view text, Encoding& encoding) const;
    void encode_piece(std::string_view piece, Encoding& encoding) const;

    TokenTable tokens;
    std::vector<bool> added;  // [vocab_size]
    // [vocab_size] base tokens whose bytes, merged as a piece, give just that token: such a piece
    // needs no merging. (Not every entry is like that, so the vocabulary alone is no shortcut.)
    std::vector<bool> is_whole_piece;
    AddedTokens first_round;
    AddedTokens second_round;
    PreTokenizer pre_tokenizer;
    Bpe bpe;
};

namespace {

// Every base token can be found by its bytes; added tokens are found by AddedTokens.
std::vector<bool> inverted(const std::vector<bool>& added) {
    std::vector<bool> base(added.size());
    for (size_t id = 0; id < added.size(); ++id) base[id] = !added[id];
    return base;
}

Result<void> check_text(std::string_view text) {
    if (text.size() > kEncodeBytesMax)
        return make_error(ErrorCode::kExhausted, "text has {} bytes, at most {} are encoded",
                          text.size(), kEncodeBytesMax);
    if (const size_t at = first_invalid_utf8(text); at != text.npos)
        return make_error(ErrorCode::kInvalidArgument,
                          "text is not UTF-8: byte {:#04x} at offset {}",
                          static_cast<uint8_t>(text[at]), at);
    return {};
}

// Cuts text at the added tokens: on_gap(text between), on_token(id), in order.
template <typename OnGap, typename OnToken>
void cut_at(const AddedTokens& added, std::string_view text, const OnGap& on_gap,
            const OnToken& on_token) {
    for (size_t at = 0; at < text.size();) {
        const AddedTokens::Match match = added.find(text, at);
        if (match.begin > at) on_gap(text.substr(at, match.begin - at));
        if (match.size > 0) on_token(match.id);
        at = match.begin + match.size;
    }
}

bool is_folder(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

}  // namespace

Tokenizer::State::State(TokenizerFile file)
    : tokens(file.token_bytes, inverted(file.added)),
      added(std::move(file.added)),
      is_whole_piece(tokens.size(), false),
      first_round(std::move(file.first_round)),
      second_round(std::move(file.second_round)),
      bpe(file.byte_ids, file.merges) {
    Encoding encoding;
    for (size_t at = 0; at < tokens.size(); ++at) {
        if (added[at]) continue;
        const auto id = static_cast<TokenId>(at);
        encoding.ids.clear();
        bpe.encode(tokens.bytes(id), encoding.bpe, encoding.ids);
        is_whole_piece[at] = encoding.ids.size() == 1 && encoding.ids[0] == id;
    }
}

void Tokenizer::State::encode(std::string_view text, Encoding& encoding) const {
    encoding.piece_ends.clear();
    pre_tokenizer.cut(text, encoding.piece_ends);
    size_t begin = 0;
    for (const uint32_t end : encoding.piece_ends) {
        encode_piece(text.substr(begin, end - begin), encoding);
        begin = end;
    }
}

void Tokenizer::State::encode_piece(std::string_view piece, Encoding& encoding) const {
    const TokenId whole = tokens.find(piece);
    if (whole >= 0 && is_whole_piece[static_cast<size_t>(whole)])
        encoding.ids.push_back(whole);
    else
        bpe.encode(piece, encoding.bpe, encoding.ids);
}

Tokenizer::Tokenizer(std::unique_ptr<const State> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::load(const std::string& path) {
    const std::string file = is_folder(path) ? path + "/tokenizer.json" : path;
    const std::string json = TRY(read_file(file, kTokenizerJsonBytesMax));
    Result<Tokenizer> tokenizer = parse(json);
    if (!tokenizer) return std::move(tokenizer).error().in(file);
    return tokenizer;
}

Result<Tokenizer> Tokenizer::parse(std::string_view json) {
    if (json.size() > kTokenizerJsonBytesMax)
        return make_error(ErrorCode::kExhausted, "tokenizer.json has {} bytes, at most {} are read",
                          json.size(), kTokenizerJsonBytesMax);
    TokenizerFile file = TRY(parse_tokenizer_json(json));
    return Tokenizer(std::make_unique<const State>(std::move(file)));
}

Result<std::vector<TokenId>> Tokenizer::encode(std::string_view text) const {
    TRY(check_text(text));
    Encoding encoding;
    const auto on_token = [&](TokenId id) { encoding.ids.push_back(id); };
    const auto on_text = [&](std::string_view gap) { state_->encode(gap, encoding); };
    const auto second_round = [&](std::string_view gap) {
        cut_at(state_->second_round, gap, on_text, on_token);
    };
    cut_at(state_->first_round, text, second_round, on_token);
    return std::move(encoding.ids);
}

Result<std::vector<TokenId>> Tokenizer::encode_plain(std::string_view text) const {
    TRY(check_text(text));
    Encoding encoding;
    state_->encode(text, encoding);
    return std::move(encoding.ids);
}

Result<std::string> Tokenizer::decode(std::span<const TokenId> ids) const {
    StreamDecoder decoder(*this);
    std::string text;
    for (const TokenId id : ids) text += TRY(decoder.push(id));
    return text + decoder.finish();
}

TokenId Tokenizer::token_id(std::string_view text) const {
    if (const TokenId id = state_->first_round.exactly(text); id >= 0) return id;
    if (const TokenId id = state_->second_round.exactly(text); id >= 0) return id;
    return state_->tokens.find(text);
}

std::string_view Tokenizer::token_bytes(TokenId id) const {
    CHECK(contains(id));
    return state_->tokens.bytes(id);
}

bool Tokenizer::is_added(TokenId id) const {
    CHECK(contains(id));
    return state_->added[static_cast<size_t>(id)];
}

size_t Tokenizer::vocab_size() const {
    return state_->tokens.size();
}

Result<std::string> StreamDecoder::push(TokenId id) {
    if (!tokenizer_.contains(id))
        return make_error(ErrorCode::kInvalidArgument, "token id {} is not in 0 to {}", id,
                          tokenizer_.vocab_size() - 1);
    pending_ += tokenizer_.token_bytes(id);
    std::string text;
    drain_utf8(pending_, text);
    return text;
}

std::string StreamDecoder::finish() {
    const bool incomplete = !pending_.empty();
    pending_.clear();
    return std::string(incomplete ? kReplacementCharacter : "");
}

}  // namespace baleen
