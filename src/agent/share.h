// How many of several trials succeeded, and how sure that makes one of the true rate. Plain values.
#pragma once

#include <cstddef>

namespace baleen::agent {

struct Interval {
    double low = 0;
    double high = 1;
};

struct Share {
    size_t hits = 0;
    size_t trials = 0;

    void add(bool hit) {
        hits += hit ? 1 : 0;
        ++trials;
    }
    void add(const Share& other) {
        hits += other.hits;
        trials += other.trials;
    }
    // 0 without trials.
    double value() const {
        return trials == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(trials);
    }
    // Wilson's score interval at 95 %: sensible at 0 and 100 % too. 0 to 1 without trials.
    Interval interval() const;
};

}  // namespace baleen::agent
