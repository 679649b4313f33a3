// Prompt::text and tokenize: pieces to text and to token ids (spec/chat-encoding.md, section 11).
#include <algorithm>

#include "text/chat.h"

namespace baleen {
namespace {

Result<TokenId> control_id(std::string_view text, const Tokenizer& tokenizer) {
    const TokenId id = tokenizer.token_id(text);
    if (id >= 0 && tokenizer.is_added(id)) return id;
    return make_error(ErrorCode::kInvalidArgument,
                      "the tokenizer has no control token {}: it is of another model or dialect",
                      text);
}

Result<void> append_sampled(const std::vector<TokenId>& sampled, const Tokenizer& tokenizer,
                            std::vector<TokenId>& out) {
    for (const TokenId id : sampled)
        if (!tokenizer.contains(id))
            return make_error(ErrorCode::kInvalidArgument,
                              "sampled token {} is not in the vocabulary", id);
    out.insert(out.end(), sampled.begin(), sampled.end());
    return {};
}

void append(const std::vector<TokenId>& ids, std::vector<TokenId>& out) {
    out.insert(out.end(), ids.begin(), ids.end());
}

// ends[i]: how many tokens the first i + 1 pieces have.
struct PieceTokens {
    std::vector<TokenId> tokens;
    std::vector<size_t> ends;
};

Result<PieceTokens> encode_pieces(const Prompt& prompt, const Tokenizer& tokenizer) {
    PieceTokens out;
    for (const Piece& piece : prompt.pieces) {
        if (const auto* control = std::get_if<ControlPiece>(&piece))
            out.tokens.push_back(TRY(control_id(control->text, tokenizer)));
        else if (const auto* text = std::get_if<TextPiece>(&piece))
            append(TRY(tokenizer.encode_plain(text->text)), out.tokens);
        else
            TRY(append_sampled(std::get<SampledPiece>(piece).tokens, tokenizer, out.tokens));
        out.ends.push_back(out.tokens.size());
    }
    return out;
}

// Text between sampled pieces, to be encoded in one go, with the places where its pieces end.
struct Run {
    std::string text;
    std::vector<size_t> ends;  // in bytes
};

// Appends the run's tokens, and for each of its pieces the number of tokens that cover it.
Result<void> flush(Run& run, const Tokenizer& tokenizer, PieceTokens& out) {
    size_t bytes = 0;
    auto next = run.ends.begin();
    for (const TokenId id : TRY(tokenizer.encode(run.text))) {
        // A marker in outside text may reach over the end of its piece.
        bytes += tokenizer.token_bytes(id).size();
        out.tokens.push_back(id);
        for (; next != run.ends.end() && *next <= bytes; ++next)
            out.ends.push_back(out.tokens.size());
    }
    run = {};
    return {};
}

// As the reference: the finished string at once, every marker in it a control token.
Result<PieceTokens> encode_joined(const Prompt& prompt, const Tokenizer& tokenizer) {
    PieceTokens out;
    Run run;
    for (const Piece& piece : prompt.pieces) {
        if (const auto* sampled = std::get_if<SampledPiece>(&piece)) {
            TRY(flush(run, tokenizer, out));
            TRY(append_sampled(sampled->tokens, tokenizer, out.tokens));
            out.ends.push_back(out.tokens.size());
            continue;
        }
        if (const auto* control = std::get_if<ControlPiece>(&piece)) {
            TRY(control_id(control->text, tokenizer));
            run.text += control->text;
        } else {
            run.text += std::get<TextPiece>(piece).text;
        }
        run.ends.push_back(run.text.size());
    }
    TRY(flush(run, tokenizer, out));
    return out;
}

}  // namespace

std::string Prompt::text(const Tokenizer* tokenizer) const {
    std::string joined;
    for (const Piece& piece : pieces) {
        if (const auto* control = std::get_if<ControlPiece>(&piece)) {
            joined += control->text;
        } else if (const auto* text_piece = std::get_if<TextPiece>(&piece)) {
            joined += text_piece->text;
        } else if (tokenizer != nullptr) {
            const auto decoded = tokenizer->decode(std::get<SampledPiece>(piece).tokens);
            if (decoded) joined += *decoded;
        }
    }
    return joined;
}

Result<PromptTokens> tokenize(const Prompt& prompt, const Tokenizer& tokenizer,
                              OutsideText outside) {
    PieceTokens encoded = TRY(outside == OutsideText::kPlain ? encode_pieces(prompt, tokenizer)
                                                             : encode_joined(prompt, tokenizer));
    PromptTokens out{std::move(encoded.tokens), {}};
    for (const size_t end : prompt.message_ends)
        out.message_ends.push_back(end == 0 ? 0 : encoded.ends[end - 1]);
    return out;
}

}  // namespace baleen
