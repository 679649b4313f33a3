#include "cli/line_editor.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "cli/interrupt.h"
#include "cli/line_buffer.h"
#include "cli/stdio.h"

namespace baleen::cli {

// The terminal as an editor needs it, from begin to end: keys come as they are pressed and are not
// echoed, so that what is typed during an answer is the beginning of the next line.
class LineEditor::RawMode {
  public:
    RawMode() {
        is_set_ = ::tcgetattr(STDIN_FILENO, &before_) == 0;
        raw_ = before_;
        raw_.c_iflag &= ~static_cast<tcflag_t>(ICRNL | INLCR | IXON);
        raw_.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | IEXTEN);
        raw_.c_cc[VMIN] = 1;
        raw_.c_cc[VTIME] = 0;
        set(raw_);
    }
    ~RawMode() { set(before_); }
    RawMode(const RawMode&) = delete;
    RawMode& operator=(const RawMode&) = delete;

    // While a line is read, Ctrl-C is a key and pasted text comes marked.
    void begin_line() {
        termios line = raw_;
        line.c_lflag &= ~static_cast<tcflag_t>(ISIG);
        set(line);
        (void)write_stdout("\033[?2004h");
    }
    void end_line() {
        (void)write_stdout("\033[?2004l");
        set(raw_);
    }

  private:
    void set(const termios& mode) {
        if (is_set_) ::tcsetattr(STDIN_FILENO, TCSADRAIN, &mode);
    }

    termios before_{};
    termios raw_{};
    bool is_set_ = false;
};

namespace {

constexpr size_t kHistoryLinesMax = 1000;
constexpr size_t kHistoryBytesMax = size_t{16} << 20;
constexpr size_t kLineBytesMax = size_t{64} << 20;
constexpr int kPollMs = 50;

size_t terminal_columns() {
    winsize size{};
    const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : 80;
}

// One line per entry: a backslash and line ends inside are escaped.
std::string escaped(std::string_view line) {
    std::string out;
    for (const char c : line) {
        if (c == '\n')
            out += "\\n";
        else if (c == '\\')
            out += "\\\\";
        else
            out += c;
    }
    return out;
}

std::string unescaped(std::string_view line) {
    std::string out;
    for (size_t i = 0; i < line.size(); ++i) {
        if (line[i] == '\\' && i + 1 < line.size())
            out += line[++i] == 'n' ? '\n' : line[i];
        else
            out += line[i];
    }
    return out;
}

Result<void> draw(std::string_view prompt, const LineBuffer& line) {
    const size_t columns = terminal_columns();
    const size_t room = columns > prompt.size() + 8 ? columns - prompt.size() - 1 : 8;
    const LineBuffer::View view = line.view(room);
    return write_stdout(fmt::format("\r{}{}\033[K\r\033[{}C", prompt, view.text,
                                    prompt.size() + view.cursor_column));
}

// Walks the history with up and down; what was typed comes back below its last line.
class HistoryWalk {
  public:
    explicit HistoryWalk(const std::vector<std::string>& lines)
        : lines_(lines), at_(lines.size()) {}

    void move(Key key, LineBuffer& line) {
        const bool goes_up = key == Key::kUp;
        if (goes_up ? at_ == 0 : at_ == lines_.size()) return;
        if (at_ == lines_.size()) typed_ = line.text();
        at_ += goes_up ? size_t(-1) : 1;
        line.set(at_ == lines_.size() ? typed_ : lines_[at_]);
    }

  private:
    const std::vector<std::string>& lines_;
    size_t at_;
    std::string typed_;
};

}  // namespace

LineEditor::LineEditor(std::string history_path)
    : is_terminal_(::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1),
      history_path_(std::move(history_path)) {
    if (!is_terminal_) return;
    raw_mode_ = std::make_unique<RawMode>();
    if (!history_path_.empty()) load_history();
}

LineEditor::~LineEditor() = default;

Result<LineEditor::Line> LineEditor::read(std::string_view prompt, History history) {
    if (!is_terminal_) return read_pipe();
    raw_mode_->begin_line();
    auto read = read_terminal(prompt);
    raw_mode_->end_line();
    Line line = TRY(std::move(read));
    if (line.kind == Line::Kind::kText && history == History::kKeep) remember(line.text);
    return line;
}

