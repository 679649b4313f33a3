// For the parsers' tests and fuzz target: a writer of well-formed tool calls (section 8), and the
// serving parser fed in pieces, with what its events add up to.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/completion_parser.h"
#include "text/utf8.h"

namespace baleen {

struct DsmlParameter {
    std::string name;
    std::string value;  // as it stands in the text
    bool is_string = true;
};

struct DsmlCall {
    std::string name;
    std::vector<DsmlParameter> parameters;
};

inline std::string write_dsml(const DsmlCall& call, const std::string& mark, bool is_spaced) {
    const std::string space = is_spaced ? " " : "";
    std::string text = "<" + mark + space + "invoke name=\"" + call.name + "\">\n";
    for (size_t i = 0; i < call.parameters.size(); ++i) {
        const DsmlParameter& parameter = call.parameters[i];
        if (i > 0) text += '\n';
        text += "<" + mark + space + "parameter name=\"" + parameter.name + "\" string=\"";
        text += parameter.is_string ? "true" : "false";
        text += "\">" + parameter.value + "</" + mark + space + "parameter>";
    }
    return text + "\n</" + mark + space + "invoke>";
}

inline std::string write_dsml(const std::vector<DsmlCall>& calls,
                              const std::string& mark = std::string(kDsml),
                              bool is_spaced = false) {
    const std::string block = is_spaced ? " calls" : "tool_calls";
    std::string text = "<" + mark + block + ">";
    for (const DsmlCall& call : calls) text.append("\n").append(write_dsml(call, mark, is_spaced));
    return text + "\n</" + mark + block + ">";
}

// What the events of one run say, put together.
struct StreamedCall {
    std::string name;
    std::string arguments;
    bool ended = false;
};

struct ServingRun {
    ParsedMessage message;
    std::string reasoning;  // this and the next two: joined events
    std::string content;
    std::vector<StreamedCall> calls;
    bool stopped = false;
    bool is_malformed = false;
    size_t repaired_values = 0;
    size_t unwrapped_calls = 0;
    std::string problem;  // of the events' order or text; empty: none
};

inline void add_event(const ParserEvent& event, ServingRun& run) {
    const auto complain = [&run](const char* what) {
        if (run.problem.empty()) run.problem = what;
    };
    if (first_invalid_utf8(event.text) != std::string_view::npos)
        complain("an event cuts a character");
    const bool is_call =
        event.kind != ParserEvent::Kind::kReasoning && event.kind != ParserEvent::Kind::kContent;
    if (!is_call && !run.calls.empty()) complain("text after a call");
    if (event.kind == ParserEvent::Kind::kReasoning && !run.content.empty())
        complain("reasoning after the answer");
    if (event.kind == ParserEvent::Kind::kCallBegin) {
        if (event.call_idx != run.calls.size()) complain("a call out of order");
        run.calls.push_back({event.text, "", false});
        return;
    }
    if (!is_call) {
        if (event.text.empty()) complain("an empty delta");
        (event.kind == ParserEvent::Kind::kReasoning ? run.reasoning : run.content) += event.text;
        return;
    }
    if (event.call_idx + 1 != run.calls.size() || run.calls.back().ended) {
        complain("an event of a call that is not open");
        return;
    }
    if (event.kind == ParserEvent::Kind::kCallEnd)
        run.calls.back().ended = true;
    else
        run.calls.back().arguments += event.text;
}

// The events against the message: equal, but for a call that repeats a parameter.
inline void check_run(ServingRun& run) {
    const auto require = [&run](bool holds, const char* what) {
        if (!holds && run.problem.empty()) run.problem = what;
    };
    require(run.reasoning == run.message.reasoning, "joined reasoning differs from the message");
    require(run.content == run.message.content, "joined content differs from the message");
    require(run.calls.size() == run.message.tool_calls.size(), "calls differ from the message");
    if (!run.problem.empty()) return;
    for (size_t i = 0; i < run.calls.size(); ++i) {
        const ParsedCall& call = run.message.tool_calls[i];
        require(run.calls[i].name == call.name, "a call's name differs from the message");
        require(run.calls[i].ended == call.complete, "a call's end differs from the message");
        require(run.is_malformed || run.calls[i].arguments == call.arguments,
                "joined arguments differ from the message");
        for (const std::string_view json : {run.calls[i].arguments, call.arguments}) {
            if (!call.complete) continue;
            const auto arguments = parse_json(json);
            require(arguments && arguments->is_object(), "complete arguments are no JSON object");
        }
    }
}

// next_size: how many bytes the next push takes, asked before each.
template <typename NextSize>
ServingRun run_serving(std::string_view text, const ServingParserOptions& options,
                       const NextSize& next_size) {
    ServingRun run;
    ServingParser parser(options);
    std::vector<ParserEvent> events;
    while (!text.empty()) {
        const size_t size = std::clamp<size_t>(next_size(), 1, text.size());
        parser.push(text.substr(0, size), events);
        text.remove_prefix(size);
    }
    parser.finish(events);
    for (const ParserEvent& event : events) add_event(event, run);
    run.message = parser.message();
    run.stopped = parser.stopped();
    run.is_malformed = parser.is_malformed();
    run.repaired_values = parser.repaired_values();
    run.unwrapped_calls = parser.unwrapped_calls();
    check_run(run);
    return run;
}

inline ServingRun run_whole(std::string_view text, const ServingParserOptions& options = {}) {
    return run_serving(text, options, [&] { return text.size(); });
}

// One line that holds everything a run may differ in.
inline std::string shown(const ParsedMessage& message) {
    Json calls = Json::array();
    for (const ParsedCall& call : message.tool_calls)
        calls.push_back({call.name, call.arguments, call.complete});
    return dump_json({message.reasoning, message.content, calls});
}

inline std::string shown(const ServingRun& run) {
    Json calls = Json::array();
    for (const StreamedCall& call : run.calls)
        calls.push_back({call.name, call.arguments, call.ended});
    return shown(run.message) +
           dump_json({run.reasoning, run.content, calls, run.stopped, run.is_malformed,
                      run.repaired_values, run.unwrapped_calls, run.problem});
}

}  // namespace baleen
