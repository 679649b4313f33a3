#include "text/grammar.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <utility>

#include "base/check.h"

namespace baleen {

uint32_t RuleSet::reserve() {
    rules_.emplace_back();
    defined_.push_back(false);
    return static_cast<uint32_t>(rules_.size() - 1);
}

Result<void> RuleSet::define(uint32_t rule, const Automaton& automaton) {
    CHECK(!defined_[rule]);
    defined_[rule] = true;
    rules_[rule] = TRY(determinised(automaton));
    num_states_ += rules_[rule].states.size();
    for (const Automaton::State& state : rules_[rule].states) num_edges_ += state.edges.size();
    if (num_states_ > kGrammarStatesMax || num_edges_ > kGrammarEdgesMax)
        return make_error(ErrorCode::kExhausted, "needs more than {} grammar states or {} edges",
                          kGrammarStatesMax, kGrammarEdgesMax);
    return {};
}

Result<uint32_t> RuleSet::add(const Automaton& automaton) {
    const uint32_t rule = reserve();
    TRY(define(rule, automaton));
    return rule;
}

// The steps of Grammar::build.
class GrammarBuild {
  public:
    GrammarBuild(const RuleSet& rules, const Vocabulary& vocabulary)
        : rules_(rules), vocabulary_(vocabulary) {}

    Result<Grammar> run(uint32_t start_rule);

  private:
    using Edge = Grammar::Edge;
    using Call = Grammar::Call;

    void lay_out();
    void copy_state(const Automaton::State& from, uint32_t base);
    void add_bytes(Letter first, Letter last, uint32_t target);
    void find_reverse_edges();
    void find_distances();
    void add_token_steps(uint32_t from, uint32_t state, uint32_t node);
    void find_heights();
    void remove_dead_ends();
    bool calls_itself_first() const;

    // For each state in order of its final value: settle(state) offers values to the states before.
    template <typename Value, typename Settle>
    void settle_all(Value value, const Settle& settle);

