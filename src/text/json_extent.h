// Follows a text of JSON byte by byte, just closely enough to know whether the next byte is inside
// a value that has begun. Never fails: of text that is no JSON it makes some guess.
#pragma once

#include <cstddef>

namespace baleen {

class JsonExtent {
  public:
    void feed(char byte) {
        if (in_string_) {
            if (is_escaped_)
                is_escaped_ = false;
            else if (byte == '\\')
                is_escaped_ = true;
            else if (byte == '"')
                in_string_ = false;
        } else if (byte == '"') {
            in_string_ = true;
        } else if (byte == '{' || byte == '[') {
            ++depth_;
        } else if ((byte == '}' || byte == ']') && depth_ > 0) {
            --depth_;
        }
    }
    bool is_inside() const { return in_string_ || depth_ > 0; }

  private:
    size_t depth_ = 0;
    bool in_string_ = false;
    bool is_escaped_ = false;
};

}  // namespace baleen
