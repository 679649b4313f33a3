// Keeps a call from naming a parameter twice: for names that no schema lists, which a grammar
// cannot count. One object per sequence, one thread.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "text/chat.h"
#include "text/vocabulary.h"

namespace baleen {

class RepeatedNames {
  public:
    // The vocabulary must outlive this.
    RepeatedNames(const Vocabulary& vocabulary, Dialect dialect);

    // Clears the bits of tokens that would complete a name which this call has had. At least one
    // other way on stays open: a longer name, one token more.
    void mask(std::span<uint64_t> allowed) const;
    // REQUIRES: the text keeps to the grammar of calls, or no control token has come yet.
    void accept(TokenId token);

  private:
    void clear_tokens_from(std::string_view text, std::span<uint64_t> allowed) const;

    const Vocabulary& vocabulary_;
    std::string invoke_, parameter_;  // how these tags go on after the control token
    bool in_tag_ = false;
    std::string tag_;  // since the control token
    std::set<std::string> names_;
};

}  // namespace baleen
