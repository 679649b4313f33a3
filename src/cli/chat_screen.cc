#include "cli/chat_screen.h"

#include <unistd.h>

#include "cli/interrupt.h"
#include "cli/stdio.h"

namespace baleen::cli {
namespace {

constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr auto kShortPrefill = std::chrono::milliseconds(500);  // not worth a status line

double seconds_between(std::chrono::steady_clock::time_point from,
                       std::chrono::steady_clock::time_point to) {
    return std::chrono::duration<double>(to - from).count();
}

Error stopped() {
    return make_error(ErrorCode::kCancelled, "stopped");
}

}  // namespace

std::string for_terminal(std::string_view text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        const bool is_plain = byte >= 0x20 && byte != 0x7F;
        // U+0080 to U+009F: the second half of the control characters.
        const bool is_c1 =
            byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
        if (is_c1) {
            out += "\uFFFD";
            ++i;
        } else if (is_plain || text[i] == '\n' || text[i] == '\t') {
            out += text[i];
        } else {
            out += '^';
            out += static_cast<char>(byte ^ 0x40);
        }
    }
    return out;
}

std::string_view dim_on() {
    static const bool is_terminal = ::isatty(STDOUT_FILENO) == 1;
    return is_terminal ? "\033[2m" : "";
}

std::string_view dim_off() {
    return dim_on().empty() ? "" : "\033[22m";
}

ChatScreen::ChatScreen(bool shows_reasoning)
    : shows_reasoning_(shows_reasoning),
      has_terminal_(::isatty(STDOUT_FILENO) == 1),
      has_status_(::isatty(STDERR_FILENO) == 1) {}

Result<void> ChatScreen::prefill(size_t done, size_t total) {
    if (interrupted()) return stopped();
    if (Clock::now() - begun_ < kShortPrefill) return {};
    if (has_status_) {
        if (Clock::now() - status_drawn_ >= kRedraw)
            status(fmt::format("reading {} of {} tokens", done, total));
        return {};
    }
    if (!progress_) progress_ = std::make_unique<Progress>("prefill", Progress::Unit::kTokens);
    progress_->update(done, total);
    return {};
}

Result<void> ChatScreen::event(size_t choice, const ParserEvent& event,
                               const serve::Choice& so_far) {
    (void)choice;
    if (interrupted()) return stopped();
    last_ = Clock::now();
    if (tokens_ == 0) {
        first_ = last_;
        clear_status();
        progress_.reset();
    }
    tokens_ = so_far.tokens.size();
    reasoning_tokens_ = so_far.reasoning_tokens;
    using Kind = ParserEvent::Kind;
    switch (event.kind) {
        case Kind::kReasoning:
            TRY(begin(Part::kReasoning));
            reasoning_ += event.text;
            if (shows_reasoning_) return write(event.text);
            show_thinking();
            return {};
        case Kind::kContent:
            TRY(begin(Part::kContent));
            content_ += event.text;
            return write(event.text);
        case Kind::kCallBegin:
            TRY(begin(Part::kCall));
            return write(fmt::format("[{} ", event.text));
        case Kind::kCallArguments: return write(event.text);
        case Kind::kCallEnd: return write("]\n");
    }
    return {};
}

// Ends the part before: a line end where one is missing, and the sum of the reasoning.
Result<void> ChatScreen::begin(Part part) {
    if (part == part_ && part != Part::kCall) return {};
    if (part_ == Part::kReasoning) {
        if (shows_reasoning_) {
            TRY(write_stdout(dim_off()));
            TRY(write_stdout(in_line_ ? "\n\n" : "\n"));
            in_line_ = false;
        } else {
            clear_status();
            fmt::print(stderr, "{}thought: {} tokens, {:.1f} s{}\n", has_status_ ? "\033[2m" : "",
                       reasoning_tokens_, seconds_between(first_, last_),
                       has_status_ ? "\033[22m" : "");
        }
    } else if (in_line_) {
        TRY(write_stdout("\n"));
        in_line_ = false;
    }
    part_ = part;
    if (part == Part::kReasoning && shows_reasoning_) TRY(write_stdout(dim_on()));
    return {};
}

Result<void> ChatScreen::write(std::string_view text) {
    if (text.empty()) return {};
    in_line_ = text.back() != '\n';
    return write_stdout(has_terminal_ ? for_terminal(text) : std::string(text));
}

Result<void> ChatScreen::choice_ended(size_t choice, const serve::Choice& whole) {
    (void)choice;
    tokens_ = whole.tokens.size();
    return {};
}

Result<void> ChatScreen::keep_alive() {
    if (interrupted()) return stopped();
    if (part_ == Part::kReasoning && !shows_reasoning_) show_thinking();
    return {};
}

Result<void> ChatScreen::finish() {
    clear_status();
    progress_.reset();
    return begin(Part::kNone);
}

void ChatScreen::show_thinking() {
    if (!has_status_ || Clock::now() - status_drawn_ < kRedraw) return;
    status(fmt::format("thinking: {} tokens, {:.1f} s", reasoning_tokens_,
                       seconds_between(first_, Clock::now())));
}

void ChatScreen::status(const std::string& text) {
    status_drawn_ = Clock::now();
    status_shown_ = true;
    fmt::print(stderr, "\r\033[2m{}\033[22m\033[K", text);
    std::fflush(stderr);
}

void ChatScreen::clear_status() {
    if (!status_shown_) return;
    status_shown_ = false;
    fmt::print(stderr, "\r\033[K");
    std::fflush(stderr);
}

double ChatScreen::tokens_per_second() const {
    const double seconds = seconds_between(first_, last_);
    return tokens_ < 2 || seconds <= 0 ? 0 : static_cast<double>(tokens_ - 1) / seconds;
}

}  // namespace baleen::cli
