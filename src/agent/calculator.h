// The tool world's calculator: integers of at most 18 digits with + - * and parentheses. Pure.
#pragma once

#include <string>
#include <string_view>

namespace baleen::agent {

// The result in decimal, or `error: bad expression`, or `error: number too large`.
std::string calculate(std::string_view expression);

}  // namespace baleen::agent
