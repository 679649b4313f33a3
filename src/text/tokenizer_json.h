// Reads a Hugging Face tokenizer.json of the one form this program handles: byte-level BPE with the
// pre-tokenizer of DeepSeek-V4 (any vocabulary). Everything it would have to ignore is an error, so
// that what loads also encodes like the reference.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/added_tokens.h"
#include "text/bpe.h"

namespace baleen {

// Most tokens, and most bytes of a tokenizer.json, that are accepted.
inline constexpr size_t kVocabSizeMax = size_t{1} << 20;
inline constexpr size_t kTokenizerJsonBytesMax = size_t{64} << 20;

struct TokenizerFile {
    std::vector<std::string> token_bytes;  // [vocab_size]; of an added token: its text
    std::vector<bool> added;               // [vocab_size]
    std::array<TokenId, 256> byte_ids;     // the token of each single byte
    std::vector<Merge> merges;             // by rank
    // The reference looks for added tokens in two rounds: first those that are not `normalized`,
    // then, in what lies between, the others. No normaliser is accepted, so that is the only
    // difference.
    std::vector<AddedToken> first_round;
    std::vector<AddedToken> second_round;
};

Result<TokenizerFile> parse_tokenizer_json(std::string_view text);

}  // namespace baleen
