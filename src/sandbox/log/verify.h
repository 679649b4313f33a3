// Replay level 0: is everything there that was acknowledged, byte for byte? Reads logs and blobs
// without a daemon, changes nothing, and reports every fault with its place. A log that a daemon
// has open may show a torn tail.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "sandbox/log/blob_store.h"
#include "sandbox/log/call_index.h"
#include "sandbox/log/log_folder.h"

namespace baleen::sandbox {

// Most faults that a report lists; the rest is counted.
inline constexpr size_t kReportedFaultsMax = 1000;

struct LogFault {
    std::string path;
    uint64_t offset = 0;
    uint64_t seq = 0;  // 0: of no record
    std::string what;
};

struct LogReport {
    std::string folder;
    std::string trajectory;  // hexadecimal id; empty if no header can be read
    std::string name;
    TrajectoryStatus status = TrajectoryStatus::kOpen;
    uint64_t records = 0;
    uint64_t last_seq = 0;
    uint64_t bytes = 0;
    Sha256Digest head{};  // hash of the last record
    uint64_t ops = 0;
    uint64_t pending = 0;  // of them without a result
    std::vector<LogFault> faults;
    uint64_t num_faults = 0;

    void add(LogFault fault);
};

// Checks blobs, each once.
class BlobChecker {
  public:
    explicit BlobChecker(const BlobStore& store) : store_(store) {}

    // Empty, or what is wrong with the blob that a record refers to.
    const std::string& check(const StoredBytes& stored);

    // Checks the files of the store that nothing has referred to.
    Result<std::vector<LogFault>> check_others();

    uint64_t num_checked() const { return seen_.size(); }

  private:
    const BlobStore& store_;
    std::map<std::pair<Sha256Digest, uint64_t>, std::string> verdicts_;  // by digest and size
    std::set<Sha256Digest> seen_;
};

// Everything about one log: chain, checksums, order, canonical payloads, pairs of intent and
// result, epochs, blobs. blobs null: a reference to a blob is a fault. An error only if the folder
// holds no log at all.
Result<LogReport> verify_log(const std::string& folder, BlobChecker* blobs);

struct StateReport {
    std::vector<LogReport> logs;
    uint64_t blobs = 0;
    std::vector<LogFault> blob_faults;  // of blobs that no record refers to
    uint64_t num_faults() const;
};

// A state folder (with trajectories/ and blobs/), or the folder of one log, whose blobs are then
// looked for in blobs_folder or, if that is empty, where a state folder has them.
Result<StateReport> verify_folder(const std::string& folder, const std::string& blobs_folder = {});

}  // namespace baleen::sandbox
