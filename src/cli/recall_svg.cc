#include "cli/recall_svg.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "cli/svg_writer.h"

namespace baleen::cli {
namespace {

using agent::RecallRow;

// All lengths in SVG user units (CSS pixels).
constexpr double kWidth = 960;
constexpr double kHeight = 460;
constexpr double kTop = 96;
constexpr double kPlotHeight = 280;
constexpr double kCurveLeft = 64;
constexpr double kPlotWidth = 360;
constexpr double kMapLeft = 540;
constexpr std::string_view kBlue = "#1a4fc4";
constexpr size_t kDepths = std::tuple_size_v<decltype(RecallRow::depths)>;

// Lengths of 1,024 tokens and more by powers of two, as people ask for them.
std::string length_label(int64_t length) {
    constexpr int64_t kKi = 1024;
    if (length >= kKi * kKi && length % (kKi * kKi) == 0)
        return fmt::format("{}M", length / (kKi * kKi));
    if (length >= kKi && length % kKi == 0) return fmt::format("{}K", length / kKi);
    return tokens_label(static_cast<double>(length));
}

double y_of(double share) {
    return kTop + kPlotHeight * (1 - share);
}

// Lengths on a logarithmic scale; a single one in the middle.
double x_of(std::span<const RecallRow> rows, size_t idx) {
    const auto log_length = [&](size_t i) { return std::log(static_cast<double>(rows[i].length)); };
    const double range = log_length(rows.size() - 1) - log_length(0);
    const double part = range == 0 ? 0.5 : (log_length(idx) - log_length(0)) / range;
    return kCurveLeft + kPlotWidth * (0.06 + 0.88 * part);
}

void draw_curve(SvgWriter& svg, std::span<const RecallRow> rows) {
    svg.text(kCurveLeft, kTop - 16, kInk, R"(font-weight="bold")",
             "Exact answers by length, %, with 95 % intervals");
    for (int percent = 0; percent <= 100; percent += 20) {
        const double y = y_of(percent / 100.0);
        svg.line(kCurveLeft, y, kCurveLeft + kPlotWidth, y, percent == 0 ? kInk : kGrid);
        svg.text(kCurveLeft - 8, y + 4, kMuted, R"(text-anchor="end")", fmt::format("{}", percent));
    }
    std::string points;
    for (size_t i = 0; i < rows.size(); ++i) {
        const double x = x_of(rows, i);
        const agent::Interval interval = rows[i].exact.interval();
        points += fmt::format("{:.1f},{:.1f} ", x, y_of(rows[i].exact.value()));
        svg.add(R"(<path d="M{:.1f} {:.1f} H{:.1f} M{:.1f} {:.1f} V{:.1f} M{:.1f} {:.1f} )"
                R"(H{:.1f}" fill="none" stroke="{}" stroke-width="1.4"/>)",
                x - 5, y_of(interval.low), x + 5, x, y_of(interval.low), y_of(interval.high), x - 5,
                y_of(interval.high), x + 5, kBlue);
        svg.add(R"(<circle cx="{:.1f}" cy="{:.1f}" r="4" fill="{}"/>)", x,
                y_of(rows[i].exact.value()), kBlue);
        svg.text(x, kTop + kPlotHeight + 20, kMuted, R"(text-anchor="middle")",
                 length_label(rows[i].length));
        svg.text(x, kTop + kPlotHeight + 36, kMuted, R"(text-anchor="middle" font-size="10")",
                 fmt::format("{} of {}", rows[i].index_topk, rows[i].blocks));
    }
    svg.add(R"(<polyline points="{}" fill="none" stroke="{}" stroke-width="2.4"/>)", points, kBlue);
    svg.text(kCurveLeft + kPlotWidth / 2, kTop + kPlotHeight + 58, kMuted,
             R"(text-anchor="middle")", "prompt tokens; below, blocks that each CSA layer chooses");
}

// From white (none) to blue (all): the depth of colour is the share.
std::string cell_colour(double share) {
    constexpr std::array<double, 3> kFull = {26, 79, 196};
    std::array<int, 3> rgb;
    for (size_t i = 0; i < rgb.size(); ++i)
        rgb[i] = static_cast<int>(std::lround(245 + (kFull[i] - 245) * share));
    return fmt::format("#{:02x}{:02x}{:02x}", rgb[0], rgb[1], rgb[2]);
}

void draw_map(SvgWriter& svg, std::span<const RecallRow> rows) {
    const double cell_width = kPlotWidth / static_cast<double>(rows.size());
    const double cell_height = kPlotHeight / static_cast<double>(kDepths);
    svg.text(kMapLeft, kTop - 16, kInk, R"(font-weight="bold")",
             "by length and depth of the fact, %");
    for (size_t depth = 0; depth < kDepths; ++depth)
        svg.text(kMapLeft - 8, kTop + cell_height * (static_cast<double>(depth) + 0.5) + 4, kMuted,
                 R"(text-anchor="end")", fmt::format("{}-{} %", depth * 10, depth * 10 + 10));
    for (size_t i = 0; i < rows.size(); ++i) {
        const double x = kMapLeft + cell_width * static_cast<double>(i);
        for (size_t depth = 0; depth < kDepths; ++depth) {
            const agent::Share& share = rows[i].depths[depth];
            const double y = kTop + cell_height * static_cast<double>(depth);
            svg.add(R"(<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="{}"/>)",
                    x + 1, y + 1, cell_width - 2, cell_height - 2,
                    share.trials == 0 ? std::string(kGrid) : cell_colour(share.value()));
            svg.text(x + cell_width / 2, y + cell_height / 2 + 4,
                     share.value() > 0.5 ? "#ffffff" : kInk, R"(text-anchor="middle")",
                     share.trials == 0 ? "-" : fmt::format("{:.0f}", 100 * share.value()));
        }
        svg.text(x + cell_width / 2, kTop + kPlotHeight + 20, kMuted, R"(text-anchor="middle")",
                 length_label(rows[i].length));
    }
    svg.text(kMapLeft + kPlotWidth / 2, kTop + kPlotHeight + 58, kMuted, R"(text-anchor="middle")",
             "prompt tokens; depth 0 % is the beginning");
}

}  // namespace

std::string recall_svg(std::span<const RecallRow> rows, std::string_view caption) {
    SvgWriter svg(kWidth, kHeight);
    svg.text(kCurveLeft, 34, kInk, R"(font-size="17" font-weight="bold")",
             "Recall of facts in long prompts");
    svg.text(kCurveLeft, 56, kMuted, "", caption);
    draw_curve(svg, rows);
    draw_map(svg, rows);
    return std::move(svg).finish();
}

}  // namespace baleen::cli
