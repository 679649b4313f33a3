#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/compress.h"

namespace baleen {

void compress_window(Impl impl, std::span<const float* const> kv,
                     std::span<const float* const> gate, std::span<float> entry) {
    CHECK_EQ(kv.size(), gate.size());
    CHECK(!kv.empty());
    if (impl != Impl::kRef) return compress_window_simd(kv, gate, entry);
    for (size_t i = 0; i < entry.size(); ++i) {
        float max = gate[0][i];
        for (const float* g : gate) max = std::max(max, g[i]);
        float sum = 0;
        float pooled = 0;
        for (size_t j = 0; j < kv.size(); ++j) {
            const float p = std::exp(gate[j][i] - max);
            sum += p;
            pooled += p * kv[j][i];
        }
        entry[i] = pooled / sum;
    }
}

}  // namespace baleen
