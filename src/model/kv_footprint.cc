#include "model/kv_footprint.h"

#include "base/check.h"

namespace baleen {

KvFootprint kv_footprint(const Config& config, int64_t context_tokens) {
    CHECK_GE(context_tokens, 0);
    const auto nope = static_cast<uint64_t>(config.nope_head_dim());
    const auto rope = static_cast<uint64_t>(config.qk_rope_head_dim);
    const auto head_dim = static_cast<uint64_t>(config.head_dim);
    const auto index_dim = static_cast<uint64_t>(config.index_head_dim);
    const auto tokens = static_cast<uint64_t>(context_tokens);
    constexpr uint64_t kPairBytes = 8;  // f32 value and f32 gate

    KvFootprint f;
    f.row_bytes = (nope + 2 * rope + (nope + 63) / 64 + 7) / 8 * 8;
    f.index_key_bytes = index_dim / 2 + index_dim / 32;
    const auto window = static_cast<uint64_t>(config.sliding_window);
    for (size_t i = 0; i < config.compress_ratios.size(); ++i) {
        const auto ratio = static_cast<uint64_t>(config.compress_ratios[i]);
        f.window_bytes += window * f.row_bytes;
        if (ratio == 0) continue;
        f.entry_bytes += tokens / ratio * f.row_bytes;
        f.bytes_per_token += static_cast<double>(f.row_bytes) / static_cast<double>(ratio);
        if (ratio != 4) {
            f.compressor_state_bytes += ratio * head_dim * kPairBytes;
            continue;
        }
        // Spec 5.5: the previous block's lower lanes [4, c] and the current block [4, 2c], for the
        // main compressor and for the indexer's.
        f.compressor_state_bytes += (4 + 8) * (head_dim + index_dim) * kPairBytes;
        f.index_bytes += tokens / ratio * f.index_key_bytes;
        f.bytes_per_token += static_cast<double>(f.index_key_bytes) / static_cast<double>(ratio);
    }
    return f;
}

}  // namespace baleen
