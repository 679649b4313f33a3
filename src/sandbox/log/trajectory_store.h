// TrajectoryStore: all trajectories of a state folder (STATE/trajectories/<id>, STATE/blobs,
// STATE/trajectories.sqlite). Logs are opened when they are asked for and kept open for a while.
// The daemon has one; any number of its threads may call it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "sandbox/log/blob_store.h"
#include "sandbox/log/index.h"
#include "sandbox/log/trajectory_log.h"

namespace baleen::sandbox {

struct StoreOptions {
    LogOptions log = {};
    size_t open_logs_max =
        4096;  // those that nobody holds are closed first; more in use is an error
};

class TrajectoryStore {
  public:
    // Reads no log: the index says what there is, and is corrected for what was written since.
    static Result<std::unique_ptr<TrajectoryStore>> open(const std::string& state_folder,
                                                         const StoreOptions& options = {});
    ~TrajectoryStore();

    // kInvalidArgument if there is one of this name.
    Result<std::shared_ptr<TrajectoryLog>> create(const OpenPayload& opening);
    // kNotFound, kCorrupt, kExhausted.
    Result<std::shared_ptr<TrajectoryLog>> get(std::string_view name);
    // A new trajectory that begins like another one (branch.h). `at` at most its last seq.
    Result<std::shared_ptr<TrajectoryLog>> branch(std::string_view parent, uint64_t at,
                                                  const OpenPayload& opening);

    Result<std::optional<TrajectoryRow>> find(std::string_view name);
    Result<std::vector<TrajectoryRow>> list(const TrajectoryFilter& filter);

    // Makes the index anew from the logs, all of which are read.
    Result<void> rebuild();

    BlobStore& blobs() { return *blobs_; }
    std::string folder_of(const TrajectoryId& id) const { return trajectories_ + "/" + id.hex(); }
    // How many logs were read through so far: for tests of what need not be read.
    uint64_t num_scans() const { return num_scans_.load(); }

  private:
    TrajectoryStore(std::string state_folder, const StoreOptions& options)
        : state_folder_(std::move(state_folder)),
          trajectories_(state_folder_ + "/trajectories"),
          options_(options) {}

    struct OpenLog {
        std::shared_ptr<TrajectoryLog> log;
        uint64_t last_used = 0;
        uint64_t listed_seq = 0;  // last_seq when its row was written
    };
    using Lock = std::unique_lock<std::mutex>;
    using OpenOne = std::function<Result<std::unique_ptr<TrajectoryLog>>(const std::string&)>;

    Result<void> reconcile();
    Result<std::shared_ptr<TrajectoryLog>> get_or(const TrajectoryId& id, const OpenOne& open_one);
    Result<void> close_oldest(Lock& lock);
    Result<void> refresh(const std::set<std::string>& ids);
    TrajectoryRow scan(const std::string& id);

    const std::string state_folder_;
    const std::string trajectories_;
    const StoreOptions options_;
    std::unique_ptr<BlobStore> blobs_;
    std::unique_ptr<TrajectoryIndex> index_;
    std::atomic<uint64_t> num_scans_{0};

    std::mutex mutex_;
    std::condition_variable changed_;
    // Guarded by mutex_:
    std::map<std::string, OpenLog> open_;  // by id
    std::set<std::string> busy_;           // ids that a thread opens or closes without the mutex
    std::set<std::string> stale_;          // ids whose rows are out of date
    uint64_t uses_ = 0;
};

}  // namespace baleen::sandbox
