#include "text/stack_machine.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace baleen {

StackMachine::StackMachine(const Grammar& grammar, uint32_t depth_max)
    : grammar_(grammar), depth_max_(depth_max) {
    frames_.push_back({0, kBottom, 0, 0});
    config_of({});
}

StackMachine::StackId StackMachine::push(uint32_t state, StackId parent) {
    if (grammar_.only_ends(state)) return parent;
    const uint32_t depth = frames_[parent].depth + 1;
    if (depth > depth_max_ || grammar_.height(state) > depth_max_ - depth) return kTooDeep;
    const uint64_t key = uint64_t{state} << 32 | parent;
    const auto [it, is_new] = stack_ids_.try_emplace(key, static_cast<StackId>(frames_.size()));
    if (is_new) {
        const uint64_t distance = uint64_t{grammar_.distance(state)} + frames_[parent].distance;
        frames_.push_back({state, parent, depth,
                           static_cast<uint32_t>(std::min<uint64_t>(distance, UINT32_MAX - 1))});
    }
    return it->second;
}

StackMachine::ConfigId StackMachine::config_of(std::vector<StackId> stacks) {
    std::sort(stacks.begin(), stacks.end());
    stacks.erase(std::unique(stacks.begin(), stacks.end()), stacks.end());
    const auto [it, is_new] =
        config_ids_.try_emplace(std::move(stacks), static_cast<ConfigId>(configs_.size()));
    if (is_new) {
        Config config;
        config.stacks = it->first;
        enter(config);
        configs_.push_back(std::move(config));
        steps_.resize(configs_.size() * 256, kUnknown);
    }
    return it->second;
}

// Follows what needs no letter: rules that end, and calls.
void StackMachine::enter(Config& config) {
    std::vector<StackId>& entered = config.entered;
    entered = config.stacks;
    const auto add = [&entered](StackId stack) {
        if (stack != kTooDeep && std::find(entered.begin(), entered.end(), stack) == entered.end())
            entered.push_back(stack);
    };
    for (size_t i = 0; i < entered.size(); ++i) {
        const Frame frame = frames_[entered[i]];
        config.distance = std::min(config.distance, frame.distance);
        if (entered[i] == kBottom) continue;
        config.reach = std::max(config.reach, frame.depth + grammar_.height(frame.state));
        if (grammar_.ends_rule(frame.state)) add(frame.parent);
        for (const Grammar::Call& call : grammar_.calls(frame.state)) {
            const StackId after = push(call.target, frame.parent);
            if (after != kTooDeep) add(push(call.start, after));
        }
    }
    config.may_end = std::find(entered.begin(), entered.end(), kBottom) != entered.end();
    // Only stacks with letters matter to steps.
    std::erase_if(entered, [this](StackId stack) {
        return stack == kBottom || grammar_.edges(frames_[stack].state).empty();
    });
}

StackMachine::ConfigId StackMachine::target(ConfigId config, Letter letter) {
    scratch_.clear();
    for (const StackId stack : configs_[config].entered) {
        const Frame frame = frames_[stack];
        const std::span<const Grammar::Edge> edges = grammar_.edges(frame.state);
        const auto edge =
            std::partition_point(edges.begin(), edges.end(),
                                 [letter](const Grammar::Edge& e) { return e.last < letter; });
        if (edge == edges.end() || edge->first > letter) continue;
        const StackId next = push(edge->target, frame.parent);
        if (next != kTooDeep) scratch_.push_back(next);
    }
    return scratch_.empty() ? kDead : config_of(scratch_);
}

StackMachine::ConfigId StackMachine::find_step(ConfigId config, uint8_t byte) {
    const ConfigId next = target(config, byte);
    steps_[size_t{config} * 256 + byte] = next;
    return next;
}

bool StackMachine::allows(ConfigId config, Letter letter) const {
    for (const StackId stack : configs_[config].entered)
        for (const Grammar::Edge& edge : grammar_.edges(frames_[stack].state))
            if (edge.first <= letter && letter <= edge.last) return true;
    return false;
}

StackMachine::ConfigId StackMachine::clear(ConfigId kept) {
    std::vector<std::vector<uint32_t>> texts;  // states of each stack, bottom first
    for (const StackId stack : configs_[kept].stacks) {
        auto& states = texts.emplace_back();
        for (StackId at = stack; at != kBottom; at = frames_[at].parent)
            states.push_back(frames_[at].state);
        std::reverse(states.begin(), states.end());
    }
    frames_.resize(1);
    stack_ids_.clear();
    configs_.clear();
    config_ids_.clear();
    steps_.clear();
    config_of({});
    std::vector<StackId> stacks;
    for (const auto& states : texts) {
        StackId stack = kBottom;
        for (const uint32_t state : states) stack = push(state, stack);
        stacks.push_back(stack);
    }
    return config_of(std::move(stacks));
}

}  // namespace baleen