    const RuleSet& rules_;
    const Vocabulary& vocabulary_;
    Grammar grammar_;
    std::vector<uint32_t> rule_start_;
    struct TokenStep {
        uint32_t from, target;
    };
    struct Caller {
        uint32_t from;
        Call call;
    };
    // By target state, both sorted; callers also by the start of the rule called.
    std::vector<TokenStep> steps_;
    std::vector<Caller> callers_by_target_, callers_by_start_;
};

namespace {

template <typename Item, typename Key>
std::span<const Item> with_key(const std::vector<Item>& items, uint32_t value, const Key& key) {
    const auto begin =
        std::lower_bound(items.begin(), items.end(), value,
                         [&key](const Item& item, uint32_t wanted) { return key(item) < wanted; });
    auto end = begin;
    while (end != items.end() && key(*end) == value) ++end;
    return {begin, end};
}

uint32_t plus(uint32_t a, uint32_t b) {
    if (a == Grammar::kNever || b == Grammar::kNever) return Grammar::kNever;
    return static_cast<uint32_t>(std::min<uint64_t>(uint64_t{a} + b, Grammar::kNever - 1));
}

}  // namespace

// A byte that no token stands for is no letter of any grammar: else a text could be begun that
// cannot be gone on with.
void GrammarBuild::add_bytes(Letter first, Letter last, uint32_t target) {
    for (Letter at = first; at <= last; ++at) {
        if (!vocabulary_.has_byte(static_cast<uint8_t>(at))) continue;
        const Letter begin = at;
        while (at < last && vocabulary_.has_byte(static_cast<uint8_t>(at + 1))) ++at;
        grammar_.edges_.push_back({begin, at, target});
    }
}

void GrammarBuild::copy_state(const Automaton::State& from, uint32_t base) {
    Grammar::State state;
    state.edges_begin = static_cast<uint32_t>(grammar_.edges_.size());
    state.calls_begin = static_cast<uint32_t>(grammar_.calls_.size());
    state.ends_rule = from.accepting;
    state.only_ends = from.accepting && from.edges.empty();
    for (const Automaton::Edge& edge : from.edges) {
        if (edge.first <= kLastByte) {
            add_bytes(edge.first, edge.last, base + edge.target);
        } else if (edge.first >= kFirstCall) {
            CHECK_EQ(edge.first, edge.last);
            grammar_.calls_.push_back({rule_start_[edge.first - kFirstCall], base + edge.target});
        } else {
            CHECK_EQ(edge.first, edge.last);
            if (!vocabulary_.tokens_of(edge.first).empty())
                grammar_.edges_.push_back({edge.first, edge.last, base + edge.target});
        }
    }
    grammar_.states_.push_back(state);
}

void GrammarBuild::lay_out() {
    uint32_t count = 0;
    for (const Automaton& rule : rules_.rules()) {
        rule_start_.push_back(count);
        count += static_cast<uint32_t>(rule.states.size());
    }
    grammar_.states_.reserve(count + 1);
    uint32_t base = 0;
    for (const Automaton& rule : rules_.rules()) {
        for (const Automaton::State& state : rule.states) copy_state(state, base);
        base += static_cast<uint32_t>(rule.states.size());
    }
    Grammar::State end;  // only its begins are used
    end.edges_begin = static_cast<uint32_t>(grammar_.edges_.size());
    end.calls_begin = static_cast<uint32_t>(grammar_.calls_.size());
    grammar_.states_.push_back(end);
}

// Steps of one token along states with single-byte edges, as in the fixed parts of tags and keys:
// without them every byte of a tag would count as a token.
void GrammarBuild::add_token_steps(uint32_t from, uint32_t state, uint32_t node) {
    for (const Edge& edge : grammar_.edges(state)) {
        if (edge.first != edge.last || edge.first > kLastByte) continue;
        const uint32_t child = vocabulary_.child(node, static_cast<uint8_t>(edge.first));
        if (child == 0) continue;
        if (node != 0 && vocabulary_.nodes()[child].token >= 0)
            steps_.push_back({from, edge.target});
        if (vocabulary_.nodes()[child].depth < 16) add_token_steps(from, edge.target, child);
    }
}

void GrammarBuild::find_reverse_edges() {
    const auto num_states = static_cast<uint32_t>(grammar_.states_.size() - 1);
    for (uint32_t at = 0; at < num_states; ++at) {
        for (const Edge& edge : grammar_.edges(at)) steps_.push_back({at, edge.target});
        for (const Call& call : grammar_.calls(at)) callers_by_target_.push_back({at, call});
        add_token_steps(at, at, 0);
    }
    callers_by_start_ = callers_by_target_;
    std::sort(steps_.begin(), steps_.end(),
              [](const auto& a, const auto& b) { return a.target < b.target; });
    std::sort(callers_by_target_.begin(), callers_by_target_.end(),
              [](const auto& a, const auto& b) { return a.call.target < b.call.target; });
    std::sort(callers_by_start_.begin(), callers_by_start_.end(),
              [](const auto& a, const auto& b) { return a.call.start < b.call.start; });
}

// Knuth's generalisation of Dijkstra's algorithm: states are settled in order of their value.
template <typename Value, typename Settle>
void GrammarBuild::settle_all(Value value, const Settle& settle) {
    using Entry = std::pair<uint32_t, uint32_t>;  // value, state
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue;
    std::vector<bool> settled(grammar_.states_.size(), false);
    const auto offer = [&](uint32_t state, uint32_t offered) {
        uint32_t& held = value(grammar_.states_[state]);
        if (offered >= held) return;
        held = offered;
        queue.emplace(offered, state);
    };
    for (uint32_t at = 0; at + 1 < grammar_.states_.size(); ++at)
        if (grammar_.states_[at].ends_rule) offer(at, 0);
    while (!queue.empty()) {
        const uint32_t at = queue.top().second;
        queue.pop();
        if (settled[at]) continue;
        settled[at] = true;
        settle(at, offer);
    }
}

void GrammarBuild::find_distances() {
    const auto value = [](Grammar::State& state) -> uint32_t& { return state.distance; };
    settle_all(value, [this](uint32_t at, const auto& offer) {
        const auto distance = [this](uint32_t state) { return grammar_.states_[state].distance; };
        for (const TokenStep& step :
             with_key(steps_, at, [](const TokenStep& s) { return s.target; }))
            offer(step.from, plus(1, distance(at)));
        for (const Caller& caller :
             with_key(callers_by_target_, at, [](const Caller& c) { return c.call.target; }))
            offer(caller.from, plus(distance(caller.call.start), distance(at)));
        for (const Caller& caller :
             with_key(callers_by_start_, at, [](const Caller& c) { return c.call.start; }))
            offer(caller.from, plus(distance(at), distance(caller.call.target)));
    });
}

void GrammarBuild::find_heights() {
    const auto value = [](Grammar::State& state) -> uint32_t& { return state.height; };
    settle_all(value, [this](uint32_t at, const auto& offer) {
        const auto of_call = [this](const Call& call) {
            const uint32_t own = grammar_.states_[call.target].only_ends ? 0 : 1;
            return std::max(plus(grammar_.states_[call.start].height, own),
                            grammar_.states_[call.target].height);
        };
        for (const TokenStep& step :
             with_key(steps_, at, [](const TokenStep& s) { return s.target; }))
            offer(step.from, grammar_.states_[at].height);
        for (const Caller& caller :
             with_key(callers_by_target_, at, [](const Caller& c) { return c.call.target; }))
            offer(caller.from, of_call(caller.call));
        for (const Caller& caller :
             with_key(callers_by_start_, at, [](const Caller& c) { return c.call.start; }))
            offer(caller.from, of_call(caller.call));
    });
}

void GrammarBuild::remove_dead_ends() {
    const auto is_dead = [this](uint32_t state) {
        return grammar_.states_[state].distance == Grammar::kNever;
    };
    std::vector<Edge> edges;
    std::vector<Call> calls;
    for (uint32_t at = 0; at + 1 < grammar_.states_.size(); ++at) {
        const auto edges_begin = static_cast<uint32_t>(edges.size());
        const auto calls_begin = static_cast<uint32_t>(calls.size());
        for (const Edge& edge : grammar_.edges(at))
            if (!is_dead(edge.target)) edges.push_back(edge);
        for (const Call& call : grammar_.calls(at))
            if (!is_dead(call.target) && !is_dead(call.start)) calls.push_back(call);
        // What comes before `at` is not read again.
        grammar_.states_[at].edges_begin = edges_begin;
        grammar_.states_[at].calls_begin = calls_begin;
        grammar_.states_[at].only_ends = grammar_.states_[at].ends_rule &&
                                         edges_begin == edges.size() && calls_begin == calls.size();
    }
    grammar_.states_.back().edges_begin = static_cast<uint32_t>(edges.size());
    grammar_.states_.back().calls_begin = static_cast<uint32_t>(calls.size());
    grammar_.edges_ = std::move(edges);
    grammar_.calls_ = std::move(calls);
}

// A cycle of calls during which nothing is written would never end. States reached before the
// first letter: through calls of rules that may be empty.
bool GrammarBuild::calls_itself_first() const {
    enum : uint8_t { kNew, kOpen, kDone };
    const auto num_states = static_cast<uint32_t>(grammar_.states_.size() - 1);
    // distance 0: the rule may end without a letter from here.
    const auto may_be_empty = [this](uint32_t start) {
        return grammar_.states_[start].distance == 0;
    };
    std::vector<uint8_t> mark(num_states, kNew);
    struct Visit {
        uint32_t state;
        size_t next;  // 2 * call + (0: the called rule, 1: after it)
    };
    std::vector<Visit> visits;
    for (uint32_t root = 0; root < num_states; ++root) {
        if (mark[root] != kNew) continue;
        visits.push_back({root, 0});
        mark[root] = kOpen;
        while (!visits.empty()) {
            Visit& visit = visits.back();
            const std::span<const Call> calls = grammar_.calls(visit.state);
            if (visit.next == 2 * calls.size()) {
                mark[visit.state] = kDone;
                visits.pop_back();
                continue;
            }
            const Call& call = calls[visit.next / 2];
            const bool is_after = visit.next++ % 2 == 1;
            if (is_after && !may_be_empty(call.start)) continue;
            const uint32_t to = is_after ? call.target : call.start;
            if (mark[to] == kOpen) return true;
            if (mark[to] == kDone) continue;
            mark[to] = kOpen;
            visits.push_back({to, 0});
        }
    }
    return false;
}

Result<Grammar> GrammarBuild::run(uint32_t start_rule) {
    lay_out();
    find_reverse_edges();
    find_distances();
    remove_dead_ends();
    grammar_.start_ = rule_start_[start_rule];
    if (grammar_.states_[grammar_.start_].distance == Grammar::kNever)
        return make_error(ErrorCode::kInvalidArgument, "no text can satisfy it");
    if (calls_itself_first())
        return make_error(ErrorCode::kUnsupported, "a $ref leads to itself with nothing between");
    find_heights();
    if (grammar_.states_[grammar_.start_].height > kGrammarDepthMax)
        return make_error(ErrorCode::kUnsupported, "the shortest text nests deeper than {} levels",
                          kGrammarDepthMax);
    return std::move(grammar_);
}

Result<Grammar> Grammar::build(const RuleSet& rules, uint32_t start_rule,
                               const Vocabulary& vocabulary) {
    return GrammarBuild(rules, vocabulary).run(start_rule);
}

std::span<const Grammar::Edge> Grammar::edges(uint32_t state) const {
    return std::span(edges_).subspan(states_[state].edges_begin,
                                     states_[state + 1].edges_begin - states_[state].edges_begin);
}

std::span<const Grammar::Call> Grammar::calls(uint32_t state) const {
    return std::span(calls_).subspan(states_[state].calls_begin,
                                     states_[state + 1].calls_begin - states_[state].calls_begin);
}

}  // namespace baleen
