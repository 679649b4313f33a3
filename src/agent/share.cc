#include "agent/share.h"

#include <algorithm>
#include <cmath>

namespace baleen::agent {

Interval Share::interval() const {
    if (trials == 0) return {};
    constexpr double kZ = 1.959963984540054;  // of a normal distribution, 2.5 % on either side
    const auto n = static_cast<double>(trials);
    const double spread = kZ * std::sqrt(value() * (1 - value()) / n + kZ * kZ / (4 * n * n));
    const double scale = 1 + kZ * kZ / n;
    const double middle = value() + kZ * kZ / (2 * n);
    // At 0 and 100 % one end is exact; rounding must not move it.
    return {.low = hits == 0 ? 0 : std::max(0.0, (middle - spread) / scale),
            .high = hits == trials ? 1 : std::min(1.0, (middle + spread) / scale)};
}

}  // namespace baleen::agent
