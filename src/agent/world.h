// The six tools of the tool world on real files in a folder of their own. Arguments, texts and
// errors are those of train/pocket/world.py, byte for byte; what differs:
//
//   a symbolic link is neither file nor folder; a result beyond kToolBytesMax is an error text;
//   bytes that are no UTF-8 come as U+FFFD
//
// One thread at a time.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "agent/judge.h"
#include "agent/shell_tool.h"
#include "base/json.h"
#include "base/result.h"

namespace baleen::agent {

inline constexpr size_t kToolBytesMax = 64 << 10;
inline constexpr size_t kWorldFileBytesMax = 1 << 20;

// Move-only; its folder goes with it.
class World {
  public:
    // A new folder below the system's temporary one, with these files. kInvalidArgument: a bad
    // path.
    static Result<World> create(const FileTexts& files, ShellMode mode);
    World(World&& other) noexcept;
    World& operator=(World&&) = delete;
    ~World();

    // The text of one call. arguments: a JSON object, else it counts as empty. An error is the
    // system's, not the caller's.
    Result<std::string> run_tool(std::string_view name, const Json& arguments);

    // All files as they are.
    Result<FileTexts> files() const;

    const std::string& folder() const { return folder_; }

  private:
    World(std::string folder, ShellMode mode) : folder_(std::move(folder)), mode_(mode) {}
    enum class Kind { kMissing, kFile, kFolder, kOther };
    Kind kind_of(const std::string& path) const;
    std::filesystem::path place(const std::string& path) const;
    Result<std::string> read_text(const std::string& path) const;
    Result<void> write_text(const std::string& path, std::string_view text);
    std::vector<std::string> files_below(const std::string& path) const;

    Result<std::string> read(const std::string& path, const Json& arguments) const;
    Result<std::string> list(const std::string& path) const;
    Result<std::string> grep(const std::string& path, const Json& arguments) const;
    Result<std::string> write(const std::string& path, const Json& arguments);

    std::string folder_;  // empty: moved from
    ShellMode mode_;
};

}  // namespace baleen::agent
