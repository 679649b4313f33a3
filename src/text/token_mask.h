// Which tokens may come next in a grammar. What a state allows within its own frame is the same in
// every text (LocalMasks, shared by all that use the grammar); a stack's mask is that of its top
// state, and where that frame ends in the middle of a token, a walk with the rest of the stack.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "text/stack_machine.h"
#include "text/vocabulary.h"

namespace baleen {

struct LocalMask {
    // What may come without leaving the frame, or ends exactly with it. One of the two is empty.
    std::vector<uint64_t> bits;
    std::vector<TokenId> tokens;
    std::vector<uint32_t> end_nodes;  // trie nodes with children where the frame may end
    bool ends_at_once = false;        // the frame may end before the first byte
    uint32_t reach = 0;               // depth that was needed, the frame itself included
    uint32_t distance_max = 0;        // largest distance to the frame's end after one token
};

// Bounded; usable from any thread.
class LocalMasks {
  public:
    // Both must outlive this.
    LocalMasks(const Grammar& grammar, const Vocabulary& vocabulary);
    std::shared_ptr<const LocalMask> of(uint32_t state);

  private:
    static constexpr size_t kBytesMax = size_t{8} << 20;
    static constexpr size_t kMachineSizeMax = 4096;
    LocalMask compute(uint32_t state);

    const Vocabulary& vocabulary_;
    std::mutex mutex_;
    StackMachine machine_;
    std::unordered_map<uint32_t, std::shared_ptr<const LocalMask>> masks_;
    size_t bytes_ = 0;
};

// The text of one sequence so far, and what may follow. One thread.
class GrammarRun {
  public:
    // All must outlive this.
    GrammarRun(const Grammar& grammar, const Vocabulary& vocabulary, LocalMasks& local_masks);

    // Nothing but the end is possible.
    bool is_finished() const;
    // The text may end here, whatever else may come.
    bool may_end() const { return machine_.may_end(config_); }
    // Tokens that surely suffice to finish.
    uint32_t distance() const { return machine_.distance(config_); }
    // Clears the bits of tokens that may not come next. tokens_left: after the next one; if the
    // text can be finished within them, only tokens that leave it so stay.
    void mask(std::span<uint64_t> allowed, int64_t tokens_left);
    // False if token may not come; then nothing changes.
    bool accept(TokenId token);
    bool allows(Letter symbol) const { return machine_.allows(config_, symbol); }
    // distance() after this symbol. REQUIRES: it may come.
    uint32_t distance_after(Letter symbol);

    // The same by walking the whole vocabulary with the whole configuration: for texts near a
    // limit, and the second opinion of tests. distance_max: of what is left afterwards.
    void walk_mask(std::span<uint64_t> allowed, uint32_t distance_max);

  private:
    static constexpr size_t kMasksMax = 64;
    static constexpr size_t kMachineSizeMax = 2048;

    struct Mask {
        std::vector<uint64_t> bits;
        uint32_t distance_max = 0;  // after any of the tokens
    };
    using StackId = StackMachine::StackId;
    using ConfigId = StackMachine::ConfigId;

    const Mask* quick_mask();  // null: too near the depth limit
    bool add_stack(StackId stack, Mask& mask);
    void forget_if_full();

    const Vocabulary& vocabulary_;
    LocalMasks& local_masks_;
    StackMachine machine_;
    ConfigId config_;
    std::unordered_map<ConfigId, Mask> masks_;
    std::vector<uint64_t> scratch_;
};

}  // namespace baleen
