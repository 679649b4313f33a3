#include "agent/shell_tool.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "agent/confinement.h"
#include "agent/world_path.h"

namespace baleen::agent {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kTimedOut = 124;
constexpr int kTooMuchOutput = 125;
constexpr int kNotFound = 127;

Error failed(const char* what) {
    return make_error(ErrorCode::kIo, "shell: {}: {}", what, std::strerror(errno));
}

class Descriptor {
  public:
    explicit Descriptor(int fd = -1) : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Descriptor() { close(); }
    void close() {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }
    int get() const { return fd_; }

  private:
    int fd_;
};

struct Pipe {
    Descriptor read, write;

    static Result<Pipe> open() {
        int fds[2];
        if (::pipe2(fds, O_CLOEXEC) != 0) return failed("pipe");
        return Pipe{Descriptor(fds[0]), Descriptor(fds[1])};
    }
};

// Everything that the child needs, so that between fork and exec it makes system calls only.
struct Launch {
    const char* program = nullptr;       // its path
    std::vector<const char*> arguments;  // the program's name first; ends in null
    int folder = -1;
    int input = -1, output = -1, errors = -1, status = -1;
    const Confinement* confinement = nullptr;
    const ShellLimits* limits = nullptr;
};

bool set_limit(decltype(RLIMIT_CPU) resource, size_t value) {
    const rlimit limit{value, value};
    return ::setrlimit(resource, &limit) == 0;
}

bool set_limits(const ShellLimits& limits) {
    return set_limit(RLIMIT_CPU, static_cast<size_t>(limits.cpu_seconds_max)) &&
           set_limit(RLIMIT_FSIZE, limits.file_bytes_max) &&
           set_limit(RLIMIT_AS, limits.memory_bytes_max) &&
           set_limit(RLIMIT_NOFILE, static_cast<size_t>(limits.open_files_max)) &&
           set_limit(RLIMIT_CORE, 0);
}

[[noreturn]] void run_child(const Launch& launch) {
    constexpr unsigned kCloseOnExec = 1U << 2;  // CLOSE_RANGE_CLOEXEC
    static constexpr std::array<const char*, 4> kEnvironment = {"PATH=/usr/local/bin:/usr/bin:/bin",
                                                                "LC_ALL=C", "HOME=.", nullptr};
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    ::umask(022);
    const bool ready = ::setpgid(0, 0) == 0 && ::fchdir(launch.folder) == 0 &&
                       ::dup2(launch.input, 0) == 0 && ::dup2(launch.output, 1) == 1 &&
                       ::dup2(launch.errors, 2) == 2 &&
                       ::syscall(SYS_close_range, 3U, ~0U, kCloseOnExec) == 0 &&
                       set_limits(*launch.limits) && launch.confinement->put_on();
    if (ready)
        ::execve(launch.program, const_cast<char* const*>(launch.arguments.data()),
                 const_cast<char* const*>(kEnvironment.data()));
    const int error = errno;
    const ssize_t ignored = ::write(launch.status, &error, sizeof(error));
    (void)ignored;
    ::_exit(kNotFound);
}

// A running command: its process group ends with this object at the latest.
class Child {
  public:
    static Result<Child> start(const Launch& launch, Pipe& status) {
        const pid_t pid = ::fork();
        if (pid < 0) return failed("fork");
        if (pid == 0) run_child(launch);
        Child child(pid);
        status.write.close();
        int error = 0;
        ssize_t got;
        while ((got = ::read(status.read.get(), &error, sizeof(error))) < 0 && errno == EINTR) {
        }
        if (got == 0) return child;  // closed by exec
        errno = error;
        return failed(launch.program);
    }
    Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
    Child& operator=(Child&&) = delete;
    ~Child() {
        if (pid_ > 0) wait();
    }

    // Readable once the command itself has ended, whatever it left running.
    Descriptor descriptor() const {
        return Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    }
    // The group's leader has not been waited for, so its id is still its own.
    void kill_group() const { ::kill(-pid_, SIGKILL); }
    // The exit code, or 128 and the signal.
    int wait() {
        kill_group();
        int status = 0;
        while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
        }
        pid_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }

  private:
    explicit Child(pid_t pid) : pid_(pid) {}
    pid_t pid_;
};

// One stream of a command's output.
struct Stream {
    Descriptor fd;
    std::string text = {};

    // False when the limit is passed.
    bool read_some(size_t bytes_max) {
        std::array<char, 4096> buffer;
        const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) return true;
        if (got <= 0) {
            fd.close();
            return true;
        }
        text.append(buffer.data(), static_cast<size_t>(got));
        return text.size() <= bytes_max;
    }
};

std::string without_newlines(std::string text) {
    while (text.ends_with('\n')) text.pop_back();
    return text;
}

