// The bytes of all base tokens as a trie, and what the added tokens mean to a grammar. Immutable
// but for the cache of compiled grammars, which has a mutex: usable from any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/token.h"
#include "text/automaton.h"
#include "text/tokenizer.h"

namespace baleen {

// What an added token is to a grammar: one letter.
inline constexpr Letter kSymbolDsml = kFirstSymbol;
inline constexpr Letter kSymbolThinkClose = kFirstSymbol + 1;
inline constexpr Letter kSymbolEos = kFirstSymbol + 2;
// Any other added token that free text may hold: none of the stop tokens, no <think>.
inline constexpr Letter kSymbolOther = kFirstSymbol + 3;
inline constexpr Letter kNumSymbols = 4;

class GrammarCache;

class Vocabulary {
  public:
    // In preorder: the subtree of nodes[i] is [i, subtree_end). Node 0 is the root, of depth 0.
    struct Node {
        uint32_t subtree_end;
        TokenId token;   // that ends here; -1: none
        uint16_t depth;  // bytes up to here
        uint8_t byte;    // the last of them
    };

    Vocabulary(const Tokenizer& tokenizer, size_t vocab_size);
    ~Vocabulary();

    size_t size() const { return size_; }
    size_t mask_words() const { return (size_ + 63) / 64; }
    std::span<const Node> nodes() const { return nodes_; }
    // The child of a node by its byte; 0: none.
    uint32_t child(uint32_t node, uint8_t byte) const;
    // Whether one token stands for just this byte.
    bool has_byte(uint8_t byte) const { return byte_token_[byte]; }

    // The letter of an added token; 0: it is a base token, or never allowed.
    Letter symbol(TokenId token) const;
    // The tokens of a symbol.
    std::span<const TokenId> tokens_of(Letter symbol) const;
    // Bytes of a base token; empty for all others.
    std::string_view bytes(TokenId token) const;

    GrammarCache& cache() const { return *cache_; }

  private:
    void add_control_tokens(const Tokenizer& tokenizer);
    void build_trie();

    size_t size_;
    std::string text_;             // of all base tokens
    std::vector<uint32_t> ends_;   // [tokenizer's size + 1]
    std::vector<uint8_t> symbol_;  // [tokenizer's size] letter - kFirstSymbol + 1; 0: none
    std::array<std::vector<TokenId>, kNumSymbols> tokens_of_;
    std::vector<Node> nodes_;
    std::array<uint32_t, 256> root_child_{};
    std::array<bool, 256> byte_token_{};
    std::unique_ptr<GrammarCache> cache_;
};

}  // namespace baleen
