// Members of an object in a grammar, for JSON objects and for the parameters of a call alike:
// each declared one at most once, the required ones exactly once.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "text/automaton.h"

namespace baleen {

struct MemberList {
    struct Member {
        uint32_t rule;  // the whole member
        bool required;
    };
    std::vector<Member> members;         // in declared order
    std::optional<uint32_t> additional;  // rule of any other member, as often as one likes
    // Any order costs 2^members states. In declared order, others come last.
    bool any_order = false;

    bool may_be_empty() const;
    // Goes on from a state at which a member is due. Wherever the list may end after a member, it
    // leads to `end`; separator(state) is what stands between members and returns where it leads.
    void add_to(Automaton& rule, uint32_t member_due, uint32_t end,
                const std::function<uint32_t(uint32_t)>& separator) const;

  private:
    void add_ordered(Automaton& rule, uint32_t member_due, uint32_t end,
                     const std::function<uint32_t(uint32_t)>& separator) const;
    void add_unordered(Automaton& rule, uint32_t member_due, uint32_t end,
                       const std::function<uint32_t(uint32_t)>& separator) const;
};

}  // namespace baleen