Result<std::optional<char>> LineEditor::next_byte() {
    while (buffer_used_ == buffer_.size()) {
        if (interrupted()) return std::optional<char>();
        pollfd wait{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
        if (::poll(&wait, 1, kPollMs) <= 0) continue;  // a signal may have come to another thread
        buffer_.resize(4096);
        const ssize_t n = ::read(STDIN_FILENO, buffer_.data(), buffer_.size());
        buffer_.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
        buffer_used_ = 0;
        if (n < 0 && errno == EINTR) continue;
        if (n == 0 || errno == EIO) return std::optional<char>();  // EIO: the terminal has gone
        if (n < 0)
            return make_error(ErrorCode::kIo, "stdin: cannot read: {}", std::strerror(errno));
    }
    return std::optional(buffer_[buffer_used_++]);
}

Result<LineEditor::Line> LineEditor::read_pipe() {
    Line line{.kind = Line::Kind::kText, .text = ""};
    for (;;) {
        const std::optional<char> byte = TRY(next_byte());
        if (!byte && interrupted()) return Line{Line::Kind::kInterrupted, std::move(line.text)};
        if (!byte && line.text.empty()) return Line{Line::Kind::kEnd, ""};
        if (!byte || *byte == '\n') break;
        line.text += *byte;
        if (line.text.size() > kLineBytesMax)
            return make_error(ErrorCode::kExhausted, "stdin: a line of more than {} bytes",
                              kLineBytesMax);
    }
    if (line.text.ends_with('\r')) line.text.pop_back();
    return line;
}

Result<LineEditor::Line> LineEditor::read_terminal(std::string_view prompt) {
    KeyDecoder decoder;
    LineBuffer line;
    HistoryWalk walk(history_);
    TRY(draw(prompt, line));
    for (;;) {
        const std::optional<char> byte = TRY(next_byte());
        if (!byte) {
            const bool by_signal = interrupted();
            TRY(write_stdout("\r\n"));
            return Line{by_signal ? Line::Kind::kInterrupted : Line::Kind::kEnd, line.text()};
        }
        const auto press = decoder.push(*byte);
        if (!press) continue;
        switch (press->key) {
            case Key::kText: line.insert(press->text); break;
            case Key::kUp:
            case Key::kDown: walk.move(press->key, line); break;
            case Key::kClear: TRY(write_stdout("\033[H\033[2J")); break;
            case Key::kEndOfInput:
                if (!line.text().empty()) {
                    line.apply(Key::kDelete);
                    break;
                }
                [[fallthrough]];
            case Key::kEnter:
            case Key::kInterrupt: {
                line.apply(Key::kEnd);
                TRY(draw(prompt, line));
                TRY(write_stdout("\r\n"));
                using Kind = Line::Kind;
                const Kind kind = press->key == Key::kEnter       ? Kind::kText
                                  : press->key == Key::kInterrupt ? Kind::kInterrupted
                                                                  : Kind::kEnd;
                return Line{kind, line.text()};
            }
            default: line.apply(press->key);
        }
        if (buffer_used_ == buffer_.size()) TRY(draw(prompt, line));  // not within a paste
    }
}

void LineEditor::load_history() {
    const auto text = read_file(history_path_, kHistoryBytesMax);
    if (!text) return;
    std::string_view rest = *text;
    while (!rest.empty()) {
        const size_t end = std::min(rest.find('\n'), rest.size());
        if (end > 0) history_.push_back(unescaped(rest.substr(0, end)));
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    if (history_.size() <= 2 * kHistoryLinesMax) return;
    history_.erase(history_.begin(), history_.end() - kHistoryLinesMax);
    std::string kept;
    for (const std::string& line : history_) kept += escaped(line) + "\n";
    (void)write_file_atomically(history_path_, kept);
}

void LineEditor::remember(const std::string& line) {
    if (line.empty() || (!history_.empty() && history_.back() == line)) return;
    history_.push_back(line);
    if (history_path_.empty()) return;
    std::error_code ignored;
    std::filesystem::create_directories(std::filesystem::path(history_path_).parent_path(),
                                        ignored);
    const int fd = ::open(history_path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return;
    const std::string entry = escaped(line) + "\n";
    const ssize_t written = ::write(fd, entry.data(), entry.size());
    (void)written;
    ::close(fd);
}

std::string default_history_path() {
    const char* const state = std::getenv("XDG_STATE_HOME");
    if (state != nullptr && *state == '/') return std::string(state) + "/baleen/chat_history";
    const char* const home = std::getenv("HOME");
    if (home == nullptr || *home != '/') return "";
    return std::string(home) + "/.local/state/baleen/chat_history";
}

}  // namespace baleen::cli
