// Byte-pair merging of one piece (spec/tokenizer.md, "Encoding", step 4): the adjacent pair of
// lowest rank merges, the leftmost first, until none is left. A heap over a linked list: n bytes
// take at most 3n pair look-ups and n log n steps, however long the piece is. Immutable after
// construction, usable from any thread; each caller brings its own BpeScratch.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/token.h"

namespace baleen {

// left and right become merged. The place in the list of merges is the rank.
struct Merge {
    TokenId left;
    TokenId right;
    TokenId merged;
};

// Working memory of Bpe::encode, kept between pieces so that short ones do not allocate.
struct BpeScratch {
    struct Symbol {
        TokenId id;
        uint32_t rank;  // of the pair with the next symbol; kNoRank: no such merge
        uint32_t prev;
        uint32_t next;
    };
    std::vector<Symbol> symbols;
    std::vector<uint64_t> heap;  // rank << 32 | index of the left symbol; smallest first
    // Work done since construction, for tests of the bounds above.
    size_t num_pair_lookups = 0;
    size_t num_heap_pops = 0;
};

class Bpe {
  public:
    // byte_ids: the token of each single byte. REQUIRES: no pair occurs twice in merges.
    Bpe(const std::array<TokenId, 256>& byte_ids, std::span<const Merge> merges);

    // Appends the tokens of piece to ids. REQUIRES: piece.size() < 2^32 - 1.
    void encode(std::string_view piece, BpeScratch& scratch, std::vector<TokenId>& ids) const;

  private:
    struct Slot {
        uint64_t pair;  // left << 32 | right; kNoPair: free
        uint32_t rank;
        TokenId merged;
    };

    size_t slot_of(TokenId left, TokenId right) const;
    void fill(std::string_view piece, BpeScratch& scratch) const;
    void rank_pair(uint32_t left, BpeScratch& scratch) const;
    void merge_at(uint32_t left, BpeScratch& scratch) const;

    std::array<TokenId, 256> byte_ids_;
    std::vector<Slot> slots_;  // open addressing, size a power of two, at most half full
    int shift_;                // 64 - log2(slots_.size())
};

}  // namespace baleen
