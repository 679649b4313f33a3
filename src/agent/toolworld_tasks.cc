// The tasks of the tool world from their file.
#include "agent/toolworld.h"

namespace baleen::agent {
namespace {

Result<Json> member(const Json& object, const char* key, bool (*is_right)(const Json&),
                    const char* expected) {
    if (!object.is_object() || !json_has(object, key) || !is_right(object[key]))
        return make_error(ErrorCode::kInvalidArgument, "{}: expected {}", key, expected);
    return object[key];
}

bool is_list(const Json& json) {
    return json.is_array();
}

Result<ToolTask> parse_task(const Json& json, size_t turn) {
    if (!json.is_object()) return make_error(ErrorCode::kInvalidArgument, "expected an object");
    ToolTask task{.kind = TRY(json_string(json, "kind")), .user = TRY(json_string(json, "user"))};
    task.calls = static_cast<size_t>(TRY(json_int(json, "calls", {0, 1000})));
    task.checks =
        TRY(Checks::from_json(json_has(json, "checks") ? json["checks"] : Json::object(), turn));
    return task;
}

Result<Effort> parse_effort(const Json& session) {
    if (!json_has(session, "reasoning_effort")) return Effort::kUnnamed;
    const std::string name = TRY(json_string(session, "reasoning_effort"));
    if (name == "high") return Effort::kHigh;
    if (name == "max") return Effort::kMax;
    return make_error(ErrorCode::kInvalidArgument,
                      "reasoning_effort is '{}', expected null, high or max", name);
}

Result<ToolSession> parse_session(const Json& json) {
    if (!json.is_object()) return make_error(ErrorCode::kInvalidArgument, "expected an object");
    ToolSession session{.system = TRY(json_string(json, "system"))};
    session.has_tools =
        TRY(member(
                json, "tools", [](const Json& j) { return j.is_boolean(); }, "true or false"))
            .get<bool>();
    const std::string mode = TRY(json_string(json, "thinking_mode"));
    if (mode != "chat" && mode != "thinking")
        return make_error(ErrorCode::kInvalidArgument,
                          "thinking_mode is '{}', expected chat or thinking", mode);
    session.thinking_mode = mode == "chat" ? ThinkingMode::kChat : ThinkingMode::kThinking;
    session.effort = TRY(parse_effort(json));
    const Json files = TRY(member(
        json, "files", [](const Json& j) { return j.is_object(); }, "an object of texts"));
    for (const auto& [path, text] : files.items())
        session.files[path] = TRY(json_string(files, path));
    const Json turns = TRY(member(json, "turns", is_list, "a list"));
    for (size_t i = 0; i < turns.size(); ++i) {
        Result<ToolTask> task = parse_task(turns[i], i);
        if (!task) return std::move(task).error().in(fmt::format("turn {}", i));
        session.tasks.push_back(std::move(*task));
    }
    return session;
}

}  // namespace

std::string ToolSession::mode() const {
    if (thinking_mode == ThinkingMode::kChat) return "chat";
    return effort == Effort::kMax    ? "thinking max"
           : effort == Effort::kHigh ? "thinking high"
                                     : "thinking";
}

Result<ToolTaskSet> ToolTaskSet::parse(std::string_view text) {
    const Json json = TRY(parse_json(text));
    ToolTaskSet set;
    for (const Json& tool : TRY(member(json, "tools", is_list, "a list")))
        set.tools.push_back(dump_json(tool));
    const Json sessions = TRY(member(json, "sessions", is_list, "a list"));
    for (size_t i = 0; i < sessions.size(); ++i) {
        Result<ToolSession> session = parse_session(sessions[i]);
        if (!session) return std::move(session).error().in(fmt::format("session {}", i));
        set.sessions.push_back(std::move(*session));
    }
    if (set.sessions.empty()) return make_error(ErrorCode::kInvalidArgument, "no sessions");
    return set;
}

}  // namespace baleen::agent
