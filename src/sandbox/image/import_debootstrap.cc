// import_debootstrap: Debian's own tool makes the system in a temporary folder, we import the
// folder.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "base/secret.h"
#include "sandbox/image/import_layer.h"

namespace baleen::sandbox::image {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPlaces[] = {"/usr/sbin/debootstrap", "/usr/bin/debootstrap",
                                   "/usr/local/sbin/debootstrap"};
// Copies of the host's own settings, downloaded packages, and a log full of times.
constexpr const char* kScrub[] = {"etc/resolv.conf", "etc/hostname", "var/cache/apt/archives/*.deb",
                                  "var/cache/apt/*.bin", "var/log/bootstrap.log"};
constexpr int kPollMs = 200;
constexpr size_t kLineBytesMax = 4096;

Result<std::string> find_program(const DebootstrapOptions& options) {
    if (!options.program.empty()) return options.program;
    for (const char* place : kPlaces)
        if (::access(place, X_OK) == 0) return std::string(place);
    return make_error(ErrorCode::kUnsupported,
                      "debootstrap is not installed here (Debian package: debootstrap)");
}

// A value that reaches a command line is no option and nothing odd.
Result<void> check_word(const char* what, const std::string& word) {
    const bool is_good = !word.empty() && word[0] != '-' && word.size() <= 1024 &&
                         word.find_first_of(std::string_view(" \t\n\0,", 5)) == std::string::npos;
    if (is_good) return {};
    return make_error(ErrorCode::kInvalidArgument, "{} '{}' is no word", what, printable(word));
}

// Removed with all that is in it.
class TemporaryFolder {
  public:
    static Result<TemporaryFolder> create(const std::string& parent) {
        const std::string path = parent + "/baleen-debootstrap-" + random_name(12);
        if (::mkdir(path.c_str(), 0700) != 0) return io_error(path, "create");
        return TemporaryFolder(path);
    }
    TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::exchange(other.path_, "")) {}
    TemporaryFolder& operator=(TemporaryFolder&&) = delete;
    ~TemporaryFolder() {
        std::error_code ignored;
        if (!path_.empty()) fs::remove_all(path_, ignored);
    }
    const std::string& path() const { return path_; }

  private:
    explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
    std::string path_;
};

// The child between fork and exec: system calls only. Its mounts are its own, so that whatever
// debootstrap leaves mounted goes with it.
[[noreturn]] void run_child(const std::vector<const char*>& arguments, int output) {
    static constexpr const char* kEnvironment[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
        "DEBIAN_FRONTEND=noninteractive", nullptr};
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    const int input = ::open("/dev/null", O_RDONLY);
    const bool ready = ::setpgid(0, 0) == 0 && ::dup2(input, 0) == 0 && ::dup2(output, 1) == 1 &&
                       ::dup2(output, 2) == 2 && ::unshare(CLONE_NEWNS) == 0 &&
                       ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    if (ready)
        ::execve(arguments[0], const_cast<char* const*>(arguments.data()),
                 const_cast<char* const*>(kEnvironment));
    ::dprintf(2, "E: cannot start %s: %s\n", arguments[0], std::strerror(errno));
    ::_exit(127);
}

class Debootstrap {
  public:
    Debootstrap(const ImportContext& context, ImportProgress& progress)
        : context_(context), progress_(progress) {}

    Result<void> run(const std::vector<std::string>& words) {
        std::vector<const char*> arguments;
        for (const std::string& word : words) arguments.push_back(word.c_str());
        arguments.push_back(nullptr);
        int fds[2];
        if (::pipe2(fds, O_CLOEXEC) != 0) return io_error("pipe", "open");
        const Descriptor output(fds[0]);
        Descriptor child_output(fds[1]);
        const pid_t child = ::fork();
        if (child < 0) return io_error(words[0], "start");
        if (child == 0) run_child(arguments, child_output.get());
        child_output.close();
        const Result<void> watched = watch(output.get());
        if (!watched) ::kill(-child, SIGKILL);
        int status = 0;
        while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
        TRY(watched);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
        return make_error(ErrorCode::kIo, "debootstrap failed ({} {}): {}",
                          WIFEXITED(status) ? "exit status" : "signal",
                          WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
                          last_lines_.empty() ? "it said nothing" : last_lines_);
    }

  private:
    // Until the output ends, or the import is stopped.
    Result<void> watch(int output) {
        std::string line;
        while (true) {
            TRY(stop_if_asked(context_));
            pollfd ready{.fd = output, .events = POLLIN, .revents = 0};
            if (::poll(&ready, 1, kPollMs) <= 0) continue;
            char bytes[4096];
            const ssize_t n = ::read(output, bytes, sizeof(bytes));
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) return io_error("debootstrap", "read the output of");
            if (n == 0) return {};
            for (const char c : std::string_view(bytes, static_cast<size_t>(n))) {
                if (c == '\n')
                    take_line(std::exchange(line, ""));
                else if (line.size() < kLineBytesMax)
                    line += c;
            }
        }
    }

    // "I: Retrieving libc6": what happens. "E: ..." and what is said without a letter: why it
    // failed.
    void take_line(const std::string& line) {
        constexpr size_t kKeptBytes = 600;
        if (line.starts_with("I: ")) {
            progress_.stage = "debootstrap: " + printable(line.substr(3));
            report(context_, progress_);
            return;
        }
        last_lines_ += (last_lines_.empty() ? "" : "; ") + printable(line);
        if (last_lines_.size() > kKeptBytes) last_lines_.erase(0, last_lines_.size() - kKeptBytes);
    }

    const ImportContext& context_;
    ImportProgress& progress_;
    std::string last_lines_;
};

Result<std::vector<std::string>> command_line(const DebootstrapOptions& options,
                                              const std::string& folder) {
    std::vector<std::string> words = {TRY(find_program(options)), "--variant=minbase"};
    TRY(check_word("suite", options.suite));
    std::string include;
    for (const std::string& package : options.include) {
        TRY(check_word("package", package));
        include += (include.empty() ? "--include=" : ",") + package;
    }
    if (!include.empty()) words.push_back(include);
    words.push_back(options.suite);
    words.push_back(folder);
    if (!options.mirror.empty()) {
        TRY(check_word("mirror", options.mirror));
        words.push_back(options.mirror);
    }
    return words;
}

}  // namespace

Result<ImportResult> import_debootstrap(ImageStore& store, const ImportTarget& target,
                                        const DebootstrapOptions& options,
                                        const ImportContext& context) {
    TRY(find_program(options));
    if (::geteuid() != 0)
        return make_error(ErrorCode::kUnsupported, "debootstrap needs root: it makes device nodes");
    const TemporaryFolder temporary = TRY(TemporaryFolder::create(options.temporary_folder));
    // debootstrap wants to make the folder itself; the one around it keeps others out.
    const std::string folder = temporary.path() + "/root";
    ImportProgress progress{.stage = "debootstrap"};
    TRY(Debootstrap(context, progress).run(TRY(command_line(options, folder))));
    DirectoryLayerOptions layer_options;
    for (const char* pattern : kScrub) layer_options.scrub.push_back(TRY(Glob::parse(pattern)));
    StoreWriter writer = TRY(store.writer());
    progress.stage = "directory";
    std::vector<std::string> notes;
    DirectoryLayer made =
        TRY(layer_from_directory(writer, folder, layer_options, context, progress, notes));
    return publish_image(writer,
                         {.ref = target.ref,
                          .kind = target.kind,
                          .layers = {std::move(made.layer)},
                          .platform = "",
                          .source = "debootstrap"},
                         std::move(notes));
}

}  // namespace baleen::sandbox::image
