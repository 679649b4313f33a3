// --lines: one JSON value per line in, one line of answer out.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace baleen::cli {

// Calls per_line for each line of input (without its line end) and joins the answers likewise.
template <typename PerLine>
std::string map_lines(std::string_view input, const PerLine& per_line) {
    std::string output;
    while (!input.empty()) {
        const size_t end = std::min(input.find('\n'), input.size());
        output += per_line(input.substr(0, end)) + "\n";
        input.remove_prefix(std::min(end + 1, input.size()));
    }
    return output;
}

// A JSON list on one line: [19923, 14].
template <typename Numbers>
std::string number_list(const Numbers& numbers) {
    std::string list = "[";
    for (const auto number : numbers) {
        if (list.size() > 1) list += ", ";
        list += std::to_string(number);
    }
    return list + "]";
}

}  // namespace baleen::cli
