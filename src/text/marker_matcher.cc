#include "text/marker_matcher.h"

#include <utility>

#include "base/check.h"

namespace baleen {
namespace {

// Knuth, Morris, Pratt: fallback[n] is the longest proper prefix of the first n bytes that is also
// their suffix.
std::vector<uint32_t> make_fallback(const std::string& literal) {
    std::vector<uint32_t> fallback(literal.size() + 1, 0);
    uint32_t length = 0;
    for (size_t i = 1; i < literal.size(); ++i) {
        while (length > 0 && literal[i] != literal[length]) length = fallback[length];
        if (literal[i] == literal[length]) ++length;
        fallback[i + 1] = length;
    }
    return fallback;
}

}  // namespace

MarkerMatcher::MarkerMatcher(MarkerPattern pattern)
    : pattern_(std::move(pattern)), fallback_(make_fallback(pattern_.literal)) {
    CHECK(!pattern_.literal.empty());
    // Else a fallback would have to keep the newlines, or the origin of bytes, of a later start.
    const bool is_plain = pattern_.control_end == 0 && !pattern_.takes_newlines;
    CHECK(is_plain || pattern_.literal.find(pattern_.literal[0], 1) == std::string::npos);
}

void MarkerMatcher::reset() {
    matched_ = 0;
    newlines_ = 0;
}

bool MarkerMatcher::fits(char byte, bool is_control) const {
    const bool demanded = matched_ >= pattern_.control_begin && matched_ < pattern_.control_end;
    return byte == pattern_.literal[matched_] && (is_control || !demanded);
}

bool MarkerMatcher::feed(char byte, bool is_control, size_t newline_run) {
    if (matched_ == pattern_.literal.size()) matched_ = fallback_[matched_];
    while (matched_ > 0 && !fits(byte, is_control)) matched_ = fallback_[matched_];
    if (!fits(byte, is_control)) return false;
    if (matched_ == 0 && pattern_.takes_newlines) newlines_ = newline_run;
    ++matched_;
    return matched_ == pattern_.literal.size();
}

size_t MarkerMatcher::held(size_t newline_run) const {
    if (!pattern_.takes_newlines) return matched_;
    return matched_ > 0 ? newlines_ + matched_ : newline_run;
}

}  // namespace baleen
