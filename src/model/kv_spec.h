// From Config to what the KV allocator lays out (kv/layout.h).
#pragma once

#include "kv/layout.h"
#include "model/config.h"

namespace baleen {

// All main layers and MTP stages. Index keys have dim 0 where no layer is CSA.
inline KvSpec kv_spec(const Config& config, KvEncoding encoding) {
    return {.compress_ratios = config.compress_ratios,
            .sliding_window = config.sliding_window,
            .row = {.encoding = encoding,
                    .nope_dim = static_cast<size_t>(config.nope_head_dim()),
                    .rope_dim = static_cast<size_t>(config.qk_rope_head_dim)},
            .index_key = {.encoding = encoding, .dim = static_cast<size_t>(config.index_head_dim)}};
}

}  // namespace baleen
