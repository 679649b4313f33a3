// How far an evaluation is. Called from the evaluation's thread; false stops it with kCancelled.
#pragma once

#include <cstddef>
#include <functional>
#include <string_view>

namespace baleen::agent {

struct EvalStep {
    enum class Unit { kTokens, kSteps };
    std::string_view task;  // "recall 4096: prefill"; another one begins another measure
    Unit unit = Unit::kSteps;
    size_t done = 0;
    size_t total = 0;
};

using EvalProgress = std::function<bool(const EvalStep&)>;

}  // namespace baleen::agent
