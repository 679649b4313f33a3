// The number of a token: the row of the embedding.
#pragma once

#include <cstdint>

namespace baleen {

using TokenId = int32_t;

}  // namespace baleen
