// A grammar as a recursive transition network: rules are deterministic automata whose letters are
// bytes, control symbols and calls of other rules. Immutable after build, usable from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "text/automaton.h"
#include "text/vocabulary.h"

namespace baleen {

// Limits of one grammar.
inline constexpr size_t kGrammarStatesMax = 250'000;
inline constexpr size_t kGrammarEdgesMax = 2'000'000;
// Calls open at once. Every level of a JSON value opens at least one, so that what a grammar
// accepts is never nested deeper than parse_json reads (kJsonDepthMax).
inline constexpr uint32_t kGrammarDepthMax = 110;

// The rules while they are being written: a rule can be called before it is defined.
class RuleSet {
  public:
    uint32_t reserve();
    // kExhausted beyond the limits above. REQUIRES: reserved, not yet defined.
    Result<void> define(uint32_t rule, const Automaton& automaton);
    Result<uint32_t> add(const Automaton& automaton);  // reserve and define

    std::span<const Automaton> rules() const { return rules_; }
    size_t num_states() const { return num_states_; }

  private:
    std::vector<Automaton> rules_;
    std::vector<bool> defined_;
    size_t num_states_ = 0, num_edges_ = 0;
};

class Grammar {
  public:
    struct Edge {
        Letter first, last;
        uint32_t target;
    };
    struct Call {
        uint32_t start;   // of the called rule
        uint32_t target;  // where to go on afterwards
    };
    static constexpr uint32_t kNever = UINT32_MAX;

    // Every state that is left lies on a path to the end. kInvalidArgument: no text at all
    // satisfies it; kUnsupported: a rule calls itself before anything was written, or the shortest
    // text nests deeper than kGrammarDepthMax. REQUIRES: all rules are defined.
    static Result<Grammar> build(const RuleSet& rules, uint32_t start_rule,
                                 const Vocabulary& vocabulary);

    uint32_t start() const { return start_; }
    size_t num_states() const { return states_.size(); }
    std::span<const Edge> edges(uint32_t state) const;  // by first letter, disjoint
    std::span<const Call> calls(uint32_t state) const;
    bool ends_rule(uint32_t state) const { return states_[state].ends_rule; }
    // The rule ends here, and nothing else is possible.
    bool only_ends(uint32_t state) const { return states_[state].only_ends; }
    // A number of tokens that surely suffices to end the rule.
    uint32_t distance(uint32_t state) const { return states_[state].distance; }
    // Fewest calls that must be open at once, beyond this one, to end the rule.
    uint32_t height(uint32_t state) const { return states_[state].height; }

  private:
    friend class GrammarBuild;
    struct State {
        uint32_t edges_begin = 0, calls_begin = 0;
        uint32_t distance = kNever;
        uint32_t height = kNever;
        bool ends_rule = false, only_ends = false;
    };
    std::vector<State> states_;
    std::vector<Edge> edges_;
    std::vector<Call> calls_;
    uint32_t start_ = 0;
};

}  // namespace baleen
