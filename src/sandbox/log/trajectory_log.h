// TrajectoryLog: the durable history of one trajectory (spec 5). Every operation goes through
// begin() and finish(); what they return is on the disk.
//
// Any number of threads may call it. Those that append at the same time share one write and one
// fdatasync: the first becomes the leader and writes for all that wait, without the mutex. The
// leader alone touches the file. One process has a log open at a time.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "sandbox/log/call_index.h"
#include "sandbox/log/log_writer.h"
#include "sandbox/log/payload.h"

namespace baleen::sandbox {

struct LogOptions {
    uint64_t segment_bytes_max = kSegmentBytesMax;
    uint64_t log_bytes_max = kLogBytesMax;
    // Of log_bytes_max, kept for results, attaching and sealing when nothing new is taken any more.
    uint64_t reserve_bytes = uint64_t{64} << 20;
    DiskCalls disk = {};
};

struct LoggedRecord {
    RecordHead head;
    std::string payload;  // canonical JSON
};

struct Attached {
    uint64_t epoch = 0;
    std::string sandbox;
    std::map<std::string, uint64_t> next;  // index by stream
};

struct TrajectoryState {
    OpenPayload opening;
    std::string sandbox;
    TrajectoryStatus status = TrajectoryStatus::kOpen;
    uint64_t last_seq = 0;
    uint64_t epoch = 0;
    uint64_t bytes = 0;
    std::vector<PendingOp> pending;
};

class TrajectoryLog {
  public:
    // Makes the folder with the record that opens the trajectory. kInvalidArgument if it exists.
    static Result<std::unique_ptr<TrajectoryLog>> create(const std::string& folder,
                                                         const OpenPayload& opening,
                                                         const LogOptions& options = {});
    // Reads and checks the whole log. A torn tail is cut; damage is kCorrupt with file and offset.
    static Result<std::unique_ptr<TrajectoryLog>> open(const std::string& folder,
                                                       const LogOptions& options = {});

    // Decides about a call and, if it is to run, makes its intent durable: then decision.op is the
    // new op. Calls of one stream are decided one after the other. Not ok: nothing was recorded.
    Result<Decision> begin(const Intent& intent);

    // Records the result of an op. Ok and without effect if it has one already. kNotFound: no op.
    Result<void> finish(uint64_t op, const OpResult& result);

    // Raises the epoch: calls with an older one are stale from here on.
    Result<Attached> attach(const std::string& from, const std::string& sandbox = {});

    // Appends a checkpoint, pause, resume, fork, network or event record; returns its seq.
    Result<uint64_t> note(RecordType type, std::string_view json);

    // The last record. kInvalidArgument if sealed already.
    Result<void> seal(const SealPayload& seal);

    TrajectoryState state() const;
    std::map<std::string, uint64_t> next_indices() const;

    // The recorded intent or result of an op. kNotFound: no such op, or no result yet.
    Result<Intent> intent(uint64_t op) const;
    Result<OpResult> result(uint64_t op) const;

    // Records from this seq on, at most num_max and not much more than bytes_max of payload.
    Result<std::vector<LoggedRecord>> read(uint64_t from_seq, size_t num_max,
                                           size_t bytes_max) const;

    const std::string& folder() const { return folder_; }
    const SegmentHeader& header() const { return header_; }
    uint64_t cut_bytes() const { return cut_bytes_; }  // of the torn tail found at open

  private:
    // One record on its way to the disk, on the stack of the thread that waits for it.
    struct Waiting {
        explicit Waiting(const Payload& p) : payload(p) {}
        const Payload& payload;
        std::string text;
        uint64_t op = 0;  // results: of which intent
        // Written by the leader, read once done:
        RecordHead head;
        Location at;
        std::optional<Error> error;
        bool done = false;  // guarded by mutex_

        size_t bytes() const { return kRecordHeaderBytes + text.size(); }
    };
    using Lock = std::unique_lock<std::mutex>;

    TrajectoryLog(std::string folder, const LogOptions& options)
        : folder_(std::move(folder)), options_(options) {}
    Result<void> load();

    Result<void> check_open() const;
    Result<uint64_t> append(Lock& lock, Waiting& record);
    void lead(Lock& lock);
    std::vector<Waiting*> take_batch();
    Result<void> write_batch(const std::vector<Waiting*>& batch);
    Result<LoggedRecord> read_record(uint64_t seq) const;

    const std::string folder_;
    const LogOptions options_;
    SegmentHeader header_;
    uint64_t cut_bytes_ = 0;

    // The leader's:
    std::optional<LogWriter> writer_;
    ChainPoint chain_;
    std::vector<uint8_t> buffer_;

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    // Guarded by mutex_:
    CallIndex index_;
    std::vector<Location> locations_;  // [seq - 1]
    uint64_t log_bytes_ = 0;           // on the disk
    uint64_t queue_bytes_ = 0;         // on their way there
    std::deque<Waiting*> queue_;
    bool has_leader_ = false;
    std::set<std::string> streams_in_flight_;  // with an intent that is not durable yet
    std::set<uint64_t> results_in_flight_;     // op
    bool attach_in_flight_ = false;
    bool seal_in_flight_ = false;
};

}  // namespace baleen::sandbox
