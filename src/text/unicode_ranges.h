// Which code points are letters, marks, numbers, punctuation, symbols and white space, as the
// reference (tokenizers 0.23.2, Unicode 16.0) sees them. Generated: tools/make_unicode_classes.py.
// NOTE: PCRE2 10.42 knows Unicode 14.0 and differs on some 10,300 code points, hence this table.
#pragma once

#include <span>

namespace baleen {

struct UnicodeRange {
    char32_t first;
    char32_t last;
    char kind;  // general category L, M, N, P or S; W = \s
};

// Sorted, without overlap. Code points in no range are control, format, private or unassigned.
std::span<const UnicodeRange> unicode_ranges();

}  // namespace baleen
