#include "text/member_list.h"

#include <algorithm>

namespace baleen {

bool MemberList::may_be_empty() const {
    return std::none_of(members.begin(), members.end(), [](const Member& m) { return m.required; });
}

void MemberList::add_to(Automaton& rule, uint32_t member_due, uint32_t end,
                        const std::function<uint32_t(uint32_t)>& separator) const {
    if (any_order)
        add_unordered(rule, member_due, end, separator);
    else
        add_ordered(rule, member_due, end, separator);
}

void MemberList::add_ordered(Automaton& rule, uint32_t member_due, uint32_t end,
                             const std::function<uint32_t(uint32_t)>& separator) const {
    const auto may_end_at = [this](size_t from) {
        return std::none_of(members.begin() + static_cast<ptrdiff_t>(from), members.end(),
                            [](const Member& m) { return m.required; });
    };
    // due: a member of index i or later must come; the state after one leads to the next due.
    uint32_t due = member_due;
    for (size_t i = 0; i < members.size(); ++i) {
        const uint32_t after = rule.add_call(due, members[i].rule);
        const uint32_t next_due = separator(after);
        if (may_end_at(i + 1)) rule.add_epsilon(after, end);
        if (!members[i].required) rule.add_epsilon(due, next_due);
        due = next_due;
    }
    if (!additional) return;
    const uint32_t after = rule.add_call(due, *additional);
    rule.add_epsilon(separator(after), due);
    rule.add_epsilon(after, end);
}

void MemberList::add_unordered(Automaton& rule, uint32_t member_due, uint32_t end,
                               const std::function<uint32_t(uint32_t)>& separator) const {
    const size_t num_sets = size_t{1} << members.size();
    size_t required = 0;
    for (size_t i = 0; i < members.size(); ++i)
        if (members[i].required) required |= size_t{1} << i;
    std::vector<uint32_t> after(num_sets), due(num_sets);  // by the set of members written
    for (size_t set = 0; set < num_sets; ++set) {
        after[set] = rule.add_state();
        due[set] = separator(after[set]);
        if ((set & required) == required) rule.add_epsilon(after[set], end);
    }
    rule.add_epsilon(member_due, due[0]);
    for (size_t set = 0; set < num_sets; ++set) {
        for (size_t i = 0; i < members.size(); ++i) {
            const size_t bit = size_t{1} << i;
            if ((set & bit) != 0) continue;
            rule.add_edge(due[set], kFirstCall + members[i].rule, kFirstCall + members[i].rule,
                          after[set | bit]);
        }
        if (additional)
            rule.add_edge(due[set], kFirstCall + *additional, kFirstCall + *additional, after[set]);
    }
}

}  // namespace baleen
