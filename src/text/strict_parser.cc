// The model release's parser (spec/chat-encoding.md, section 13, "Strict parser"): exactly the
// well-formed text is taken, so what it accepts is what the renderer writes.
#include <array>
#include <initializer_list>
#include <unordered_set>

#include "text/argument_json.h"
#include "text/completion_parser.h"
#include "text/utf8.h"

namespace baleen {
namespace {

struct TagNames {
    std::string_view block;
    std::string_view invoke;
    std::string_view parameter;
};

TagNames tag_names(Dialect dialect) {
    if (dialect == Dialect::kV41) return {" calls", " invoke", " parameter"};
    return {"tool_calls", "invoke", "parameter"};
}

std::string joined(std::initializer_list<std::string_view> parts) {
    std::string text;
    for (const std::string_view part : parts) text += part;
    return text;
}

class StrictParser {
  public:
    StrictParser(std::string_view text, Dialect dialect)
        : text_(text),
          block_open_(joined({"\n\n<", kDsml, tag_names(dialect).block})),
          block_close_(joined({"</", kDsml, tag_names(dialect).block, ">"})),
          invoke_open_(joined({"<", kDsml, tag_names(dialect).invoke})),
          invoke_close_(joined({"</", kDsml, tag_names(dialect).invoke})),
          parameter_open_(joined({"<", kDsml, tag_names(dialect).parameter})),
          // The bracket before it is looked for at the end of the value.
          parameter_close_(joined({"/", kDsml, tag_names(dialect).parameter})) {}

    Result<ParsedMessage> parse(ThinkingMode mode);

  private:
    // What lies before the first of some marks, and which one that is; the mark is passed over.
    struct Read {
        size_t begin;
        std::string_view text;
        int mark;  // index in marks; -1: none of them comes, and the text is used up
    };
    Read read_until(std::initializer_list<std::string_view> marks);

    Result<void> parse_calls(std::vector<ParsedCall>& calls);
    Result<ParsedCall> parse_call();
    Result<std::string> parse_call_name(const Read& header) const;
    Result<void> parse_parameter(ParsedCall& call, std::unordered_set<std::string>& names);
    Result<void> expect_tag_end(const Read& read) const;
    Result<void> check_plain(std::string_view part, std::string_view what) const;
    size_t offset_of(std::string_view part) const {
        return static_cast<size_t>(part.data() - text_.data());
    }

