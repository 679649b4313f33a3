#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "base/check.h"

namespace baleen {
namespace {

constexpr uint32_t kNoRank = UINT32_MAX;
constexpr uint32_t kNoSymbol = UINT32_MAX;
constexpr uint64_t kNoPair = UINT64_MAX;

uint64_t pair_key(TokenId left, TokenId right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// Fibonacci hashing after folding the high half in: the top bits pick the slot.
uint64_t mixed(uint64_t key) {
    return (key ^ key >> 29) * 0x9E3779B97F4A7C15u;
}

}  // namespace

Bpe::Bpe(const std::array<TokenId, 256>& byte_ids, std::span<const Merge> merges)
    : byte_ids_(byte_ids) {
    CHECK_LT(merges.size(), size_t{1} << 31);
    const size_t num_slots = std::bit_ceil(2 * merges.size() + 2);
    slots_.assign(num_slots, Slot{kNoPair, kNoRank, -1});
    shift_ = 64 - std::countr_zero(num_slots);
    for (size_t rank = 0; rank < merges.size(); ++rank) {
        const Merge& merge = merges[rank];
        Slot& slot = slots_[slot_of(merge.left, merge.right)];
        CHECK_EQ(slot.pair, kNoPair);
        slot = {pair_key(merge.left, merge.right), static_cast<uint32_t>(rank), merge.merged};
    }
}

// The slot of the pair, or the free slot where it would go (rank kNoRank).
size_t Bpe::slot_of(TokenId left, TokenId right) const {
    const uint64_t key = pair_key(left, right);
    size_t at = mixed(key) >> shift_;
    while (slots_[at].pair != key && slots_[at].pair != kNoPair)
        at = (at + 1) & (slots_.size() - 1);
    return at;
}

void Bpe::encode(std::string_view piece, BpeScratch& scratch, std::vector<TokenId>& ids) const {
    if (piece.empty()) return;
    CHECK_LT(piece.size(), size_t{kNoSymbol});
    fill(piece, scratch);
    std::vector<uint64_t>& heap = scratch.heap;
    while (!heap.empty()) {
        std::pop_heap(heap.begin(), heap.end(), std::greater<>());
        const uint64_t lowest = heap.back();
        heap.pop_back();
        ++scratch.num_heap_pops;
        const auto left = static_cast<uint32_t>(lowest);
        // A pair that changed since it was pushed has another rank now (a symbol that was merged
        // into its left neighbour has none); its present rank is in the heap as well.
        if (scratch.symbols[left].rank == lowest >> 32) merge_at(left, scratch);
    }
    for (uint32_t at = 0; at != kNoSymbol; at = scratch.symbols[at].next)
        ids.push_back(scratch.symbols[at].id);
}

// One symbol per byte, linked, and a heap of all pairs that can merge.
void Bpe::fill(std::string_view piece, BpeScratch& scratch) const {
    const auto size = static_cast<uint32_t>(piece.size());
    scratch.heap.clear();
    scratch.symbols.resize(size);
    for (uint32_t i = 0; i < size; ++i)
        scratch.symbols[i] = {byte_ids_[static_cast<uint8_t>(piece[i])], kNoRank, i - 1, i + 1};
    scratch.symbols[size - 1].next = kNoSymbol;  // the first prev is kNoSymbol by wrap-around
    for (uint32_t i = 0; i < size; ++i) rank_pair(i, scratch);
    std::make_heap(scratch.heap.begin(), scratch.heap.end(), std::greater<>());
}

// Looks up the pair that starts at left and appends it to the heap's storage.
void Bpe::rank_pair(uint32_t left, BpeScratch& scratch) const {
    BpeScratch::Symbol& symbol = scratch.symbols[left];
    symbol.rank = kNoRank;
    if (symbol.next == kNoSymbol) return;
    ++scratch.num_pair_lookups;
    symbol.rank = slots_[slot_of(symbol.id, scratch.symbols[symbol.next].id)].rank;
    if (symbol.rank != kNoRank)
        scratch.heap.push_back(static_cast<uint64_t>(symbol.rank) << 32 | left);
}

// Merges the pair that starts at left, and ranks the two pairs that are new.
void Bpe::merge_at(uint32_t left, BpeScratch& scratch) const {
    const auto rank_and_push = [&](uint32_t at) {
        const size_t before = scratch.heap.size();
        rank_pair(at, scratch);
        if (scratch.heap.size() > before)
            std::push_heap(scratch.heap.begin(), scratch.heap.end(), std::greater<>());
    };
    BpeScratch::Symbol& symbol = scratch.symbols[left];
    BpeScratch::Symbol& right = scratch.symbols[symbol.next];
    symbol.id = slots_[slot_of(symbol.id, right.id)].merged;
    symbol.next = right.next;
    right.rank = kNoRank;
    if (symbol.next != kNoSymbol) scratch.symbols[symbol.next].prev = left;
    if (symbol.prev != kNoSymbol) rank_and_push(symbol.prev);
    rank_and_push(left);
}

}  // namespace baleen
