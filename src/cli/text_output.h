// The text of a completion while its tokens come, written to stdout at once if wanted.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "text/raw_text.h"

namespace baleen::cli {

class TextOutput {
  public:
    enum class Echo { kNone, kStdout };

    // The tokenizer must outlive this. Stop strings are not empty.
    TextOutput(const Tokenizer& tokenizer, std::vector<std::string> stops, Echo echo)
        : raw_(tokenizer, std::move(stops)), echo_(echo) {}

    // False when this token completes a stop string. An error: stdout takes no more.
    Result<bool> push(TokenId id);

    // No token follows. Releases what was held back; adds the line end that a terminal needs.
    Result<void> finish();

    const std::string& text() const { return raw_.text(); }

  private:
    Result<void> write_certain();

    RawText raw_;
    Echo echo_;
    size_t written_ = 0;  // bytes of the text that are out
};

}  // namespace baleen::cli
