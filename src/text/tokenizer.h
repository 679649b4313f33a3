// Text to token ids and back (spec/tokenizer.md): byte-level BPE as the Hugging Face tokenizers
// library 0.23.2 does it for DeepSeek-V4, for any tokenizer.json with that pre-tokenizer.
// Immutable after loading and usable from any thread. StreamDecoder belongs to one thread.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/token.h"

namespace baleen {

// Longest text that encode accepts.
inline constexpr size_t kEncodeBytesMax = size_t{1} << 30;

class Tokenizer {
  public:
    // path: a tokenizer.json, or a folder that holds one.
    static Result<Tokenizer> load(const std::string& path);
    // json: the bytes of a tokenizer.json.
    static Result<Tokenizer> parse(std::string_view json);

    Tokenizer(Tokenizer&&) noexcept;
    Tokenizer& operator=(Tokenizer&&) noexcept;
    ~Tokenizer();

    // Added tokens in the text become their ids: for prompts that the chat encoding has written.
    // kInvalidArgument with the byte offset if text is not UTF-8; kExhausted beyond
    // kEncodeBytesMax.
    Result<std::vector<TokenId>> encode(std::string_view text) const;

    // No added token is recognised: for text from outside.
    Result<std::vector<TokenId>> encode_plain(std::string_view text) const;

    // The bytes of all tokens read as UTF-8, with U+FFFD for each maximal ill-formed part.
    // kInvalidArgument if an id is not in the vocabulary.
    Result<std::string> decode(std::span<const TokenId> ids) const;

    // The added token with this text, else the token that stands for these bytes; -1 if none.
    TokenId token_id(std::string_view text) const;

    // What the token stands for; may be part of a character. Valid while the tokenizer lives.
    // REQUIRES: contains(id).
    std::string_view token_bytes(TokenId id) const;

    // REQUIRES: contains(id).
    bool is_added(TokenId id) const;

    bool contains(TokenId id) const { return id >= 0 && static_cast<size_t>(id) < vocab_size(); }

    // Base and added tokens: ids run from 0 to vocab_size() - 1.
    size_t vocab_size() const;

  private:
    struct State;
    explicit Tokenizer(std::unique_ptr<const State> state);
    std::unique_ptr<const State> state_;
};

// Decodes token by token: the pieces, joined, equal decode() of all ids. What is returned is whole
// characters; at most 3 bytes of an incomplete one are held back.
class StreamDecoder {
  public:
    // The tokenizer must outlive this.
    explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

    // The text that this token completes, possibly none. kInvalidArgument if id is not in the
    // vocabulary; then nothing changes.
    Result<std::string> push(TokenId id);

    // The output ends: U+FFFD if a character is incomplete. Ready for another output afterwards.
    std::string finish();

  private:
    const Tokenizer& tokenizer_;
    std::string pending_;  // at most 3 bytes
};

}  // namespace baleen
