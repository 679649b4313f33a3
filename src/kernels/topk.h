// The k best scores of a list (spec 6): the choice of the lightning indexer.
//
// One pass over the scores keeps those above a rising threshold in a buffer of about 4k; whenever
// it is full, its own k best stay and the least of them becomes the threshold. O(n) whatever the
// order of the scores, and the scratch depends on k only. Pure; any thread, one scratch each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace baleen {

// Reusable memory of one running call; grows with k on first use, then stays.
struct TopkScratch {
    std::vector<int32_t> keys;     // candidates' scores as integers of the same order
    std::vector<int32_t> indices;  // [keys.size()] where they stand in the list, ascending
};

// out := indices of the k largest scores in ascending index order; all of them if k >= n.
// Of equal scores the lowest index wins. NaN counts as -infinity, and -0 equals +0.
// REQUIRES: scores.size() <= INT32_MAX. Allocates only if out's capacity is below min(k, n).
void select_topk(std::span<const float> scores, size_t k, TopkScratch& scratch,
                 std::vector<int32_t>& out);

}  // namespace baleen
