#include "serve/script.h"

#include <algorithm>

#include "base/check.h"
#include "base/file.h"
#include "text/dsml_writer.h"
#include "text/prompt_writer.h"

namespace baleen::serve {
namespace {

constexpr size_t kScriptBytesMax = size_t{64} << 20;

std::string_view role_name(Role role) {
    switch (role) {
        case Role::kSystem: return "system";
        case Role::kDeveloper: return "developer";
        case Role::kUser: return "user";
        case Role::kAssistant: return "assistant";
        case Role::kTool: return "tool";
        case Role::kLatestReminder: return "latest_reminder";
    }
    return "";
}

Result<std::optional<std::string>> optional_string(const Json& object, std::string_view key) {
    if (!json_has(object, key)) return std::optional<std::string>();
    return std::optional<std::string>(TRY(json_string(object, key)));
}

Result<std::optional<bool>> optional_bool(const Json& object, std::string_view key) {
    if (!json_has(object, key)) return std::optional<bool>();
    const Json& value = object[std::string(key)];
    if (!value.is_boolean())
        return make_error(ErrorCode::kInvalidArgument, "{} is {}, expected true or false", key,
                          dump_json(value));
    return std::optional<bool>(value.get<bool>());
}

Result<std::vector<ToolCall>> read_calls(const Json& list) {
    if (!list.is_array()) return make_error(ErrorCode::kInvalidArgument, "tool_calls is no list");
    std::vector<ToolCall> calls;
    for (const Json& item : list) {
        ToolCall call;
        call.name = TRY(json_string(item, "name"));
        call.arguments = "{}";
        if (json_has(item, "arguments")) {
            const Json& arguments = item["arguments"];
            call.arguments =
                arguments.is_string() ? arguments.get<std::string>() : dump_json(arguments);
        }
        calls.push_back(std::move(call));
    }
    return calls;
}

}  // namespace

Result<Script::Turn> Script::read_turn(const Json& json) {
    if (!json.is_object()) return make_error(ErrorCode::kInvalidArgument, "is no object");
    Turn turn;
    if (json_has(json, "when")) {
        const Json& when = json["when"];
        turn.api = TRY(optional_string(when, "api"));
        turn.tools = TRY(optional_bool(when, "tools"));
        turn.last_role = TRY(optional_string(when, "last_role"));
        turn.contains = TRY(optional_string(when, "contains")).value_or("");
    }
    turn.reasoning = TRY(optional_string(json, "reasoning"));
    turn.content = TRY(optional_string(json, "content")).value_or("");
    turn.raw = TRY(optional_string(json, "raw"));
    turn.repeat = TRY(optional_bool(json, "repeat")).value_or(false);
    if (json_has(json, "tool_calls")) turn.tool_calls = TRY(read_calls(json["tool_calls"]));
    return turn;
}

Result<std::unique_ptr<Script>> Script::parse(std::string_view text) {
    const Json json = TRY(parse_json(text));
    auto script = std::make_unique<Script>();
    if (!json.is_object() || !json.contains("turns") || !json["turns"].is_array())
        return make_error(ErrorCode::kInvalidArgument,
                          "expected an object with the list \"turns\"");
    for (size_t i = 0; i < json["turns"].size(); ++i) {
        auto turn = read_turn(json["turns"][i]);
        if (!turn) return std::move(turn).error().in(fmt::format("turn {}", i));
        script->turns_.push_back(*std::move(turn));
    }
    if (json_has(json, "otherwise")) {
        auto turn = read_turn(json["otherwise"]);
        if (!turn) return std::move(turn).error().in("otherwise");
        script->otherwise_ = *std::move(turn);
    }
    return script;
}

Result<std::unique_ptr<Script>> Script::load(const std::string& path) {
    auto script = parse(TRY(read_file(path, kScriptBytesMax)));
    if (!script) return std::move(script).error().in(path);
    return script;
}

bool Script::matches(const Turn& turn, const Job& job) {
    if (turn.api && *turn.api != api_name(job.api)) return false;
    if (turn.tools && *turn.tools == job.tools.empty()) return false;
    const auto& messages = job.conversation.messages;
    if (messages.empty()) return !turn.last_role && turn.contains.empty();
    const Message& last = messages.back();
    if (turn.last_role && *turn.last_role != role_name(last.role)) return false;
    if (turn.contains.empty()) return true;
    return std::ranges::any_of(last.content, [&](const ContentPart& part) {
        return part.text.find(turn.contains) != std::string::npos;
    });
}

// What a well-behaved model would write: the message in canonical form.
Result<Prompt> Script::completion(const Turn& turn, const Job& job, bool in_reasoning) {
    PromptWriter writer;
    if (turn.raw) {
        writer.fixed(*turn.raw);
    } else {
        if (in_reasoning) {
            writer.text(turn.reasoning.value_or(""));
            writer.control(kThinkClose);
        }
        writer.text(turn.content);
        if (!turn.tool_calls.empty()) {
            writer.text("\n\n");
            TRY(write_calls(turn.tool_calls, job.conversation.dialect, writer));
        }
    }
    return Prompt{.pieces = writer.take(), .message_ends = {}, .in_reasoning = false};
}

Result<Script::Answer> Script::answer(const Job& job, bool in_reasoning) {
    const std::lock_guard lock(mutex_);
    for (size_t i = 0; i < turns_.size(); ++i) {
        Turn& turn = turns_[i];
        if ((turn.used && !turn.repeat) || !matches(turn, job)) continue;
        turn.used = true;
        return Answer{.turn = i, .completion = TRY(completion(turn, job, in_reasoning))};
    }
    if (!otherwise_)
        return make_error(
            ErrorCode::kNotFound,
            "no turn of the script answers this request, and it has no \"otherwise\"");
    return Answer{.turn = std::nullopt,
                  .completion = TRY(completion(*otherwise_, job, in_reasoning))};
}

TokenConstraint::Restriction ForcedTokens::restrict_next(std::span<uint64_t> allowed,
                                                         int64_t remaining) {
    (void)remaining;
    if (next_ == tokens_.size()) return Restriction::kFinished;
    std::ranges::fill(allowed, uint64_t{0});
    const auto id = static_cast<size_t>(tokens_[next_]);
    allowed[id / 64] |= uint64_t{1} << (id % 64);
    return Restriction::kMasked;
}

void ForcedTokens::accept(TokenId token) {
    CHECK_LT(next_, tokens_.size());
    CHECK_EQ(token, tokens_[next_]);
    ++next_;
}

}  // namespace baleen::serve
