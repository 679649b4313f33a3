#include "text/token_mask.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace baleen {
namespace {

void set_bit(std::span<uint64_t> bits, TokenId token) {
    const auto at = static_cast<size_t>(token);
    bits[at / 64] |= uint64_t{1} << (at % 64);
}

// Visits the nodes below `top` that the configuration's texts lead to: on_node(node index, the
// configuration there).
template <typename OnNode>
void walk_trie(const Vocabulary& vocabulary, uint32_t top, StackMachine& machine,
               StackMachine::ConfigId config, const OnNode& on_node) {
    const std::span<const Vocabulary::Node> nodes = vocabulary.nodes();
    const size_t base = nodes[top].depth;
    std::vector<StackMachine::ConfigId> path = {config};  // [depth - base]
    for (uint32_t at = top + 1; at < nodes[top].subtree_end;) {
        const Vocabulary::Node& node = nodes[at];
        const size_t depth = node.depth - base;
        const StackMachine::ConfigId next = machine.step(path[depth - 1], node.byte);
        if (next == StackMachine::kDead) {
            at = node.subtree_end;
            continue;
        }
        path.resize(std::max(path.size(), depth + 1));
        path[depth] = next;
        on_node(at, next);
        ++at;
    }
}

// on_symbol(symbol) for each that may come next.
template <typename OnSymbol>
void each_symbol(const StackMachine& machine, StackMachine::ConfigId config,
                 const OnSymbol& on_symbol) {
    for (Letter symbol = kFirstSymbol; symbol < kFirstSymbol + kNumSymbols; ++symbol)
        if (machine.allows(config, symbol)) on_symbol(symbol);
}

}  // namespace

LocalMasks::LocalMasks(const Grammar& grammar, const Vocabulary& vocabulary)
    : grammar_(grammar), vocabulary_(vocabulary), machine_(grammar, Grammar::kNever / 2) {}

LocalMask LocalMasks::compute(uint32_t state) {
    LocalMask mask;
    std::vector<uint64_t> bits(vocabulary_.mask_words(), 0);
    const StackMachine::ConfigId start =
        machine_.config_of({machine_.push(state, StackMachine::kBottom)});
    mask.ends_at_once = machine_.may_end(start);
    mask.reach = machine_.reach(start);
    size_t count = 0;
    const auto allow = [&](TokenId token, StackMachine::ConfigId after) {
        set_bit(bits, token);
        ++count;
        mask.distance_max = std::max(mask.distance_max, machine_.distance(after));
    };
    const std::span<const Vocabulary::Node> nodes = vocabulary_.nodes();
    walk_trie(vocabulary_, 0, machine_, start, [&](uint32_t node, StackMachine::ConfigId config) {
        if (nodes[node].token >= 0) allow(nodes[node].token, config);
        mask.reach = std::max(mask.reach, machine_.reach(config));
        const bool has_children = nodes[node].subtree_end > node + 1;
        if (has_children && machine_.may_end(config)) mask.end_nodes.push_back(node);
    });
    each_symbol(machine_, start, [&](Letter symbol) {
        const StackMachine::ConfigId after = machine_.step_symbol(start, symbol);
        for (const TokenId token : vocabulary_.tokens_of(symbol)) allow(token, after);
        mask.reach = std::max(mask.reach, machine_.reach(after));
    });
    if (count * sizeof(TokenId) >= bits.size() * sizeof(uint64_t) / 4) {
        mask.bits = std::move(bits);
        return mask;
    }
    for (size_t at = 0; at < vocabulary_.size(); ++at)
        if (bits[at / 64] >> (at % 64) & 1) mask.tokens.push_back(static_cast<TokenId>(at));
    return mask;
}

std::shared_ptr<const LocalMask> LocalMasks::of(uint32_t state) {
    const std::scoped_lock lock(mutex_);
    if (const auto it = masks_.find(state); it != masks_.end()) return it->second;
    if (machine_.size() > kMachineSizeMax) machine_.clear(StackMachine::kDead);
    auto mask = std::make_shared<const LocalMask>(compute(state));
    if (bytes_ > kBytesMax) {
        masks_.clear();
        bytes_ = 0;
    }
    bytes_ += sizeof(LocalMask) + mask->bits.size() * sizeof(uint64_t) +
              mask->tokens.size() * sizeof(TokenId) + mask->end_nodes.size() * sizeof(uint32_t);
    masks_.emplace(state, mask);
    return mask;
}

GrammarRun::GrammarRun(const Grammar& grammar, const Vocabulary& vocabulary,
                       LocalMasks& local_masks)
    : grammar_(grammar),
      vocabulary_(vocabulary),
      local_masks_(local_masks),
      machine_(grammar, kGrammarDepthMax) {
    config_ = machine_.config_of({machine_.push(grammar.start(), StackMachine::kBottom)});
}

bool GrammarRun::is_finished() const {
    const std::span<const StackId> stacks = machine_.stacks(config_);
    return stacks.size() == 1 && stacks[0] == StackMachine::kBottom;
}

