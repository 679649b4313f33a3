// Path patterns. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace baleen::sandbox::image {

// A pattern over paths from the root: "*" and "?" stay inside one part, "[a-z]" and "[!x]" are one
// character, a part "**" is any number of parts, at the end one or more. "/" in front changes
// nothing. Time is bounded by the product of both lengths.
class Glob {
  public:
    static Result<Glob> parse(std::string_view pattern);
    bool matches(std::string_view path) const;
    const std::string& text() const { return text_; }

  private:
    std::string text_;
    std::vector<std::string> parts_;
};

}  // namespace baleen::sandbox::image
