// Recognises one literal in a stream of bytes, each byte looked at once, and says how much of the
// stream's tail may still turn out to belong to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace baleen {

// A pattern with newlines or a control token must not repeat its first byte.
struct MarkerPattern {
    std::string literal;          // not empty
    bool takes_newlines = false;  // newlines directly before the literal belong to it
    // Bytes [control_begin, control_end) must come from a control token (0, 0: no demand).
    size_t control_begin = 0;
    size_t control_end = 0;
};

class MarkerMatcher {
  public:
    explicit MarkerMatcher(MarkerPattern pattern);

    void reset();
    // newline_run: how many newlines stand directly before this byte. True when the literal is
    // complete with it.
    bool feed(char byte, bool is_control, size_t newline_run);
    // How many bytes at the end of what was fed may belong to the literal, or do when complete.
    // newline_run: how many newlines that end consists of.
    size_t held(size_t newline_run) const;
    size_t literal_size() const { return pattern_.literal.size(); }

  private:
    bool fits(char byte, bool is_control) const;

    MarkerPattern pattern_;
    std::vector<uint32_t> fallback_;  // per matched length: the longest shorter match
    size_t matched_ = 0;
    size_t newlines_ = 0;  // taken before the matched part
};

}  // namespace baleen
