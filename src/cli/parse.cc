// baleen parse: model text to a message, whole or as a stream of events.
#include <memory>

#include "base/json.h"
#include "cli/command.h"
#include "cli/stdio.h"
#include "text/completion_parser.h"
#include "text/utf8.h"

namespace baleen::cli {
namespace {

struct ParseFlags {
    std::string mode;
    std::string dialect = "v4";
    std::vector<std::string> stops;
    int64_t stream = 0;  // bytes per push; 0: all at once
    bool strict = false;
    bool json_mode = false;
    bool no_tools = false;
    bool lines = false;
};

constexpr int64_t kStreamMax = int64_t{1} << 30;

Result<ThinkingMode> parse_mode(std::string_view name) {
    if (name == "thinking") return ThinkingMode::kThinking;
    if (name == "chat") return ThinkingMode::kChat;
    return make_error(ErrorCode::kInvalidArgument, "mode is '{}', expected thinking or chat", name);
}

Result<Dialect> dialect_of(std::string_view name) {
    if (name == "v4") return Dialect::kV4;
    if (name == "v4-0731") return Dialect::kV4_0731;
    if (name == "v41") return Dialect::kV41;
    return make_error(ErrorCode::kInvalidArgument, "dialect is '{}', expected v4, v4-0731 or v41",
                      name);
}

Json message_json(const ParsedMessage& message) {
    Json calls = Json::array();
    for (const ParsedCall& call : message.tool_calls)
        calls.push_back(
            {{"name", call.name}, {"arguments", call.arguments}, {"complete", call.complete}});
    return {{"reasoning_content", message.reasoning},
            {"content", message.content},
            {"tool_calls", std::move(calls)}};
}

Json event_json(const ParserEvent& event) {
    switch (event.kind) {
        case ParserEvent::Kind::kReasoning: return {{"event", "reasoning"}, {"text", event.text}};
        case ParserEvent::Kind::kContent: return {{"event", "content"}, {"text", event.text}};
        case ParserEvent::Kind::kCallBegin:
            return {{"event", "call_begin"}, {"index", event.call_idx}, {"name", event.text}};
        case ParserEvent::Kind::kCallArguments:
            return {{"event", "call_arguments"}, {"index", event.call_idx}, {"text", event.text}};
        case ParserEvent::Kind::kCallEnd: return {{"event", "call_end"}, {"index", event.call_idx}};
    }
    return {};
}

Result<void> check_stops(const std::vector<std::string>& stops) {
    for (const std::string& stop : stops)
        if (stop.empty() || first_invalid_utf8(stop) != std::string_view::npos)
            return make_error(ErrorCode::kInvalidArgument,
                              "a stop sequence is {}, expected UTF-8 text of at least one byte",
                              stop.empty() ? "empty" : "not UTF-8");
    return {};
}

// The end marker, which an engine never hands to the parser, is left off.
Result<Json> serve(std::string_view text, const ParseFlags& flags, std::string& event_lines) {
    TRY(check_stops(flags.stops));
    ServingParser parser({.in_reasoning = TRY(parse_mode(flags.mode)) == ThinkingMode::kThinking,
                          .stops = flags.stops,
                          .json_mode = flags.json_mode,
                          .parse_tools = !flags.no_tools});
    if (text.ends_with(kEos)) text.remove_suffix(kEos.size());
    const size_t piece = flags.stream == 0 ? text.size() : static_cast<size_t>(flags.stream);
    std::vector<ParserEvent> events;
    for (; !text.empty(); text.remove_prefix(std::min(piece, text.size())))
        parser.push(text.substr(0, piece), events);
    parser.finish(events);
    for (const ParserEvent& event : events) event_lines += dump_json(event_json(event)) + "\n";
    Json message = message_json(parser.message());
    message["stopped"] = parser.stopped();
    return message;
}

Result<Json> parse_text(std::string_view text, const ParseFlags& flags, std::string& event_lines) {
    if (!flags.strict) return serve(text, flags, event_lines);
    const ThinkingMode mode = TRY(parse_mode(flags.mode));
    const Dialect dialect = TRY(dialect_of(flags.dialect));
    return message_json(TRY(parse_strict(text, mode, dialect)));
}

Result<bool> bool_or(const Json& object, const std::string& key, bool otherwise) {
    if (!json_has(object, key)) return otherwise;
    if (object[key].is_boolean()) return object[key].get<bool>();
    return make_error(ErrorCode::kInvalidArgument, "{} is not true or false", key);
}

Result<std::vector<std::string>> stops_of(const Json& stop) {
    std::vector<std::string> stops;
    for (const Json& entry : stop.is_array() ? stop : Json::array({stop})) {
        if (!entry.is_string())
            return make_error(ErrorCode::kInvalidArgument,
                              "stop is neither a string nor a list of strings");
        stops.push_back(entry.get<std::string>());
    }
    return stops;
}

// One object of --lines. What it does not name is as on the command line.
Result<Json> parse_line(std::string_view line, ParseFlags flags) {
    const Json object = TRY(parse_json(line));
    if (!object.is_object())
        return make_error(ErrorCode::kInvalidArgument, "expected a JSON object");
    const std::string text = TRY(json_string(object, "text"));
    if (json_has(object, "mode")) flags.mode = TRY(json_string(object, "mode"));
    if (json_has(object, "dialect")) flags.dialect = TRY(json_string(object, "dialect"));
    if (json_has(object, "stream")) flags.stream = TRY(json_int(object, "stream", {0, kStreamMax}));
    if (json_has(object, "stop")) flags.stops = TRY(stops_of(object["stop"]));
    flags.strict = TRY(bool_or(object, "strict", flags.strict));
    flags.json_mode = TRY(bool_or(object, "json_mode", flags.json_mode));
    flags.no_tools = !TRY(bool_or(object, "parse_tools", !flags.no_tools));
    std::string event_lines;  // not printed: one line in, one line out
    return parse_text(text, flags, event_lines);
}

std::string parse_lines(std::string_view input, const ParseFlags& flags) {
    std::string output;
    while (!input.empty()) {
        const size_t end = std::min(input.find('\n'), input.size());
        const auto message = parse_line(input.substr(0, end), flags);
        output += dump_json(message ? *message : Json{{"error", message.error().message}}) + "\n";
        input.remove_prefix(std::min(end + 1, input.size()));
    }
    return output;
}

Result<int> parse(const ParseFlags& flags) {
    if (flags.mode.empty() && !flags.lines)
        return make_error(ErrorCode::kInvalidArgument,
                          "--mode is missing, expected thinking or chat");
    const std::string input = TRY(read_stdin());
    if (flags.lines) {
        TRY(write_stdout(parse_lines(input, flags)));
        return kExitOk;
    }
    std::string event_lines;
    const auto message = parse_text(input, flags, event_lines);
    if (!message) return Error(message.error()).in("stdin");
    if (flags.stream == 0) event_lines.clear();
    TRY(write_stdout(event_lines + dump_json(*message) + "\n"));
    return kExitOk;
}

void add_flags(CLI::App& command, ParseFlags& flags) {
    command.add_option("--mode", flags.mode, "where the prompt left the model")
        ->check(CLI::IsMember({"thinking", "chat"}));
    command.add_flag("--strict", flags.strict,
                     "the model release's parser: refuses all but well-formed text, end marker "
                     "included");
    command.add_option("--dialect", flags.dialect, "tag names that --strict takes")
        ->check(CLI::IsMember({"v4", "v4-0731", "v41"}))
        ->capture_default_str();
    command
        .add_option("--stop", flags.stops,
                    "the answer ends before this text (again for more of them)")
        ->allow_extra_args(false);
    command
        .add_option("--stream", flags.stream,
                    "feed so many bytes at a time and print each event as a line of JSON")
        ->check(CLI::Range(int64_t{0}, kStreamMax));
    command.add_flag("--json-mode", flags.json_mode, "blank what surrounds the JSON of the answer");
    command.add_flag("--no-tools", flags.no_tools, "tool tags are plain text");
    command.add_flag("--lines", flags.lines,
                     "one object {\"text\", \"mode\", \"strict\", \"stream\", \"stop\", "
                     "\"json_mode\", \"parse_tools\", \"dialect\"} per input line, one message (or "
                     "{\"error\": ...}) per output line");
}

}  // namespace

void add_parse(CLI::App& app, Chosen& chosen) {
    CLI::App* command =
        app.add_subcommand("parse", "Text of a model on stdin to the message it means, as JSON.");
    const auto flags = std::make_shared<ParseFlags>();
    add_flags(*command, *flags);
    command->footer(
        "Examples:\n"
        "  printf 'Easy.</think>\\n\\n4' | baleen parse --mode thinking\n"
        "  baleen parse --mode thinking --stream 3 < completion.txt\n"
        "  baleen parse --mode chat --stop END --stop '###' < completion.txt\n"
        "  baleen parse --strict --mode thinking < completion_with_end_marker.txt\n"
        "Without --strict nothing is refused, and an end marker at the very end is left off.");
    command->callback([flags, &chosen] { chosen.run = [flags] { return parse(*flags); }; });
}

}  // namespace baleen::cli
