#include "sandbox/image/store_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <thread>

#include "base/check.h"
#include "base/secret.h"
#include "sandbox/log/posix_file.h"

namespace baleen::sandbox::image {
namespace {

constexpr unsigned kNoReplace = 1;  // RENAME_NOREPLACE

// Some file systems (FUSE, NFS) cannot rename without replacing; all can refuse a link to a name
// that is taken.
Result<Published> rename_new(const std::string& from, const std::string& to) {
    if (::syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), kNoReplace) == 0)
        return Published::kNew;
    if (errno == EEXIST) return Published::kAlreadyThere;
    if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP) return io_error(to, "rename to");
    if (::link(from.c_str(), to.c_str()) != 0) {
        if (errno == EEXIST) return Published::kAlreadyThere;
        return io_error(to, "link to");
    }
    if (::unlink(from.c_str()) != 0) return io_error(from, "remove");
    return Published::kNew;
}

}  // namespace

Result<void> before_step(const StepHook& hook, std::string_view step, const std::string& path) {
    return hook ? hook(step, path) : Result<void>();
}

Result<void> sync_folder_step(const std::string& folder, const StepHook& hook) {
    TRY(before_step(hook, "sync folder", folder));
    return sync_folder(folder);
}

Result<TemporaryFile> TemporaryFile::create(const std::string& folder, StepHook hook) {
    constexpr size_t kRandomCharacters = 22;  // two writers, on two nodes, never choose the same
    const std::string path =
        folder + "/" + std::string(kTemporaryPrefix) + random_name(kRandomCharacters);
    TRY(before_step(hook, "create", path));
    Descriptor file = TRY(open_at(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL, path, 0644));
    return TemporaryFile(std::move(file), path, std::move(hook));
}

TemporaryFile::~TemporaryFile() {
    // A moved-from object has no descriptor.
    if (file_.is_open() && !path_.empty()) ::unlink(path_.c_str());
}

Result<void> TemporaryFile::write(std::span<const uint8_t> bytes) {
    TRY(before_step(hook_, "write", path_));
    return write_all(file_.get(), bytes, path_);
}

Result<void> TemporaryFile::sync() {
    TRY(before_step(hook_, "sync", path_));
    if (::fsync(file_.get()) != 0) return io_error(path_, "sync");
    return {};
}

Result<Published> TemporaryFile::publish(const std::string& final_path) {
    CHECK(!path_.empty());
    TRY(before_step(hook_, "publish", final_path));
    const Published published = TRY(rename_new(path_, final_path));
    if (published == Published::kAlreadyThere) ::unlink(path_.c_str());
    path_.clear();
    return published;
}

Result<StoreLock> StoreLock::take(const std::string& store, Kind kind, int64_t timeout_ms) {
    const std::string path = store + "/.lock";
    Descriptor file = TRY(open_at(AT_FDCWD, path, O_RDWR | O_CREAT, path, 0644));
    const int operation = (kind == Kind::kShared ? LOCK_SH : LOCK_EX) | LOCK_NB;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    while (::flock(file.get(), operation) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) return io_error(path, "lock");
        if (std::chrono::steady_clock::now() >= deadline)
            return make_error(ErrorCode::kExhausted, "{}: another process has {} for {} ms", path,
                              kind == Kind::kShared ? "collected garbage" : "written to the store",
                              timeout_ms);
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return StoreLock(std::move(file));
}

}  // namespace baleen::sandbox::image
