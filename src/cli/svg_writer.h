// What the pictures of this folder are written with: elements of an SVG document, one per line.
#pragma once

#include <fmt/format.h>

#include <iterator>
#include <string>
#include <string_view>
#include <utility>

namespace baleen::cli {

inline constexpr std::string_view kInk = "#1f2328";
inline constexpr std::string_view kMuted = "#6e7781";
inline constexpr std::string_view kGrid = "#e4e7eb";

std::string escape_xml(std::string_view text);

// A number of tokens as an axis names it: "500", "65.5K" (thousands), "1M".
std::string tokens_label(double tokens);

class SvgWriter {
  public:
    // A white picture of this size, in user units (CSS pixels).
    SvgWriter(double width, double height);

    std::string finish() && { return std::move(text_) + "</svg>\n"; }

    template <typename... Args>
    void add(fmt::format_string<Args...> format, Args&&... args) {
        fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
        text_ += '\n';
    }

    void line(double x1, double y1, double x2, double y2, std::string_view colour) {
        add(R"(<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="{}"/>)", x1, y1, x2,
            y2, colour);
    }

    // style: further attributes, such as text-anchor="end".
    void text(double x, double y, std::string_view colour, std::string_view style,
              std::string_view content) {
        add(R"(<text x="{:.1f}" y="{:.1f}" fill="{}" {}>{}</text>)", x, y, colour, style,
            escape_xml(content));
    }

  private:
    std::string text_;
};

}  // namespace baleen::cli