// Reads both streams until the command has ended and they are empty, or a limit is reached; then
// that limit's exit code.
std::optional<int> watch(const Child& child, Stream& output, Stream& errors,
                         const ShellLimits& limits) {
    const auto deadline = Clock::now() + limits.time_max;
    Descriptor ended = child.descriptor();
    while (output.fd.get() >= 0 || errors.fd.get() >= 0 || ended.get() >= 0) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
        if (left <= 0) return kTimedOut;
        // Closed descriptors are negative, which poll passes over.
        std::array<pollfd, 3> polled = {pollfd{output.fd.get(), POLLIN, 0},
                                        pollfd{errors.fd.get(), POLLIN, 0},
                                        pollfd{ended.get(), POLLIN, 0}};
        if (::poll(polled.data(), polled.size(), static_cast<int>(left)) < 0) continue;
        if (polled[0].revents != 0 && !output.read_some(limits.output_bytes_max))
            return kTooMuchOutput;
        if (polled[1].revents != 0 && !errors.read_some(limits.output_bytes_max))
            return kTooMuchOutput;
        if (polled[2].revents != 0) {
            child.kill_group();  // what it left running holds the pipes open
            ended.close();
        }
    }
    return std::nullopt;
}

Result<std::string> run(Launch launch, const std::string& folder, const ShellLimits& limits) {
    const Descriptor directory(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (directory.get() < 0) return failed(folder.c_str());
    const Descriptor nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (nothing.get() < 0) return failed("/dev/null");
    Pipe output = TRY(Pipe::open()), errors = TRY(Pipe::open()), status = TRY(Pipe::open());
    launch.folder = directory.get();
    launch.input = nothing.get();
    launch.output = output.write.get();
    launch.errors = errors.write.get();
    launch.status = status.write.get();
    launch.limits = &limits;
    Child child = TRY(Child::start(launch, status));
    output.write.close();
    errors.write.close();
    Stream out{std::move(output.read)}, err{std::move(errors.read)};
    const std::optional<int> stopped = watch(child, out, err, limits);
    const int code = child.wait();
    if (stopped == kTimedOut)
        return fmt::format("exit {}: stopped after {} ms", kTimedOut, limits.time_max.count());
    if (stopped == kTooMuchOutput)
        return fmt::format("exit {}: more than {} bytes of output", kTooMuchOutput,
                           limits.output_bytes_max);
    if (code != 0) return fmt::format("exit {}: {}", code, without_newlines(std::move(err.text)));
    std::string text = without_newlines(std::move(out.text));
    return text.empty() ? "(no output)" : text;
}

std::vector<std::string> split(std::string_view command) {
    constexpr std::string_view kBlanks = " \t\n\v\f\r";
    std::vector<std::string> words;
    while (true) {
        const size_t begin = command.find_first_not_of(kBlanks);
        if (begin == std::string_view::npos) return words;
        const size_t end = std::min(command.find_first_of(kBlanks, begin), command.size());
        words.emplace_back(command.substr(begin, end - begin));
        command.remove_prefix(end);
    }
}

// Program and options -> operands; every operand but the first of head and tail is a path.
const std::map<std::string, size_t, std::less<>> kListedCommands = {
    {"wc -l", 1},   {"cat", 1}, {"sort", 1}, {"sort -r", 1}, {"sort -n", 1}, {"head -n", 2},
    {"tail -n", 2}, {"cp", 2},  {"mv", 2},   {"rm", 1},      {"ls", 1},      {"mkdir -p", 1}};

// Whether words are a listed command on paths below the folder, with nothing that a program could
// take for an option.
bool is_listed(const std::vector<std::string>& words) {
    for (const size_t count : {size_t{2}, size_t{1}}) {
        if (words.size() < count) continue;
        const auto found = kListedCommands.find(count == 2 ? words[0] + " " + words[1] : words[0]);
        if (found == kListedCommands.end() || words.size() != count + found->second) continue;
        return std::all_of(words.begin() + static_cast<long>(count), words.end(),
                           [](const std::string& word) {
                               return !word.starts_with('-') && normal_path(word).has_value();
                           });
    }
    return false;
}

}  // namespace

ShellMode best_shell_mode() {
    return can_confine_files() && can_filter_calls() ? ShellMode::kConfined : ShellMode::kListed;
}

Result<std::string> run_shell_command(const std::string& command, const std::string& folder,
                                      ShellMode mode, const ShellLimits& limits) {
    if (command.find('\0') != std::string::npos)
        return fmt::format("exit {}: sh: the command has a zero byte", kNotFound);
    if (mode == ShellMode::kConfined) {
        const Confinement confinement = TRY(Confinement::prepare(folder));
        return run({.program = "/bin/sh",
                    .arguments = {"sh", "-c", command.c_str(), nullptr},
                    .confinement = &confinement},
                   folder, limits);
    }
    const std::vector<std::string> words = split(command);
    if (!is_listed(words))
        return fmt::format("exit {}: sh: 1: {}: not found", kNotFound,
                           words.empty() ? "" : words[0]);
    const Confinement confinement = Confinement::without_files();
    const std::string program = "/usr/bin/" + words[0];
    Launch launch{.program = program.c_str(), .confinement = &confinement};
    for (const std::string& word : words) launch.arguments.push_back(word.c_str());
    launch.arguments.push_back(nullptr);
    return run(std::move(launch), folder, limits);
}

}  // namespace baleen::agent
