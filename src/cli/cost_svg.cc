#include "cli/cost_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>
#include <vector>

#include "cli/svg_writer.h"

namespace baleen::cli {
namespace {

// All lengths in SVG user units (CSS pixels).
constexpr double kWidth = 1150;
constexpr double kHeight = 440;
constexpr double kPlotWidth = 330;
constexpr double kPlotHeight = 290;
constexpr double kPlotTop = 84;
constexpr std::array kPlotLeft = {62.0, 636.0};  // one per panel; labels stand right of each plot
constexpr double kLabelGap = 38;                 // between two labels of two lines
constexpr int kSamples = 256;

// Told apart by lightness too, for print and for colour-blind readers.
constexpr std::array<std::string_view, 7> kColours = {"#e8710a", "#1a4fc4", "#57606a", "#8c959f",
                                                      "#8250df", "#0a7f5a", "#bf3989"};

struct Curve {
    std::string title;
    std::string_view colour;
    bool sets_scale = true;
    std::vector<double> values;  // [kSamples + 1], in the panel's unit, from context 0 on
};

struct Panel {
    double left;
    std::string title;
    std::string unit;       // of the values
    std::string y_caption;  // under the title
    std::string less;       // "3.7x less"
    std::vector<Curve> curves;
    size_t baseline_idx = 0;
    double y_step = 0;
    double y_max = 0;  // a multiple of y_step
};

// 1, 2 or 5 times a power of ten, so that about five steps reach `top`.
double tick_step(double top) {
    const double magnitude = std::pow(10.0, std::floor(std::log10(top / 5)));
    for (double factor : {1.0, 2.0, 5.0})
        if (top / (factor * magnitude) <= 6.0) return factor * magnitude;
    return 10 * magnitude;
}

// Three significant digits, never in exponent form for what a model can cost.
std::string value_label(double value) {
    if (value >= 100) return fmt::format("{:.0f}", value);
    return fmt::format("{:.{}f}", value, value >= 10 ? 1 : value >= 1 ? 2 : value >= 0.1 ? 3 : 4);
}

double y_of(const Panel& panel, double value) {
    return kPlotTop + kPlotHeight * (1 - value / panel.y_max);
}

void draw_axes(SvgWriter& svg, const Panel& panel, int64_t context_max) {
    const double right = panel.left + kPlotWidth;
    const double bottom = kPlotTop + kPlotHeight;
    svg.text(panel.left, 34, kInk, R"(font-size="17" font-weight="bold")", panel.title);
    svg.text(panel.left, 56, kMuted, "", panel.y_caption);
    for (int i = 0; i * panel.y_step <= panel.y_max * (1 + 1e-9); ++i) {
        const double y = y_of(panel, i * panel.y_step);
        svg.line(panel.left, y, right, y, i == 0 ? kInk : kGrid);
        svg.text(panel.left - 8, y + 4, kMuted, R"(text-anchor="end")",
                 fmt::format("{:g}", i * panel.y_step));
    }
    const double top = static_cast<double>(context_max);
    const double x_step = tick_step(top);
    for (int i = 0; i * x_step <= top * (1 + 1e-9); ++i) {
        const double x = panel.left + kPlotWidth * i * x_step / top;
        svg.line(x, bottom, x, bottom + 5, kInk);
        svg.text(x, bottom + 20, kMuted, R"(text-anchor="middle")", tokens_label(i * x_step));
    }
    svg.text(panel.left + kPlotWidth / 2, bottom + 42, kMuted, R"(text-anchor="middle")",
             "context, tokens");
}

// A curve that sets no scale may leave the panel at the top: it is cut there and named beside the
// cut. Returns whether that happened.
bool draw_curve(SvgWriter& svg, const Panel& panel, const Curve& curve) {
    std::string points;
    size_t i = 0;
    double x = panel.left;
    for (; i < curve.values.size() && curve.values[i] <= panel.y_max; ++i) {
        x = panel.left + kPlotWidth * static_cast<double>(i) / kSamples;
        points += fmt::format("{:.1f},{:.1f} ", x, y_of(panel, curve.values[i]));
    }
    const bool leaves = i < curve.values.size();
    if (leaves) {  // straight on to the top edge
        const double rise = curve.values[i] - curve.values[i - 1];
        x += kPlotWidth / kSamples * (panel.y_max - curve.values[i - 1]) / rise;
        points += fmt::format("{:.1f},{:.1f}", x, kPlotTop);
        svg.text(x + 8, kPlotTop + 14, kMuted, "",
                 fmt::format("{}: {} {}, off scale", curve.title, value_label(curve.values.back()),
                             panel.unit));
    }
    svg.add(R"(<polyline points="{}" fill="none" stroke="{}" stroke-width="2.4" )"
            R"(stroke-linejoin="round"{}/>)",
            points, curve.colour, curve.sets_scale ? "" : R"( stroke-dasharray="5 4")");
    return leaves;
}

// Names, values and ratios right of the curves' ends, pushed apart where ends are close.
void draw_labels(SvgWriter& svg, const Panel& panel, const std::vector<size_t>& labelled) {
    std::vector<size_t> order = labelled;
    std::ranges::sort(order, [&](size_t a, size_t b) {
        return panel.curves[a].values.back() < panel.curves[b].values.back();
    });
    const double right = panel.left + kPlotWidth;
    const double baseline = panel.curves[panel.baseline_idx].values.back();
    double lowest_free = kPlotTop + kPlotHeight - 10;
    for (size_t idx : order) {  // from the bottom up
        const Curve& curve = panel.curves[idx];
        const double value = curve.values.back();
        const double end = y_of(panel, value);
        const double y = std::min(end, lowest_free);
        lowest_free = y - kLabelGap;
        svg.add(R"(<circle cx="{:.1f}" cy="{:.1f}" r="4" fill="{}"/>)", right, end, curve.colour);
        svg.add(R"(<path d="M{:.1f} {:.1f} L{:.1f} {:.1f} H{:.1f}" fill="none" stroke="{}"/>)",
                right + 5, end, right + 14, y, right + 20, curve.colour);
        svg.add(R"(<text x="{:.1f}" y="{:.1f}" fill="{}"><tspan font-weight="bold">{}</tspan> )"
                R"({} {}</text>)",
                right + 24, y + 1, curve.colour, escape_xml(curve.title), value_label(value),
                panel.unit);
        const std::string ratio =
            idx == panel.baseline_idx ? "baseline"
            : value > baseline        ? fmt::format("{:.1f} %", 100 * value / baseline)
                               : fmt::format("{:.1f} % ({:.1f}\u00d7 {})", 100 * value / baseline,
                                             baseline / value, panel.less);
        svg.text(right + 24, y + 16, kMuted, R"(font-size="11")", ratio);
    }
}

void draw_panel(SvgWriter& svg, Panel& panel, int64_t context_max) {
    double top = 0;
    for (const Curve& curve : panel.curves)
        if (curve.sets_scale) top = std::max(top, std::ranges::max(curve.values));
    panel.y_step = tick_step(top);
    panel.y_max = panel.y_step * std::ceil(top / panel.y_step);
    draw_axes(svg, panel, context_max);
    std::vector<size_t> labelled;
    for (size_t i = 0; i < panel.curves.size(); ++i)
        if (!draw_curve(svg, panel, panel.curves[i])) labelled.push_back(i);
    draw_labels(svg, panel, labelled);
}

// value(context) at kSamples + 1 contexts from 0 (taken as 1) to context_max.
template <typename Value>
std::vector<double> sample(int64_t context_max, const Value& value) {
    std::vector<double> values;
    for (int i = 0; i <= kSamples; ++i)
        values.push_back(value(std::max<int64_t>(1, context_max * i / kSamples)));
    return values;
}

}  // namespace

std::string cost_svg(std::span<const CostSubject> subjects, const CostSubject& baseline,
                     int64_t context_max) {
    Panel flops{.left = kPlotLeft[0],
                .title = "FLOPs of one token",
                .unit = "TFLOP",
                .y_caption = "equivalent FP8 TFLOP per decoded token; ratios to " + baseline.title,
                .less = "fewer",
                .curves = {}};
    Panel cache{.left = kPlotLeft[1],
                .title = "KV cache of one sequence",
                .unit = "GB",
                .y_caption = "GB (10\u2079 bytes) as stored; ratios to " + baseline.title,
                .less = "smaller",
                .curves = {}};
    for (size_t i = 0; i < subjects.size(); ++i) {
        const CostSubject& subject = subjects[i];
        const std::string_view colour = kColours[i % kColours.size()];
        const bool has_flops = static_cast<bool>(subject.decode);
        if (&subject == &baseline) {
            flops.baseline_idx = flops.curves.size();
            cache.baseline_idx = cache.curves.size();
        }
        if (has_flops)
            flops.curves.push_back(
                {subject.title, colour, true, sample(context_max, [&](int64_t c) {
                     return static_cast<double>(subject.decode(c).total().equivalent_fp8_flops()) /
                            1e12;
                 })});
        cache.curves.push_back(
            {subject.title, colour, has_flops, sample(context_max, [&](int64_t c) {
                 return static_cast<double>(subject.kv_bytes(c)) / 1e9;
             })});
    }
    SvgWriter svg(kWidth, kHeight);
    draw_panel(svg, flops, context_max);
    draw_panel(svg, cache, context_max);
    return std::move(svg).finish();
}

}  // namespace baleen::cli
