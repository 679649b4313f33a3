// Publishing files: written under a temporary name, synced, renamed. Under its final name there is
// all of a file or nothing, and what is there is never changed. Private to the store.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "sandbox/image/byte_source.h"
#include "sandbox/image/descriptor.h"

namespace baleen::sandbox::image {

// Called before each step that changes the disk, with the step's name and path. An error is taken
// for the step's own: tests let every step fail, or end the process there.
using StepHook = std::function<Result<void>(std::string_view step, const std::string& path)>;

// Names of temporary files begin so; gc knows them by it.
inline constexpr std::string_view kTemporaryPrefix = ".tmp-";

enum class Published { kNew, kAlreadyThere };

// A file that has no final name yet; removed unless published. A sink for its bytes.
class TemporaryFile : public ByteSink {
  public:
    // Beside its final place, since a rename cannot leave the file system.
    static Result<TemporaryFile> create(const std::string& folder, StepHook hook);
    TemporaryFile(TemporaryFile&& other) noexcept = default;
    TemporaryFile& operator=(TemporaryFile&&) = delete;
    ~TemporaryFile() override;

    Result<void> write(std::span<const uint8_t> bytes) override;
    const std::string& path() const { return path_; }
    Result<void> sync();
    // The file gets its final name, unless that is taken: then the temporary file goes.
    // REQUIRES: sync() was called after the last write. The caller syncs the folder.
    Result<Published> publish(const std::string& final_path);

  private:
    TemporaryFile(Descriptor file, std::string path, StepHook hook)
        : file_(std::move(file)), path_(std::move(path)), hook_(std::move(hook)) {}

    Descriptor file_;
    std::string path_;  // empty after publish
    StepHook hook_;
};

// Runs the hook, if there is one.
Result<void> before_step(const StepHook& hook, std::string_view step, const std::string& path);

Result<void> sync_folder_step(const std::string& folder, const StepHook& hook);

// A lock of the whole store between processes and threads: several may write, one may collect.
class StoreLock {
  public:
    enum class Kind { kShared, kExclusive };
    // Waits up to timeout_ms; kExhausted after that.
    static Result<StoreLock> take(const std::string& store, Kind kind, int64_t timeout_ms);

  private:
    explicit StoreLock(Descriptor file) : file_(std::move(file)) {}
    Descriptor file_;  // flock goes with it
};

}  // namespace baleen::sandbox::image
