// The picture of `baleen cost --svg`: FLOPs of one token, and KV cache of one sequence, against
// context, as in the report's Figure 1 (right). Pure: text in, text out.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "model/cost.h"

namespace baleen::cli {

// One thing compared: a row of the table, a curve of each panel.
struct CostSubject {
    std::string key;    // in JSON and CSV: "v4-flash"
    std::string title;  // in the picture: "V4-Flash"
    int64_t num_layers = 0;
    std::function<CostBreakdown(int64_t context)> decode;  // empty: only the cache is compared
    std::function<int64_t(int64_t context)> kv_bytes;
};

// A complete SVG document for contexts 0 to context_max. Ratios are to `baseline`, which is one of
// the subjects, at context_max. The KV scale is that of the subjects that have FLOPs; another's
// curve may leave the panel, and then says so.
std::string cost_svg(std::span<const CostSubject> subjects, const CostSubject& baseline,
                     int64_t context_max);

}  // namespace baleen::cli
