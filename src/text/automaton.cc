#include "text/automaton.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/check.h"

namespace baleen {
namespace {

using Edge = Automaton::Edge;

// Puts the edges in order and joins neighbours with the same target. REQUIRES: disjoint.
void tidy(std::vector<Edge>& edges) {
    std::sort(edges.begin(), edges.end(),
              [](const Edge& a, const Edge& b) { return a.first < b.first; });
    size_t kept = 0;
    for (const Edge& edge : edges) {
        const bool joins = kept > 0 && edges[kept - 1].target == edge.target &&
                           edges[kept - 1].last + 1 == edge.first && edge.first < kFirstSymbol;
        if (joins)
            edges[kept - 1].last = edge.last;
        else
            edges[kept++] = edge;
    }
    edges.resize(kept);
}

// Which states lie on a path to acceptance.
std::vector<bool> useful_states(const Automaton& automaton) {
    std::vector<std::vector<uint32_t>> sources(automaton.states.size());
    std::vector<uint32_t> pending;
    std::vector<bool> useful(automaton.states.size(), false);
    for (uint32_t at = 0; at < automaton.states.size(); ++at) {
        for (const Edge& edge : automaton.states[at].edges) sources[edge.target].push_back(at);
        for (const uint32_t to : automaton.states[at].epsilons) sources[to].push_back(at);
        if (!automaton.states[at].accepting) continue;
        useful[at] = true;
        pending.push_back(at);
    }
    while (!pending.empty()) {
        const uint32_t at = pending.back();
        pending.pop_back();
        for (const uint32_t from : sources[at]) {
            if (useful[from]) continue;
            useful[from] = true;
            pending.push_back(from);
        }
    }
    return useful;
}

Automaton trimmed(const Automaton& automaton) {
    const std::vector<bool> useful = useful_states(automaton);
    Automaton result;
    if (!useful[0]) return result;
    std::vector<uint32_t> renamed(automaton.states.size(), 0);
    uint32_t count = 0;
    for (uint32_t at = 0; at < useful.size(); ++at)
        if (useful[at]) renamed[at] = count++;
    result.states.resize(count);
    for (uint32_t at = 0; at < useful.size(); ++at) {
        if (!useful[at]) continue;
        Automaton::State& state = result.states[renamed[at]];
        state.accepting = automaton.states[at].accepting;
        for (const Edge& edge : automaton.states[at].edges)
            if (useful[edge.target])
                state.edges.push_back({edge.first, edge.last, renamed[edge.target]});
        tidy(state.edges);
    }
    return result;
}

class SubsetConstruction {
  public:
    explicit SubsetConstruction(const Automaton& source)
        : source_(source), seen_(source.states.size(), 0) {}

    Result<Automaton> run() {
        id_of(closure({0}));
        for (uint32_t at = 0; at < subsets_.size(); ++at) {
            expand(at);
            if (subsets_.size() > kAutomatonStatesMax || subset_states_ > kSubsetStatesMax)
                return make_error(ErrorCode::kExhausted, "needs more than {} automaton states",
                                  kAutomatonStatesMax);
        }
        return trimmed(result_);
    }

  private:
    using Subset = std::vector<uint32_t>;

    Subset closure(const Subset& kernel) {
        ++stamp_;
        Subset all;
        const auto add = [&](uint32_t state) {
            if (seen_[state] == stamp_) return;
            seen_[state] = stamp_;
            all.push_back(state);
        };
        for (const uint32_t state : kernel) add(state);
        for (size_t i = 0; i < all.size(); ++i)
            for (const uint32_t to : source_.states[all[i]].epsilons) add(to);
        // States that only pass on are no part of what makes subsets differ.
        std::erase_if(all, [&](uint32_t state) {
            return source_.states[state].edges.empty() && !source_.states[state].accepting;
        });
        std::sort(all.begin(), all.end());
        return all;
    }

    uint32_t id_of(Subset subset) {
        const auto [it, is_new] = ids_.try_emplace(std::move(subset), subsets_.size());
        if (is_new) {
            subsets_.push_back(&it->first);
            subset_states_ += it->first.size();
            if (subsets_.size() > result_.states.size()) result_.add_state();
        }
        return it->second;
    }

    void expand(uint32_t at) {
        std::vector<Edge> edges;
        for (const uint32_t state : *subsets_[at]) {
            const Automaton::State& from = source_.states[state];
            edges.insert(edges.end(), from.edges.begin(), from.edges.end());
            if (from.accepting) result_.states[at].accepting = true;
        }
        std::vector<Letter> cuts;
        for (const Edge& edge : edges) {
            cuts.push_back(edge.first);
            cuts.push_back(edge.last + 1);
        }
        std::sort(cuts.begin(), cuts.end());
        cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
        std::sort(edges.begin(), edges.end(),
                  [](const Edge& a, const Edge& b) { return a.first < b.first; });
        std::vector<Edge> active;
        size_t next = 0;
        for (const Letter cut : cuts) {
            std::erase_if(active, [cut](const Edge& edge) { return edge.last < cut; });
            for (; next < edges.size() && edges[next].first == cut; ++next)
                active.push_back(edges[next]);
            if (active.empty()) continue;
            const Letter last = *std::upper_bound(cuts.begin(), cuts.end(), cut) - 1;
            Subset targets;
            for (const Edge& edge : active) targets.push_back(edge.target);
            const uint32_t target = id_of(closure(targets));
            result_.states[at].edges.push_back({cut, last, target});
        }
        tidy(result_.states[at].edges);
    }

