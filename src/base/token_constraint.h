// TokenConstraint: what may be sampled next, token by token. The engine asks, text and tests answer
// (grammars in text/, scripts in serve/): neither side knows the other.
//
// One object per generated sequence, used from the engine thread only.
#pragma once

#include <cstdint>
#include <span>

#include "base/token.h"

namespace baleen {

class TokenConstraint {
  public:
    virtual ~TokenConstraint() = default;

    enum class Restriction : uint8_t {
        kNone,     // every token may come; the mask was not touched
        kMasked,   // the mask holds what may come: at least one bit is set
        kFinished  // nothing may come: the text is complete and ends here
    };

    // Clears the bits of tokens that may not come next. allowed: [ceil(vocab_size / 64)], bit
    // id % 64 of word id / 64, all ones on entry. remaining: how many tokens may still be sampled,
    // the next one included; a grammar uses it to finish in time.
    virtual Restriction restrict_next(std::span<uint64_t> allowed, int64_t remaining) = 0;

    // token was sampled, stop tokens included. REQUIRES: it was allowed.
    virtual void accept(TokenId token) = 0;
};

}  // namespace baleen
