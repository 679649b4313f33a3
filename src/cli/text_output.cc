#include "cli/text_output.h"

#include <unistd.h>

#include <algorithm>

#include "cli/stdio.h"

namespace baleen::cli {

Result<bool> TextOutput::push(TokenId id) {
    const size_t before = text_.size();
    if (tokenizer_.contains(id))
        text_ += TRY(decoder_.push(id));
    else
        text_ += decoder_.finish() + "\uFFFD";
    if (cut_at_stop(before)) {
        decoder_.finish();  // bytes after the stop string are no part of the text
        TRY(write(text_.size()));
        return false;
    }
    TRY(write(text_.size() - held_back()));
    return true;
}

Result<void> TextOutput::finish() {
    const size_t before = text_.size();
    text_ += decoder_.finish();
    cut_at_stop(before);
    TRY(write(text_.size()));
    const bool in_line = !text_.empty() && text_.back() != '\n';
    if (echo_ == Echo::kStdout && in_line && ::isatty(STDOUT_FILENO) == 1)
        return write_stdout("\n");
    return {};
}

// Cuts the text before the earliest stop string that ends after `searched` bytes, if there is one.
bool TextOutput::cut_at_stop(size_t searched) {
    size_t cut = std::string::npos;
    for (const std::string& stop : stops_)
        cut = std::min(cut, text_.find(stop, searched - std::min(searched, stop.size() - 1)));
    if (cut == std::string::npos) return false;
    text_.resize(cut);
    return true;
}

// The longest end of the text that a stop string may begin with.
size_t TextOutput::held_back() const {
    size_t longest = 0;
    for (const std::string& stop : stops_)
        for (size_t n = std::min(stop.size() - 1, text_.size()); n > longest; --n)
            if (text_.ends_with(std::string_view(stop).substr(0, n))) longest = n;
    return longest;
}

Result<void> TextOutput::write(size_t end) {
    const std::string_view fresh = std::string_view(text_).substr(written_, end - written_);
    written_ = end;
    return echo_ == Echo::kStdout ? write_stdout(fresh) : Result<void>();
}

}  // namespace baleen::cli
