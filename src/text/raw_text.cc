#include "text/raw_text.h"

#include <algorithm>

namespace baleen {

bool RawText::push(TokenId id) {
    const size_t before = text_.size();
    if (tokenizer_.contains(id))
        text_ += decoder_.push(id).value();
    else
        text_ += decoder_.finish() + "\uFFFD";
    if (cut_at_stop(before)) {
        decoder_.finish();  // bytes after the stop string are no part of the text
        certain_ = text_.size();
        return false;
    }
    certain_ = text_.size() - held_back();
    return true;
}

void RawText::finish() {
    const size_t before = text_.size();
    text_ += decoder_.finish();
    cut_at_stop(before);
    certain_ = text_.size();
}

// Cuts the text before the earliest stop string that ends after `searched` bytes, if there is one.
bool RawText::cut_at_stop(size_t searched) {
    size_t cut = std::string::npos;
    for (const std::string& stop : stops_) {
        const size_t at = text_.find(stop, searched - std::min(searched, stop.size() - 1));
        if (at >= cut) continue;
        cut = at;
        stop_ = stop;
    }
    if (cut == std::string::npos) return false;
    text_.resize(cut);
    return true;
}

// The longest end of the text that a stop string may begin with.
size_t RawText::held_back() const {
    size_t longest = 0;
    for (const std::string& stop : stops_)
        for (size_t n = std::min(stop.size() - 1, text_.size()); n > longest; --n)
            if (text_.ends_with(std::string_view(stop).substr(0, n))) longest = n;
    return longest;
}

}  // namespace baleen
