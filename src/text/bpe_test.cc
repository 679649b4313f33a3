#include "text/bpe.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>
#include <string>

#include "base/rng.h"

namespace baleen {
namespace {

std::array<TokenId, 256> identity_bytes() {
    std::array<TokenId, 256> ids{};
    std::iota(ids.begin(), ids.end(), 0);
    return ids;
}

// The definition, word for word: look at all pairs, merge the leftmost one of lowest rank, repeat.
std::vector<TokenId> merged_by_definition(std::string_view piece, std::span<const Merge> merges) {
    std::map<std::pair<TokenId, TokenId>, size_t> ranks;
    for (size_t rank = 0; rank < merges.size(); ++rank)
        ranks[{merges[rank].left, merges[rank].right}] = rank;
    std::vector<TokenId> ids;
    for (const char c : piece) ids.push_back(static_cast<uint8_t>(c));
    for (;;) {
        size_t best_rank = merges.size();
        size_t best_at = 0;
        for (size_t at = 0; at + 1 < ids.size(); ++at) {
            const auto it = ranks.find({ids[at], ids[at + 1]});
            if (it == ranks.end() || it->second >= best_rank) continue;
            best_rank = it->second;
            best_at = at;
        }
        if (best_rank == merges.size()) return ids;
        ids[best_at] = merges[best_rank].merged;
        ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best_at) + 1);
    }
}

// Random merges over a small alphabet, each of two tokens that exist already.
std::vector<Merge> random_merges(Rng& rng, size_t count) {
    std::vector<TokenId> tokens = {'a', 'b', 'c', 'd'};
    std::set<std::pair<TokenId, TokenId>> seen;
    std::vector<Merge> merges;
    while (merges.size() < count) {
        const TokenId left = tokens[rng.next_below(tokens.size())];
        const TokenId right = tokens[rng.next_below(tokens.size())];
        if (!seen.emplace(left, right).second) continue;
        const auto merged = static_cast<TokenId>(256 + merges.size());
        merges.push_back({left, right, merged});
        tokens.push_back(merged);
    }
    return merges;
}

TEST(Bpe, MatchesTheDefinitionOnRandomMergesAndPieces) {
    Rng rng(1);
    BpeScratch scratch;
    for (int round = 0; round < 300; ++round) {
        const std::vector<Merge> merges = random_merges(rng, 1 + rng.next_below(60));
        const Bpe bpe(identity_bytes(), merges);
        for (int i = 0; i < 30; ++i) {
            std::string piece(1 + rng.next_below(80), ' ');
            for (char& c : piece)
                c = static_cast<char>('a' + rng.next_below(rng.next_below(4) + 1));
            std::vector<TokenId> ids;
            bpe.encode(piece, scratch, ids);
            ASSERT_EQ(ids, merged_by_definition(piece, merges))
                << "round " << round << ": " << piece;
        }
    }
}

TEST(Bpe, NoMergesGivesBytesAndEmptyGivesNothing) {
    const Bpe bpe(identity_bytes(), {});
    BpeScratch scratch;
    std::vector<TokenId> ids;
    bpe.encode("", scratch, ids);
    EXPECT_TRUE(ids.empty());
    bpe.encode("\xFFz", scratch, ids);
    EXPECT_EQ(ids, (std::vector<TokenId>{255, 'z'}));
}

// The work, not the time, of one long piece: 3n pair look-ups and as many heap entries, whatever it
// is.
TEST(Bpe, WorkOnLongRunsIsBoundedByTheLength) {
    std::vector<Merge> doubling;  // a a, aa aa, ... up to 2^12 letters
    TokenId token = 'a';
    for (TokenId id = 256; id < 268; ++id) {
        doubling.push_back({token, token, id});
        token = id;
    }
    std::vector<Merge>
        growing;  // a a, aa a, aaa a, ...: each merge makes one pair with the left one
    token = 'a';
    for (TokenId id = 256; id < 400; ++id) {
        growing.push_back({token, 'a', id});
        token = id;
    }
    for (const auto& merges : {doubling, growing}) {
        const Bpe bpe(identity_bytes(), merges);
        for (const size_t size : {size_t{1000}, size_t{1} << 20}) {
            BpeScratch scratch;
            std::vector<TokenId> ids;
            bpe.encode(std::string(size, 'a'), scratch, ids);
            EXPECT_LE(scratch.num_pair_lookups, 3 * size);
            EXPECT_LE(scratch.num_heap_pops, 3 * size);
            EXPECT_LE(ids.size(), size / 2);
        }
    }
}

}  // namespace
}  // namespace baleen
