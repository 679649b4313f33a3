// Runs a grammar: a configuration is the set of stacks that the text so far may have led to.
// Stacks and configurations are interned and steps remembered, so that walking a vocabulary is
// table look-ups. One object per thread; what it remembers grows until clear().
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <unordered_map>
#include <vector>

#include "text/grammar.h"

namespace baleen {

class StackMachine {
  public:
    using StackId = uint32_t;
    using ConfigId = uint32_t;
    // The empty stack: what lies below the first frame. A configuration holds it when its text may
    // end here.
    static constexpr StackId kBottom = 0;
    // The configuration without stacks: no text goes on from here.
    static constexpr ConfigId kDead = 0;

    struct Frame {
        uint32_t state;
        StackId parent;
        uint32_t depth;     // frames from here to the bottom
        uint32_t distance;  // tokens that surely suffice to empty the stack
    };

    // The grammar must outlive this. depth_max: stacks that could not be emptied within so many
    // frames are dropped.
    StackMachine(const Grammar& grammar, uint32_t depth_max);

    // One frame on top of parent. A state that only ends its rule is not put down: the result is
    // parent. kBottom - 1 frames do not exist: returns kTooDeep if depth_max does not allow it.
    static constexpr StackId kTooDeep = UINT32_MAX;
    StackId push(uint32_t state, StackId parent);
    const Frame& frame(StackId stack) const { return frames_[stack]; }

    ConfigId config_of(std::vector<StackId> stacks);
    std::span<const StackId> stacks(ConfigId config) const { return configs_[config].stacks; }
    bool may_end(ConfigId config) const { return configs_[config].may_end; }
    // Smallest distance of its stacks; 0 when it may end.
    uint32_t distance(ConfigId config) const { return configs_[config].distance; }
    // Largest depth + height that a stack of the configuration, its calls entered, has reached.
    uint32_t reach(ConfigId config) const { return configs_[config].reach; }

    ConfigId step(ConfigId config, uint8_t byte) {
        const uint32_t known = steps_[size_t{config} * 256 + byte];
        return known != kUnknown ? known : find_step(config, byte);
    }
    ConfigId step_symbol(ConfigId config, Letter symbol) { return target(config, symbol); }
    bool allows(ConfigId config, Letter letter) const;

    // Memory in use, in units of configurations and stacks together.
    size_t size() const { return configs_.size() + frames_.size() / 16; }
    // Forgets all but one configuration, whose new id is returned.
    ConfigId clear(ConfigId kept);

  private:
    static constexpr uint32_t kUnknown = UINT32_MAX;

    struct Config {
        std::vector<StackId> stacks;   // sorted: what steps led to
        std::vector<StackId> entered;  // those and all that ends and calls lead to without a letter
        bool may_end = false;
        uint32_t distance = Grammar::kNever;
        uint32_t reach = 0;
    };
    void enter(Config& config);
    ConfigId find_step(ConfigId config, uint8_t byte);
    ConfigId target(ConfigId config, Letter letter);

    const Grammar& grammar_;
    uint32_t depth_max_;
    std::vector<Frame> frames_;
    std::unordered_map<uint64_t, StackId> stack_ids_;  // by state and parent
    std::vector<Config> configs_;
    std::map<std::vector<StackId>, ConfigId> config_ids_;
    std::vector<uint32_t> steps_;  // [configs, 256] or kUnknown
    std::vector<StackId> scratch_;
};

}  // namespace baleen
