// The picture of `baleen eval recall --svg`: recall against length, with its 95 % interval, and
// against length and depth. Pure: values in, text out.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "agent/recall.h"

namespace baleen::cli {

// A complete SVG document. caption: what was measured, in a line. REQUIRES: at least one row, by
// ascending length.
std::string recall_svg(std::span<const agent::RecallRow> rows, std::string_view caption);

}  // namespace baleen::cli
