// Text of sampled tokens without any protocol: decoded, and cut before the first stop string. One
// object per completion, one thread at a time.
#pragma once

#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace baleen {

class RawText {
  public:
    // The tokenizer must outlive this. Stop strings are not empty.
    RawText(const Tokenizer& tokenizer, std::vector<std::string> stops)
        : tokenizer_(tokenizer), decoder_(tokenizer), stops_(std::move(stops)) {}

    // False when this token completes a stop string: the text has ended before it. An id that the
    // tokenizer lacks (a model's embedding may have spare rows) becomes U+FFFD.
    bool push(TokenId id);

    // No token follows: an incomplete character becomes U+FFFD.
    void finish();

    const std::string& text() const { return text_; }
    // How much of text() no later token can take back: whole characters, and no beginning of a
    // stop string. All of it after a stop or finish().
    size_t certain() const { return certain_; }
    const std::string& stop() const { return stop_; }  // the one that was found; empty: none

  private:
    bool cut_at_stop(size_t searched);
    size_t held_back() const;

    const Tokenizer& tokenizer_;
    StreamDecoder decoder_;
    std::vector<std::string> stops_;
    std::string text_;
    std::string stop_;
    size_t certain_ = 0;
};

}  // namespace baleen
