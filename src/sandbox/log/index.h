// TrajectoryIndex: a table of all trajectories of a state folder, in SQLite, for finding and
// listing them without opening every log. It is never the truth: what it says can be read from the
// logs again, and a file that is damaged or of another version is thrown away at open.
//
// Any number of threads; a mutex is held over each query, since a connection takes one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

struct sqlite3;

namespace baleen::sandbox {

struct TrajectoryRow {
    std::string id;  // hexadecimal TrajectoryId
    std::string name;
    uint64_t created_ns = 0;
    std::string sandbox;
    uint64_t last_seq = 0;
    uint64_t epoch = 0;
    std::string status;  // open, paused, sealed, damaged
    std::string detail;  // damaged: what is wrong
    std::map<std::string, std::string> labels;
    // The log that the row was made from: it is out of date when these have changed.
    uint32_t segments = 0;
    uint64_t last_segment_bytes = 0;

    bool operator==(const TrajectoryRow&) const = default;
};

// Empty strings: any.
struct TrajectoryFilter {
    std::string status;
    std::string sandbox;
    std::string label_key, label_value;
    std::string after;       // rows with a larger id, in order of id
    size_t rows_max = 1000;  // of one answer
};

class TrajectoryIndex {
  public:
    // Opens or creates the table. Whatever else stands in the file is lost.
    static Result<std::unique_ptr<TrajectoryIndex>> open(const std::string& path);
    ~TrajectoryIndex();
    TrajectoryIndex(const TrajectoryIndex&) = delete;
    TrajectoryIndex& operator=(const TrajectoryIndex&) = delete;

    // All or none of the rows; they replace those of the same id.
    Result<void> put(const std::vector<TrajectoryRow>& rows);
    Result<void> remove(const std::vector<std::string>& ids);

    Result<std::optional<TrajectoryRow>> find(const std::string& id) const;
    Result<std::vector<TrajectoryRow>> list(const TrajectoryFilter& filter) const;
    Result<uint64_t> count() const;

  private:
    explicit TrajectoryIndex(std::string path) : path_(std::move(path)) {}
    Result<void> connect();
    Result<void> run(const char* sql) const;
    Result<void> in_transaction(const std::function<Result<void>()>& change);

    const std::string path_;
    mutable std::mutex mutex_;
    sqlite3* connection_ = nullptr;  // guarded by mutex_ once open
};

}  // namespace baleen::sandbox
