#include "cli/svg_writer.h"

namespace baleen::cli {

std::string escape_xml(std::string_view text) {
    std::string out;
    for (char c : text) {
        switch (c) {
            case '&': out += "&amp;"; break;
            case '<': out += "&lt;"; break;
            case '>': out += "&gt;"; break;
            case '"': out += "&quot;"; break;
            default: out += c;
        }
    }
    return out;
}

std::string tokens_label(double tokens) {
    if (tokens >= 1e6) return fmt::format("{:g}M", tokens / 1e6);
    return tokens >= 1e3 ? fmt::format("{:g}K", tokens / 1e3) : fmt::format("{:g}", tokens);
}

SvgWriter::SvgWriter(double width, double height) {
    add(R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" width="{}" height="{}" )"
        R"(font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif" font-size="12">)",
        width, height, width, height);
    add(R"(<rect width="{}" height="{}" fill="#ffffff"/>)", width, height);
}

}  // namespace baleen::cli
