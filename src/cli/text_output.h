// The text of a completion while its tokens come: decoded, cut before the first stop string and,
// if wanted, written to stdout at once.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace baleen::cli {

class TextOutput {
  public:
    enum class Echo { kNone, kStdout };

    // The tokenizer must outlive this. Stop strings are not empty.
    TextOutput(const Tokenizer& tokenizer, std::vector<std::string> stops, Echo echo)
        : tokenizer_(tokenizer), decoder_(tokenizer), stops_(std::move(stops)), echo_(echo) {}

    // False when this token completes a stop string: the text has ended before it. An id that the
    // tokenizer lacks (a model's embedding may have spare rows) becomes U+FFFD. An error: stdout
    // takes no more.
    Result<bool> push(TokenId id);

    // No token follows. Releases what was held back; adds the line end that a terminal needs.
    Result<void> finish();

    const std::string& text() const { return text_; }

  private:
    bool cut_at_stop(size_t searched);
    size_t held_back() const;
    Result<void> write(size_t end);

    const Tokenizer& tokenizer_;
    StreamDecoder decoder_;
    std::vector<std::string> stops_;
    Echo echo_;
    std::string text_;
    size_t written_ = 0;  // bytes of text_ that are out
};

}  // namespace baleen::cli