    std::string_view text_;
    size_t at_ = 0;
    std::string block_open_, block_close_, invoke_open_, invoke_close_;
    std::string parameter_open_, parameter_close_;
};

template <typename... Args>
Error refused(size_t at, fmt::format_string<Args...> format, Args&&... args) {
    return make_error(ErrorCode::kInvalidArgument, "{} at byte {}",
                      fmt::format(format, std::forward<Args>(args)...), at);
}

// One pass for all marks: searching for each to the end of the text would be quadratic in a text of
// many calls.
StrictParser::Read StrictParser::read_until(std::initializer_list<std::string_view> marks) {
    const size_t begin = at_;
    std::string first_bytes;
    for (const std::string_view mark : marks) first_bytes += mark[0];
    for (size_t at = text_.find_first_of(first_bytes, begin); at != std::string_view::npos;
         at = text_.find_first_of(first_bytes, at + 1)) {
        int i = 0;
        for (const std::string_view mark : marks) {
            if (text_.substr(at).starts_with(mark)) {
                at_ = at + mark.size();
                return {begin, text_.substr(begin, at - begin), i};
            }
            ++i;
        }
    }
    at_ = text_.size();
    return {begin, text_.substr(begin), -1};
}

Result<ParsedMessage> StrictParser::parse(ThinkingMode mode) {
    ParsedMessage message;
    std::string_view reasoning;
    if (mode == ThinkingMode::kThinking) {
        const Read read = read_until({kThinkClose, block_open_});
        if (read.mark != 0)
            return refused(read.begin + read.text.size(), "missing {} after the reasoning",
                           kThinkClose);
        reasoning = read.text;
    }
    const Read content = read_until({kEos, block_open_});
    if (content.mark < 0) return refused(text_.size(), "missing {}", kEos);
    TRY(check_plain(reasoning, "reasoning"));
    TRY(check_plain(content.text, "content"));
    message.reasoning = reasoning;
    message.content = content.text;
    if (content.mark == 1) {
        TRY(parse_calls(message.tool_calls));
        const Read rest = read_until({kEos});
        if (!rest.text.empty()) return refused(rest.begin, "text after the calls");
    }
    if (at_ != text_.size()) return refused(at_, "text after {}", kEos);
    return message;
}

Result<void> StrictParser::check_plain(std::string_view part, std::string_view what) const {
    for (const std::string_view marker : {kBos, kEos, kThinkOpen, kThinkClose, kDsml})
        if (const size_t at = part.find(marker); at != std::string_view::npos)
            return refused(offset_of(part) + at, "{} in the {}", marker, what);
    return {};
}

Result<void> StrictParser::expect_tag_end(const Read& read) const {
    if (read.text == ">\n") return {};
    return refused(read.begin, "expected > and one newline before the next tag");
}

Result<void> StrictParser::parse_calls(std::vector<ParsedCall>& calls) {
    while (true) {
        const Read between = read_until({invoke_open_, block_close_});
        if (between.mark < 0) return refused(between.begin, "calls block that never closes");
        TRY(expect_tag_end(between));
        if (between.mark == 1) return {};
        calls.push_back(TRY(parse_call()));
    }
}

Result<ParsedCall> StrictParser::parse_call() {
    ParsedCall call;
    const Read header = read_until({parameter_open_, invoke_close_});
    if (header.mark < 0) return refused(header.begin, "call that never closes");
    call.name = TRY(parse_call_name(header));
    call.arguments += '{';
    std::unordered_set<std::string> names;
    for (bool has_parameter = header.mark == 0; has_parameter;) {
        TRY(parse_parameter(call, names));
        const Read after = read_until({parameter_open_, invoke_close_});
        if (after.mark < 0) return refused(after.begin, "call that never closes");
        TRY(expect_tag_end(after));
        has_parameter = after.mark == 0;
    }
    call.arguments += '}';
    call.complete = true;
    return call;
}

// ` name="NAME">` newline; one more newline may follow, as the renderer writes a call without
// parameters.
Result<std::string> StrictParser::parse_call_name(const Read& header) const {
    constexpr std::string_view kBegin = " name=\"";
    constexpr std::string_view kEnd = "\">\n";
    std::string_view name = header.text;
    if (name.starts_with(kBegin)) {
        name.remove_prefix(kBegin.size());
        if (name.ends_with("\">\n\n")) name.remove_suffix(1);
        if (name.ends_with(kEnd)) return std::string(name.substr(0, name.size() - kEnd.size()));
    }
    return refused(header.begin, "expected name=\"...\"> and a newline in the tag of a call");
}

Result<void> StrictParser::parse_parameter(ParsedCall& call,
                                           std::unordered_set<std::string>& names) {
    constexpr std::string_view kBegin = " name=\"";
    constexpr std::array<std::string_view, 2> kKinds = {"\" string=\"true\">",
                                                        "\" string=\"false\">"};
    const Read read = read_until({parameter_close_});
    if (read.mark < 0) return refused(read.begin, "parameter that never closes");
    const size_t is_string = read.text.find(kKinds[0], kBegin.size());
    const size_t is_json = read.text.find(kKinds[1], kBegin.size());
    const size_t name_end = std::min(is_string, is_json);
    if (!read.text.starts_with(kBegin) || name_end == std::string_view::npos ||
        !read.text.ends_with('<'))
        return refused(read.begin,
                       "expected name=\"...\" string=\"true|false\">VALUE and a closing tag in a "
                       "parameter");
    const std::string name(read.text.substr(kBegin.size(), name_end - kBegin.size()));
    if (!names.insert(name).second)
        return refused(read.begin, "parameter {} twice in one call", json_quoted(name));
    const size_t value_begin = name_end + kKinds[is_string < is_json ? 0 : 1].size();
    const std::string_view value =
        read.text.substr(value_begin, read.text.size() - 1 - value_begin);
    if (names.size() > 1) call.arguments += ", ";
    call.arguments += json_quoted(name);
    call.arguments += ": ";
    call.arguments += is_string < is_json ? json_quoted(value) : std::string(value);
    return {};
}

}  // namespace

Result<ParsedMessage> parse_strict(std::string_view text, ThinkingMode mode, Dialect dialect) {
    if (const size_t at = first_invalid_utf8(text); at != std::string_view::npos)
        return refused(at, "bytes that are not UTF-8");
    return StrictParser(text, dialect).parse(mode);
}

}  // namespace baleen