    const Automaton& source_;
    std::vector<uint32_t> seen_;
    uint32_t stamp_ = 0;
    std::map<Subset, uint32_t> ids_;
    std::vector<const Subset*> subsets_;  // keys of ids_
    size_t subset_states_ = 0;
    Automaton result_;
};

}  // namespace

uint32_t Automaton::add_state() {
    states.emplace_back();
    return static_cast<uint32_t>(states.size() - 1);
}

void Automaton::add_edge(uint32_t from, Letter first, Letter last, uint32_t to) {
    DCHECK(first <= last && to < states.size());
    states[from].edges.push_back({first, last, to});
}

void Automaton::add_epsilon(uint32_t from, uint32_t to) {
    states[from].epsilons.push_back(to);
}

uint32_t Automaton::add_letter(uint32_t from, Letter letter) {
    const uint32_t to = add_state();
    add_edge(from, letter, letter, to);
    return to;
}

uint32_t Automaton::add_text(uint32_t from, std::string_view text) {
    for (const char c : text) from = add_letter(from, static_cast<uint8_t>(c));
    return from;
}

uint32_t Automaton::embed(uint32_t from, const Automaton& part) {
    const auto base = static_cast<uint32_t>(states.size());
    states.resize(base + part.states.size());
    const uint32_t to = add_state();
    for (uint32_t at = 0; at < part.states.size(); ++at) {
        State& state = states[base + at];
        for (const Edge& edge : part.states[at].edges)
            state.edges.push_back({edge.first, edge.last, base + edge.target});
        for (const uint32_t target : part.states[at].epsilons)
            state.epsilons.push_back(base + target);
        if (part.states[at].accepting) state.epsilons.push_back(to);
    }
    add_epsilon(from, base);
    return to;
}

bool Automaton::accepts_anything() const {
    return useful_states(*this)[0];
}

bool Automaton::is_any_bytes() const {
    return states.size() == 1 && states[0].accepting && states[0].edges.size() == 1 &&
           states[0].edges[0].first == 0 && states[0].edges[0].last == kLastByte;
}

bool Automaton::accepts(std::string_view text) const {
    uint32_t at = 0;
    for (const char c : text) {
        const Letter letter = static_cast<uint8_t>(c);
        const auto& edges = states[at].edges;
        const auto edge = std::find_if(edges.begin(), edges.end(), [letter](const Edge& e) {
            return e.first <= letter && letter <= e.last;
        });
        if (edge == edges.end()) return false;
        at = edge->target;
    }
    return states[at].accepting;
}

Result<Automaton> determinised(const Automaton& automaton) {
    return SubsetConstruction(automaton).run();
}

Result<Automaton> intersection(const Automaton& a, const Automaton& b) {
    Automaton result;
    std::vector<std::pair<uint32_t, uint32_t>> pairs;
    std::map<std::pair<uint32_t, uint32_t>, uint32_t> ids;
    const auto id_of = [&](uint32_t of_a, uint32_t of_b) {
        const auto [it, is_new] =
            ids.try_emplace({of_a, of_b}, static_cast<uint32_t>(pairs.size()));
        if (is_new) {
            pairs.emplace_back(of_a, of_b);
            if (pairs.size() > result.states.size()) result.add_state();
        }
        return it->second;
    };
    id_of(0, 0);
    for (uint32_t at = 0; at < pairs.size(); ++at) {
        const auto [of_a, of_b] = pairs[at];
        result.states[at].accepting = a.states[of_a].accepting && b.states[of_b].accepting;
        for (const Edge& edge_a : a.states[of_a].edges)
            for (const Edge& edge_b : b.states[of_b].edges) {
                const Letter first = std::max(edge_a.first, edge_b.first);
                const Letter last = std::min({edge_a.last, edge_b.last, kLastByte});
                if (first > last) continue;
                const uint32_t target = id_of(edge_a.target, edge_b.target);
                result.states[at].edges.push_back({first, last, target});
            }
        if (pairs.size() > kAutomatonStatesMax)
            return make_error(ErrorCode::kExhausted, "needs more than {} automaton states",
                              kAutomatonStatesMax);
    }
    return trimmed(result);
}

Automaton complement(const Automaton& automaton) {
    Automaton result = automaton;
    const uint32_t rest = result.add_state();
    for (Automaton::State& state : result.states) {
        tidy(state.edges);
        std::vector<Edge> gaps;
        Letter next = 0;
        for (const Edge& edge : state.edges) {
            if (edge.first > next) gaps.push_back({next, edge.first - 1, rest});
            next = edge.last + 1;
        }
        if (next <= kLastByte) gaps.push_back({next, kLastByte, rest});
        state.edges.insert(state.edges.end(), gaps.begin(), gaps.end());
        state.accepting = !state.accepting;
    }
    return trimmed(result);
}

Automaton any_bytes() {
    Automaton result;
    result.accept(0);
    result.add_edge(0, 0, kLastByte, 0);
    return result;
}

Automaton utf8_text() {
    Automaton result;
    result.accept(0);
    const uint32_t one = result.add_state();  // continuation bytes still to come
    const uint32_t two = result.add_state();
    const uint32_t three = result.add_state();
    const uint32_t after_e0 = result.add_state();  // no overlong form
    const uint32_t after_ed = result.add_state();  // no surrogate
    const uint32_t after_f0 = result.add_state();  // no overlong form
    const uint32_t after_f4 = result.add_state();  // at most U+10FFFF
    const auto add = [&result](uint32_t from, Letter first, Letter last, uint32_t to) {
        result.add_edge(from, first, last, to);
    };
    add(0, 0x00, 0x7F, 0);
    add(0, 0xC2, 0xDF, one);
    add(0, 0xE0, 0xE0, after_e0);
    add(0, 0xE1, 0xEC, two);
    add(0, 0xED, 0xED, after_ed);
    add(0, 0xEE, 0xEF, two);
    add(0, 0xF0, 0xF0, after_f0);
    add(0, 0xF1, 0xF3, three);
    add(0, 0xF4, 0xF4, after_f4);
    add(one, 0x80, 0xBF, 0);
    add(two, 0x80, 0xBF, one);
    add(three, 0x80, 0xBF, two);
    add(after_e0, 0xA0, 0xBF, one);
    add(after_ed, 0x80, 0x9F, one);
    add(after_f0, 0x90, 0xBF, two);
    add(after_f4, 0x80, 0x8F, two);
    return result;
}

Automaton one_of(std::span<const std::string> texts) {
    Automaton result;
    for (const std::string& text : texts) {
        uint32_t at = 0;
        for (const char c : text) {
            const Letter letter = static_cast<uint8_t>(c);
            const auto& edges = result.states[at].edges;
            const auto edge = std::find_if(edges.begin(), edges.end(),
                                           [letter](const Edge& e) { return e.first == letter; });
            at = edge == edges.end() ? result.add_letter(at, letter) : edge->target;
        }
        result.accept(at);
    }
    for (Automaton::State& state : result.states) tidy(state.edges);
    return result;
}

// Aho and Corasick's automaton of the texts, without the states in which one has been seen.
Automaton without_texts(std::span<const std::string_view> texts) {
    struct Node {
        std::array<uint32_t, 256> next{};
        uint32_t fallback = 0;
        bool forbidden = false;
    };
    std::vector<Node> nodes(1);
    for (const std::string_view text : texts) {
        uint32_t at = 0;
        for (const char c : text) {
            const auto byte = static_cast<uint8_t>(c);
            if (nodes[at].next[byte] == 0) {
                nodes[at].next[byte] = static_cast<uint32_t>(nodes.size());
                nodes.emplace_back();
            }
            at = nodes[at].next[byte];
        }
        nodes[at].forbidden = true;
    }
    std::vector<uint32_t> order = {0};  // breadth first: a fallback is shorter, so done before
    for (size_t i = 0; i < order.size(); ++i) {
        const uint32_t at = order[i];
        nodes[at].forbidden |= nodes[nodes[at].fallback].forbidden;
        for (size_t byte = 0; byte < 256; ++byte) {
            uint32_t& child = nodes[at].next[byte];
            const uint32_t other = at == 0 ? 0 : nodes[nodes[at].fallback].next[byte];
            if (child == 0) {
                child = other;
            } else {
                nodes[child].fallback = other;
                order.push_back(child);
            }
        }
    }
    Automaton result;
    result.states.resize(nodes.size());
    for (uint32_t at = 0; at < nodes.size(); ++at) {
        if (nodes[at].forbidden) continue;
        result.accept(at);
        for (Letter byte = 0; byte < 256; ++byte)
            if (const uint32_t to = nodes[at].next[byte]; !nodes[to].forbidden)
                result.add_edge(at, byte, byte, to);
    }
    return trimmed(result);
}

Automaton length_between(size_t min, size_t max) {
    Automaton result;
    const size_t num_counts = (max == kNoLengthMax ? min : max) + 1;
    result.states.resize(num_counts);
    for (uint32_t count = 0; count < num_counts; ++count) {
        if (count >= min) result.accept(count);
        result.add_edge(count, 0x80, 0xBF, count);
        const bool is_last = count + 1 == num_counts;
        if (is_last && max != kNoLengthMax) continue;
        const uint32_t next = is_last ? count : count + 1;
        result.add_edge(count, 0x00, 0x7F, next);
        result.add_edge(count, 0xC0, 0xFF, next);
    }
    for (Automaton::State& state : result.states) tidy(state.edges);
    return result;
}

}  // namespace baleen
