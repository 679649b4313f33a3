#include "cli/chat_loop.h"

#include <unistd.h>

#include "base/file.h"
#include "cli/chat_screen.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/stdio.h"

namespace baleen::cli {
namespace {

constexpr size_t kChatBytesMax = size_t{64} << 20;

constexpr std::string_view kHelp =
    "/think high|max|off   how long to think before an answer\n"
    "/reasoning on|off     show the reasoning, or only how long it is\n"
    "/system TEXT          the system prompt; without TEXT: none\n"
    "/retry                answer the last message again\n"
    "/undo                 take the last message and its answer back\n"
    "/new                  begin a new conversation\n"
    "/save FILE            write the conversation as JSON (`baleen render` reads it)\n"
    "/load FILE            go on with a conversation that was saved\n"
    "/context              tokens, KV memory and what was cached\n"
    "/help                 this list\n"
    "/quit                 leave\n"
    "A message that begins with a slash: //like this. Ctrl-J puts a line end into a message.\n"
    "Ctrl-C stops an answer; at the empty prompt twice, or Ctrl-D, leaves.\n";

std::string first_line(const std::string& text) {
    constexpr size_t kShown = 60;
    std::string line = text.substr(0, text.find('\n'));
    if (line.size() <= kShown && line.size() == text.size()) return line;
    size_t end = std::min(line.size(), kShown);
    while (end > 0 && end < line.size() && (static_cast<unsigned char>(line[end]) & 0xC0) == 0x80)
        --end;
    return line.substr(0, end) + "...";
}

}  // namespace

ChatLoop::ChatLoop(serve::Service& service, ChatSession& session, Options options)
    : service_(service),
      session_(session),
      editor_(std::move(options.history)),
      shows_reasoning_(options.reasoning) {}

void ChatLoop::note(std::string_view text) const {
    const bool is_terminal = ::isatty(STDERR_FILENO) == 1;
    fmt::print(stderr, "{}{}{}\n", is_terminal ? "\033[2m" : "", text,
               is_terminal ? "\033[22m" : "");
}

void ChatLoop::complain(const Error& error) {
    has_failed_ = true;
    fmt::print(stderr, "baleen: {}\n", error.message);
}

Result<int> ChatLoop::run() {
    if (editor_.is_terminal())
        note(fmt::format("thinking {}, up to {} tokens; /help lists the commands",
                         thinking_name(session_.settings().thinking),
                         service_.options.context_tokens_max));
    for (;;) {
        forget_interrupt();
        const LineEditor::Line line = TRY(editor_.read("> "));
        using Kind = LineEditor::Line::Kind;
        if (line.kind == Kind::kEnd) break;
        if (line.kind == Kind::kInterrupted) {
            if (interrupted_at_prompt(line.text) == Next::kLeave) return kExitInterrupted;
            continue;
        }
        asked_to_leave_ = false;
        if (line.text.find_first_not_of(" \t\n") == std::string::npos) continue;
        if (line.text[0] == '/' && !line.text.starts_with("//")) {
            if (TRY(obey(line.text)) == Next::kLeave) break;
            continue;
        }
        session_.say(line.text.starts_with("//") ? line.text.substr(1) : line.text);
        TRY(converse());
    }
    // On a terminal the user has seen what failed.
    return has_failed_ && !editor_.is_terminal() ? kExitFailed : kExitOk;
}

ChatLoop::Next ChatLoop::interrupted_at_prompt(const std::string& typed) {
    if (!editor_.is_terminal()) return Next::kLeave;
    if (typed.empty() && asked_to_leave_) return Next::kLeave;
    asked_to_leave_ = typed.empty();
    if (asked_to_leave_) note("Ctrl-C once more, or Ctrl-D, leaves");
    return Next::kGoOn;
}

Result<void> ChatLoop::converse() {
    while (TRY(answer())) {
    }
    return {};
}

Result<bool> ChatLoop::answer() {
    forget_interrupt();
    ChatScreen screen(shows_reasoning_);
    const auto turn = session_.answer(screen);
    TRY(screen.finish());
    if (!turn && turn.error().code == ErrorCode::kCancelled) {
        if (!screen.reasoning().empty() || !screen.content().empty())
            session_.keep(screen.reasoning(), screen.content());
        note(fmt::format("stopped after {} tokens", screen.tokens()));
        return false;
    }
    if (!turn) {
        if (turn.error().code == ErrorCode::kIo) return turn.error();
        complain(turn.error());
        session_.undo();  // what cannot be answered would fail again with the next message
        note("your last message is not kept");
        return false;
    }
    usage_ = turn->usage;
    note_turn(*turn, screen.tokens_per_second());
    if (turn->message.tool_calls.empty()) return false;
    return ask_results(turn->message.tool_calls);
}

void ChatLoop::note_turn(const ChatSession::Turn& turn, double tokens_per_second) {
    for (const std::string& warning : turn.warnings) note(warning);
    if (turn.finish == serve::Finish::kLength) note("cut off: the limit of tokens was reached");
    if (!editor_.is_terminal()) return;
    const serve::Usage& usage = turn.usage;
    note(fmt::format("{} tokens, {:.1f} tok/s; context {} of {}, {} cached",
                     usage.completion_tokens, tokens_per_second,
                     usage.prompt_tokens + usage.completion_tokens,
                     service_.options.context_tokens_max, usage.cached_tokens));
}

// Every call gets a result, so that the conversation stays whole.
Result<bool> ChatLoop::ask_results(const std::vector<ToolCall>& calls) {
    if (!session_.has_tools()) {
        for (const ToolCall& call : calls)
            session_.give_result(call, fmt::format("error: there is no tool {}", call.name));
        note("no tools are declared (--tools): the calls stay without a result");
        return false;
    }
    bool goes_on = true;
    for (const ToolCall& call : calls) {
        LineEditor::Line line;
        if (goes_on) {
            forget_interrupt();
            line =
                TRY(editor_.read(for_terminal(call.name) + " gives: ", LineEditor::History::kNone));
        }
        goes_on = goes_on && line.kind == LineEditor::Line::Kind::kText;
        session_.give_result(call, goes_on ? line.text : "(no result: the user went on)");
    }
    return goes_on;
}

Result<ChatLoop::Next> ChatLoop::obey(std::string_view line) {
    const size_t space = std::min(line.find(' '), line.size());
    std::string_view argument = line.substr(space);
    argument.remove_prefix(std::min(argument.find_first_not_of(' '), argument.size()));
    auto next = obey(line.substr(1, space - 1), argument);
    if (next) return *next;
    complain(next.error());
    return Next::kGoOn;
}

Result<ChatLoop::Next> ChatLoop::obey(std::string_view command, std::string_view argument) {
    if (command == "quit" || command == "exit") return Next::kLeave;
    if (command == "help") {
        fmt::print(stderr, "{}", kHelp);
    } else if (command == "think") {
        session_.settings().thinking = TRY(parse_thinking(argument));
        note(fmt::format("thinking {}", argument));
    } else if (command == "reasoning") {
        if (argument != "on" && argument != "off")
            return make_error(ErrorCode::kInvalidArgument, "/reasoning is '{}', expected on or off",
                              argument);
        shows_reasoning_ = argument == "on";
    } else if (command == "system") {
        session_.settings().system = argument;
        note(argument.empty() ? "no system prompt" : "system prompt set");
    } else if (command == "new") {
        session_.clear();
        usage_ = {};
        note("a new conversation");
    } else if (command == "undo") {
        const auto text = session_.undo();
        note(text ? "taken back: " + for_terminal(first_line(*text)) : "nothing to take back");
    } else if (command == "retry") {
        if (!session_.retract_answer())
            return make_error(ErrorCode::kInvalidArgument, "/retry: no message to answer yet");
        TRY(converse());
    } else if (command == "save") {
        TRY(save(std::string(argument)));
    } else if (command == "load") {
        TRY(load(std::string(argument)));
    } else if (command == "context") {
        show_context();
    } else {
        return make_error(ErrorCode::kInvalidArgument, "no command /{} (see /help)", command);
    }
    return Next::kGoOn;
}

Result<void> ChatLoop::save(const std::string& path) {
    if (path.empty()) return make_error(ErrorCode::kInvalidArgument, "/save FILE: no file given");
    TRY(write_file_atomically(path, session_.to_json()));
    note(fmt::format("{} messages saved", session_.size()));
    return {};
}

Result<void> ChatLoop::load(const std::string& path) {
    if (path.empty()) return make_error(ErrorCode::kInvalidArgument, "/load FILE: no file given");
    const auto loaded = session_.load_json(TRY(read_file(path, kChatBytesMax)));
    if (!loaded) return Error(loaded.error()).in(path);
    usage_ = {};
    note(fmt::format("{} messages loaded", session_.size()));
    return {};
}

void ChatLoop::show_context() {
    const SchedulerStats stats = service_.scheduler.stats();
    fmt::print(stderr,
               "{} messages; last answer: prompt {} tokens ({} cached), {} tokens written ({} of "
               "reasoning), {} of {} in all; KV {}\n",
               session_.size(), usage_.prompt_tokens, usage_.cached_tokens,
               usage_.completion_tokens, usage_.reasoning_tokens,
               usage_.prompt_tokens + usage_.completion_tokens, service_.options.context_tokens_max,
               bytes_text(stats.kv_bytes_in_use));
}

}  // namespace baleen::cli
