#include "sandbox/image/squashfs.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "sandbox/image/layer_export.h"

namespace baleen::sandbox::image {
namespace {

constexpr const char* kEnvironment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", nullptr};

// Between fork and exec: system calls only.
[[noreturn]] void run_child(const std::vector<const char*>& arguments, int input, int errors) {
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    const int null = ::open("/dev/null", O_WRONLY);
    if (::dup2(input, 0) == 0 && ::dup2(null, 1) == 1 && ::dup2(errors, 2) == 2)
        ::execve(arguments[0], const_cast<char* const*>(arguments.data()),
                 const_cast<char* const*>(kEnvironment));
    ::_exit(127);
}

// The beginning of what the program said.
std::string said(int errors) {
    char text[500];
    const ssize_t n = ::pread(errors, text, sizeof(text), 0);
    std::string line(text, static_cast<size_t>(std::max<ssize_t>(n, 0)));
    for (char& c : line)
        if (c == '\n') c = ' ';
    return line;
}

}  // namespace

Result<void> write_squashfs(const LoadedLayer& layer, const std::string& path,
                            const std::string& mksquashfs) {
    if (mksquashfs.empty())
        return make_error(ErrorCode::kUnsupported,
                          "mksquashfs is not installed (Debian package: squashfs-tools)");
    const ErofsInode root = TRY(layer.reader().inode(layer.reader().root_nid()));
    const std::string mode = fmt::format("{:o}", root.attributes.mode);
    const std::string uid = std::to_string(root.attributes.uid);
    const std::string gid = std::to_string(root.attributes.gid);
    const std::vector<const char*> arguments = {
        mksquashfs.c_str(), "-",         path.c_str(), "-tar",      "-noappend", "-no-progress",
        "-quiet",           "-noI",      "-noD",       "-noF",      "-noX",      "-root-mode",
        mode.c_str(),       "-root-uid", uid.c_str(),  "-root-gid", gid.c_str(), "-xattrs",
        "-exit-on-error",   nullptr};
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) return io_error("pipe", "open");
    Descriptor input(fds[0]);
    Descriptor output(fds[1]);
    const Descriptor errors(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!errors.is_open()) return io_error("/tmp", "create a file in");
    const pid_t child = ::fork();
    if (child < 0) return io_error(mksquashfs, "start");
    if (child == 0) run_child(arguments, input.get(), errors.get());
    input.close();
    FileSink sink(output.get(), mksquashfs);
    const Result<void> fed =
        write_layer_tar(layer.reader(), layer.data(), OverlayMarks::kKeep, sink);
    output.close();
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return make_error(ErrorCode::kIo, "{} failed for layer {}: {}", mksquashfs, layer.digest(),
                          said(errors.get()));
    return fed;
}

}  // namespace baleen::sandbox::image
