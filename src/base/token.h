// What passes between text and the model: a token of the vocabulary.
#pragma once

#include <cstdint>

namespace baleen {

using TokenId = int32_t;

}  // namespace baleen