// Adds what may come next from one stack. False: too near the depth limit for local masks.
bool GrammarRun::add_stack(StackId stack, Mask& mask) {
    while (stack != StackMachine::kBottom) {
        const StackMachine::Frame frame = machine_.frame(stack);
        const std::shared_ptr<const LocalMask> local = local_masks_.of(frame.state);
        if (frame.depth - 1 + local->reach > kGrammarDepthMax) return false;
        for (size_t i = 0; i < local->bits.size(); ++i) mask.bits[i] |= local->bits[i];
        for (const TokenId token : local->tokens) set_bit(mask.bits, token);
        const uint32_t below = machine_.frame(frame.parent).distance;
        mask.distance_max = std::max(mask.distance_max, local->distance_max + below);
        if (!local->end_nodes.empty() && frame.parent != StackMachine::kBottom) {
            const ConfigId rest = machine_.config_of({frame.parent});
            for (const uint32_t node : local->end_nodes)
                walk_trie(vocabulary_, node, machine_, rest, [&](uint32_t at, ConfigId config) {
                    const TokenId token = vocabulary_.nodes()[at].token;
                    if (token < 0) return;
                    set_bit(mask.bits, token);
                    mask.distance_max = std::max(mask.distance_max, machine_.distance(config));
                });
        }
        if (!local->ends_at_once) break;
        stack = frame.parent;
    }
    return true;
}

const GrammarRun::Mask* GrammarRun::quick_mask() {
    if (const auto it = masks_.find(config_); it != masks_.end()) return &it->second;
    Mask mask;
    mask.bits.assign(vocabulary_.mask_words(), 0);
    const std::span<const StackId> stacks = machine_.stacks(config_);
    for (const StackId stack : std::vector<StackId>(stacks.begin(), stacks.end()))
        if (!add_stack(stack, mask)) return nullptr;
    return &masks_.emplace(config_, std::move(mask)).first->second;
}

void GrammarRun::walk_mask(std::span<uint64_t> allowed, uint32_t distance_max) {
    scratch_.assign(vocabulary_.mask_words(), 0);
    const std::span<const Vocabulary::Node> nodes = vocabulary_.nodes();
    walk_trie(vocabulary_, 0, machine_, config_, [&](uint32_t node, ConfigId config) {
        if (nodes[node].token >= 0 && machine_.distance(config) <= distance_max)
            set_bit(scratch_, nodes[node].token);
    });
    each_symbol(machine_, config_, [&](Letter symbol) {
        if (distance_after(symbol) > distance_max) return;
        for (const TokenId token : vocabulary_.tokens_of(symbol)) set_bit(scratch_, token);
    });
    for (size_t i = 0; i < scratch_.size(); ++i) allowed[i] &= scratch_[i];
}

uint32_t GrammarRun::distance_after(Letter symbol) {
    return machine_.distance(machine_.step_symbol(config_, symbol));
}

void GrammarRun::forget_if_full() {
    if (machine_.size() > kMachineSizeMax) {
        config_ = machine_.clear(config_);
        masks_.clear();
    }
    if (masks_.size() >= kMasksMax) masks_.clear();
}

void GrammarRun::mask(std::span<uint64_t> allowed, int64_t tokens_left) {
    CHECK_EQ(allowed.size(), vocabulary_.mask_words());
    forget_if_full();
    const auto left =
        static_cast<uint32_t>(std::clamp<int64_t>(tokens_left, 0, Grammar::kNever - 1));
    const Mask* quick = quick_mask();
    // When it does not fit any more, anything goes on: several bytes to a token, it may yet fit.
    const bool fits = int64_t{distance()} <= tokens_left + 1;
    if (quick != nullptr && (!fits || quick->distance_max <= left)) {
        for (size_t i = 0; i < allowed.size(); ++i) allowed[i] &= quick->bits[i];
        return;
    }
    std::vector<uint64_t> timely(allowed.begin(), allowed.end());
    walk_mask(timely, fits ? left : Grammar::kNever);
    const auto is_set = [](uint64_t word) { return word != 0; };
    // Near the depth limit the shortest way out may be closed; then time does not count.
    if (std::none_of(timely.begin(), timely.end(), is_set)) {
        timely.assign(allowed.begin(), allowed.end());
        walk_mask(timely, Grammar::kNever);
    }
    std::copy(timely.begin(), timely.end(), allowed.begin());
}

bool GrammarRun::accept(TokenId token) {
    ConfigId next = config_;
    if (const Letter symbol = vocabulary_.symbol(token); symbol != 0) {
        next = machine_.step_symbol(config_, symbol);
    } else {
        const std::string_view bytes = vocabulary_.bytes(token);
        if (bytes.empty()) return false;
        for (const char c : bytes) next = machine_.step(next, static_cast<uint8_t>(c));
    }
    if (next == StackMachine::kDead) return false;
    config_ = next;
    return true;
}

}  // namespace baleen
