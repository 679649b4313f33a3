// Finite automata over letters: bytes, control symbols and calls of grammar rules. The language of
// texts that string schemas and grammar rules are made of. Plain values, no limits but states_max.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace baleen {

// 0 to 255: a byte. From kFirstSymbol: a control symbol (grammar.h). From kFirstCall: the call of
// rule letter - kFirstCall.
using Letter = uint32_t;
inline constexpr Letter kFirstSymbol = 256;
inline constexpr Letter kFirstCall = 1u << 16;
inline constexpr Letter kLastByte = 255;

struct Automaton {
    struct Edge {
        Letter first, last;  // inclusive
        uint32_t target;
    };
    struct State {
        std::vector<Edge> edges;
        std::vector<uint32_t> epsilons;  // none in a deterministic automaton
        bool accepting = false;
    };
    std::vector<State> states = std::vector<State>(1);  // state 0 is the start

    uint32_t add_state();
    void add_edge(uint32_t from, Letter first, Letter last, uint32_t to);
    void add_epsilon(uint32_t from, uint32_t to);
    // These return the state they lead to, a new one.
    uint32_t add_letter(uint32_t from, Letter letter);
    uint32_t add_text(uint32_t from, std::string_view text);
    uint32_t add_call(uint32_t from, uint32_t rule) { return add_letter(from, kFirstCall + rule); }
    // A copy of part; its accepting states lead to the returned one.
    uint32_t embed(uint32_t from, const Automaton& part);
    void accept(uint32_t state) { states[state].accepting = true; }

    // False when no text at all is accepted. (Calls count as passable.)
    bool accepts_anything() const;
    // Whether it is any_bytes(), in just that form.
    bool is_any_bytes() const;
    // REQUIRES: deterministic.
    bool accepts(std::string_view text) const;
};

// Most states of one automaton while a schema is compiled, and most states that those of a
// deterministic one may stand for, together.
inline constexpr size_t kAutomatonStatesMax = 60'000;
inline constexpr size_t kSubsetStatesMax = 3'000'000;

// Without epsilons, at most one edge per letter, every state on a path to acceptance (one lone
// state if nothing is accepted). kExhausted beyond the limits above.
Result<Automaton> determinised(const Automaton& automaton);

// Texts that both accept. REQUIRES: both deterministic. Letters that are no bytes are no part.
Result<Automaton> intersection(const Automaton& a, const Automaton& b);

// Byte strings that it does not accept. REQUIRES: deterministic, bytes only.
Automaton complement(const Automaton& automaton);

// All byte strings; well-formed UTF-8; exactly these texts; none of these texts anywhere inside.
Automaton any_bytes();
Automaton utf8_text();
Automaton one_of(std::span<const std::string> texts);
Automaton without_texts(std::span<const std::string_view> texts);

inline constexpr size_t kNoLengthMax = std::numeric_limits<size_t>::max();
// Counts the characters of well-formed UTF-8.
Automaton length_between(size_t min, size_t max);

}  // namespace baleen
