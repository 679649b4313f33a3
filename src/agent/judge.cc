#include "agent/judge.h"

#include <algorithm>
#include <set>

namespace baleen::agent {
namespace {

bool is_word_char(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_whole(std::string_view where, size_t begin, size_t end) {
    return (begin == 0 || !is_word_char(where[begin - 1])) &&
           (end == where.size() || !is_word_char(where[end]));
}

// The next place at or after `from` where text occurs, or npos.
size_t find_whole(std::string_view text, std::string_view where, size_t from) {
    for (size_t at = from; at + text.size() <= where.size(); ++at) {
        const std::string_view part = where.substr(at, text.size());
        const bool equal = std::ranges::equal(part, text, {}, lower, lower);
        if (equal && is_whole(where, at, at + text.size())) return at;
    }
    return std::string_view::npos;
}

// The last of the options in the reasoning; of two at one place the greater text.
std::optional<std::string> chosen_option(const std::vector<std::string>& options,
                                         std::string_view reasoning) {
    std::optional<std::pair<size_t, std::string>> last;
    for (const std::string& option : options)
        for (size_t at = find_whole(option, reasoning, 0); at != std::string_view::npos;
             at = find_whole(option, reasoning, at + std::max<size_t>(1, option.size())))
            last = last ? std::max(*last, std::pair(at, option)) : std::pair(at, option);
    if (!last) return std::nullopt;
    return last->second;
}

std::optional<std::string> chosen_number(size_t digits, std::string_view reasoning) {
    std::optional<std::string> last;
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    for (size_t begin = 0; begin < reasoning.size();) {
        size_t end = begin;
        while (end < reasoning.size() && is_digit(reasoning[end])) ++end;
        if (end - begin == digits && is_whole(reasoning, begin, end))
            last = reasoning.substr(begin, digits);
        begin = std::max(end, begin + 1);
    }
    return last;
}

std::optional<std::string> chosen(const ChoiceCheck& check, std::string_view reasoning) {
    return check.digits > 0 ? chosen_number(check.digits, reasoning)
                            : chosen_option(check.options, reasoning);
}

void check_choice(const Checks& checks, const TurnOutcome& outcome,
                  const std::vector<TurnOutcome>& earlier, std::vector<std::string>& found) {
    if (checks.reasoning) {
        const auto text = chosen(*checks.reasoning, outcome.reasoning);
        if (!text)
            found.push_back("the reasoning chooses nothing");
        else if (occurs(*text, outcome.answer))
            found.push_back(fmt::format("the answer tells '{}'", *text));
    } else if (checks.recall) {
        const auto text = chosen(*checks.recall, earlier[checks.recall_turn].reasoning);
        if (!text || !occurs(*text, outcome.answer)) {
            found.push_back(fmt::format("the answer lacks the choice '{}'", text.value_or("")));
            return;
        }
        for (const std::string& other : checks.recall->options)
            if (other != *text && occurs(other, outcome.answer))
                found.push_back(fmt::format("the answer names '{}' too", other));
    }
}

void check_files(const Checks& checks, const TurnOutcome& outcome,
                 std::vector<std::string>& found) {
    FileTexts expected = outcome.before;
    for (const auto& [path, text] : checks.files) {
        if (text)
            expected[path] = *text;
        else if (expected.erase(path) == 0)
            // NOTE: judge.py lets this pass. It happens where an earlier turn failed to make the
            // file, and doing nothing is no solution then.
            found.push_back(fmt::format("there was no file to be removed: {}", path));
    }
    std::set<std::string> wrong;
    const auto compare = [&](const FileTexts& a, const FileTexts& b) {
        for (const auto& [path, text] : a) {
            const auto other = b.find(path);
            if (other == b.end() || other->second != text) wrong.insert(path);
        }
    };
    compare(expected, outcome.after);
    compare(outcome.after, expected);
    for (const std::string& path : wrong) found.push_back(fmt::format("file differs: {}", path));
}

Result<std::vector<std::string>> text_list(const Json& json, const char* key) {
    std::vector<std::string> texts;
    if (!json_has(json, key)) return texts;
    const Json& list = json[key];
    const auto is_text = [](const Json& item) { return item.is_string(); };
    if (!list.is_array() || !std::ranges::all_of(list, is_text))
        return make_error(ErrorCode::kInvalidArgument, "{}: expected a list of texts", key);
    for (const Json& item : list) texts.push_back(item.get<std::string>());
    return texts;
}

Result<ChoiceCheck> choice_check(const Json& json, const char* key) {
    const Json& choice = json[key];
    if (!choice.is_object())
        return make_error(ErrorCode::kInvalidArgument, "{}: expected an object", key);
    ChoiceCheck check;
    check.options = TRY(text_list(choice, "options"));
    if (json_has(choice, "digits"))
        check.digits = static_cast<size_t>(TRY(json_int(choice, "digits", {1, 18})));
    if (check.options.empty() == (check.digits == 0))
        return make_error(ErrorCode::kInvalidArgument, "{}: expected options or digits", key);
    return check;
}

}  // namespace

bool occurs(std::string_view text, std::string_view where) {
    return find_whole(text, where, 0) != std::string_view::npos;
}

std::vector<std::string> failures(size_t needed_calls, const Checks& checks,
                                  const TurnOutcome& outcome,
                                  const std::vector<TurnOutcome>& earlier) {
    std::vector<std::string> found;
    for (const std::string& text : checks.answer)
        if (!occurs(text, outcome.answer))
            found.push_back(fmt::format("the answer lacks '{}'", text));
    const auto in_answer = [&](const std::string& text) { return occurs(text, outcome.answer); };
    if (!checks.any.empty() && std::ranges::none_of(checks.any, in_answer)) {
        std::string line = "the answer has none of:";
        for (const std::string& text : checks.any) line += " '" + text + "'";
        found.push_back(std::move(line));
    }
    if (needed_calls == 0 && outcome.calls > 0)
        found.push_back(fmt::format("{} calls where none is needed", outcome.calls));
    check_files(checks, outcome, found);
    check_choice(checks, outcome, earlier, found);
    return found;
}

Result<Checks> Checks::from_json(const Json& json, size_t turns_before) {
    if (!json.is_object())
        return make_error(ErrorCode::kInvalidArgument, "checks: expected an object");
    Checks checks;
    checks.answer = TRY(text_list(json, "answer"));
    checks.any = TRY(text_list(json, "any"));
    if (json_has(json, "files")) {
        if (!json["files"].is_object())
            return make_error(ErrorCode::kInvalidArgument, "files: expected an object");
        for (const auto& [path, text] : json["files"].items()) {
            if (!text.is_string() && !text.is_null())
                return make_error(ErrorCode::kInvalidArgument, "files: {}: expected a text or null",
                                  path);
            checks.files[path] =
                text.is_null() ? std::nullopt : std::optional(text.get<std::string>());
        }
    }
    if (json_has(json, "reasoning")) checks.reasoning = TRY(choice_check(json, "reasoning"));
    if (json_has(json, "recall")) {
        checks.recall = TRY(choice_check(json, "recall"));
        checks.recall_turn = static_cast<size_t>(
            TRY(json_int(json["recall"], "turn", {0, static_cast<int64_t>(turns_before) - 1})));
    }
    return checks;
}

}  // namespace baleen::agent
