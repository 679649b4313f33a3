#include "text/serving_markers.h"

#include <string>
#include <string_view>
#include <utility>

#include "text/utf8.h"

namespace baleen {
namespace {

constexpr std::string_view kBar = "\uFF5C";

class Matchers {
  public:
    Matchers(const ServingParserOptions& options, bool has_doubled_bars)
        : options_(options), has_doubled_bars_(has_doubled_bars) {}

    void add(Mark mark, std::string literal) { add(mark, MarkerPattern{std::move(literal)}); }
    void add(Mark mark, MarkerPattern pattern) {
        list_.push_back({mark, MarkerMatcher(std::move(pattern))});
    }

    // before, the DSML marker, after; bars_before and bars_after come on top of the marker's own.
    struct Tag {
        std::string_view before;
        std::string_view after = "";
        bool takes_newlines = false;
    };
    void add_dsml(Mark mark, const Tag& tag, size_t bars_before, size_t bars_after) {
        MarkerPattern pattern{std::string(tag.before), tag.takes_newlines};
        for (size_t i = 0; i < bars_before; ++i) pattern.literal += kBar;
        const size_t begin = pattern.literal.size();
        pattern.literal += kDsml;
        if (options_.control_markers_only) {
            pattern.control_begin = begin;
            pattern.control_end = pattern.literal.size();
        }
        for (size_t i = 0; i < bars_after; ++i) pattern.literal += kBar;
        pattern.literal += tag.after;
        add(mark, std::move(pattern));
    }

    // A closing tag of that name. Bars after the marker only matter where a name follows them.
    void add_closer(Mark mark, std::string_view name) {
        const size_t bars_max = has_doubled_bars_ ? 1 : 0;
        for (size_t before = 0; before <= bars_max; ++before)
            for (size_t after = 0; after <= (name.empty() ? 0 : bars_max); ++after)
                add_dsml(mark, {"</", name}, before, after);
    }

    void add_think_end(bool takes_newlines) {
        const size_t control_end = options_.control_markers_only ? kThinkClose.size() : 0;
        add(Mark::kThinkEnd, {std::string(kThinkClose), takes_newlines, 0, control_end});
    }

    void add_block_open() {
        if (!options_.parse_tools) return;
        add_dsml(Mark::kBlockOpen, {.before = "<", .takes_newlines = true}, 0, 0);
        add_dsml(Mark::kDoubledBlockOpen, {.before = "<", .takes_newlines = true}, 1, 0);
    }

    void add_stops() {
        for (std::string stop : options_.stops) {
            std::string valid;
            drain_utf8(stop, valid);
            if (!stop.empty()) valid += kReplacementCharacter;
            add(Mark::kStop, valid);
        }
    }

    std::vector<MarkMatcher> take() { return std::move(list_); }

  private:
    const ServingParserOptions& options_;
    bool has_doubled_bars_;
    std::vector<MarkMatcher> list_;
};

void add_answer_matchers(ParserState state, Matchers& matchers) {
    if (state == ParserState::kAnswer || state == ParserState::kJson) matchers.add_stops();
    if (state == ParserState::kBeforeJson) {
        matchers.add(Mark::kFenceOpen, "```json\n");
        matchers.add(Mark::kFenceOpen, "```\n");
        matchers.add(Mark::kJsonOpen, "{");
        matchers.add(Mark::kJsonOpen, "[");
    }
    if (state == ParserState::kJson) matchers.add(Mark::kFenceClose, "\n```");
    matchers.add_block_open();
    matchers.add_think_end(false);
}

void add_value_matchers(ParserState state, Matchers& matchers) {
    if (state == ParserState::kParameterKind) {
        matchers.add(Mark::kStringKind, "true\">");
        matchers.add(Mark::kJsonKind, "false\">");
    } else {
        matchers.add_closer(Mark::kValueClose, "parameter");
        matchers.add_closer(Mark::kValueClose, " parameter");
    }
}

}  // namespace

std::vector<MarkMatcher> make_matchers(ParserState state, const ServingParserOptions& options,
                                       bool has_doubled_bars) {
    Matchers matchers(options, has_doubled_bars);
    switch (state) {
        case ParserState::kReasoning:
            matchers.add_block_open();
            matchers.add_think_end(true);
            break;
        case ParserState::kAnswer:
        case ParserState::kBeforeJson:
        case ParserState::kJson:
        case ParserState::kAfterJson: add_answer_matchers(state, matchers); break;
        case ParserState::kCalls:
            matchers.add(Mark::kCallOpen, "invoke name=\"");
            matchers.add_closer(Mark::kBlockClose, "tool_calls");
            matchers.add_closer(Mark::kBlockClose, " calls");
            break;
        case ParserState::kParameters:
            matchers.add(Mark::kParameterOpen, "parameter name=\"");
            matchers.add_closer(Mark::kCallClose, "");
            break;
        case ParserState::kCallName:
        case ParserState::kParameterName: matchers.add(Mark::kQuote, "\""); break;
        case ParserState::kParameterKind:
        case ParserState::kStringValue:
        case ParserState::kJsonValue: add_value_matchers(state, matchers); break;
        case ParserState::kDone: break;
    }
    return matchers.take();
}

}  // namespace baleen
