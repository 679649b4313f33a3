// CallIndex: what a trajectory log means. Fed with its records in order, it holds the rules that
// they must keep and answers, for a call, what is to be done about it (spec 5.2 and 5.3). Pure and
// in memory; one thread at a time. TrajectoryLog asks it live, verify feeds it offline.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "sandbox/log/payload.h"

namespace baleen::sandbox {

inline constexpr size_t kStreamsMax = 1024;         // of one trajectory
inline constexpr size_t kOpsMax = size_t{1} << 20;  // of one trajectory

struct Call {
    std::string stream = "main";
    uint64_t index = 0;
    uint64_t epoch = 0;
    Sha256Digest digest{};  // request_digest
};

enum class Verdict {
    kRun,         // nothing recorded: append the intent, then run
    kReplay,      // the stored result is the answer; the sandbox is not touched
    kPending,     // an intent without a result: see decide_pending
    kDiverged,    // another request is recorded there; nothing runs
    kStaleEpoch,  // somebody else has attached since
    kBadEpoch,    // an epoch that nobody was given
    kBadIndex,    // beyond the stream's next index
    kSealed,      // the trajectory has ended; what is recorded may still be replayed
    kExhausted,   // kStreamsMax or kOpsMax reached
};
std::string_view name_of(Verdict verdict);

struct Decision {
    Verdict verdict = Verdict::kRun;
    uint64_t op = 0;          // kReplay, kPending, kDiverged: seq of the recorded intent
    Sha256Digest recorded{};  // kDiverged: digest of the recorded request
    uint64_t next_index = 0;  // of the stream
    uint64_t epoch = 0;       // the current one
};

// What the daemon finds out about an operation that has no result yet.
enum class OpState {
    kAlive,    // the guest agent runs it
    kDone,     // the guest agent still has the result
    kUnknown,  // the sandbox lives and its guest agent never got the op
    kGone,     // the sandbox is gone
};

enum class PendingStep {
    kAttach,         // read its output from the first byte
    kCollect,        // append the result that the guest agent has, answer
    kDeliver,        // hand the op to the guest agent: it runs once
    kReportUnknown,  // OutcomeUnknown
    kRewind,         // back to the checkpoint before the op, then run it again
    kRerun,          // run it again in a new sandbox
};

// The rows of 5.2 for an intent without a result, and 5.4. crosses_external: between the checkpoint
// to go back to and here, the op included, something with effects outside was run.
PendingStep decide_pending(OpState state, OutcomePolicy policy, Effects effects,
                           bool crosses_external);

enum class TrajectoryStatus { kOpen, kPaused, kSealed };
std::string_view name_of(TrajectoryStatus status);

struct PendingOp {
    uint64_t op = 0;
    std::string stream;
    uint64_t index = 0;
};

class CallIndex {
  public:
    CallIndex() = default;
    CallIndex(CallIndex&&) = default;  // not copied: ops point to the streams' names
    CallIndex& operator=(CallIndex&&) = default;

    // The next record, which the chain has vouched for. kCorrupt: it breaks a rule, and the index
    // is as if the record was not there, but for its seq.
    Result<void> apply(const RecordHead& head, const Payload& payload);

    Decision decide(const Call& call) const;

    uint64_t last_seq() const { return last_seq_; }
    uint64_t epoch() const { return epoch_; }
    TrajectoryStatus status() const { return status_; }
    const OpenPayload& opening() const { return opening_; }  // the latest, of a branch its own
    const std::string& sandbox() const { return sandbox_; }
    std::map<std::string, uint64_t> next_indices() const;  // by stream
    std::vector<PendingOp> pending() const;                // in order of op

    // An op is named by its intent's seq.
    bool is_op(uint64_t op) const { return find_op(op) != nullptr; }
    bool is_pending(uint64_t op) const;
    uint64_t result_seq(uint64_t op) const;  // 0: it has none
    size_t num_ops() const { return ops_.size(); }

  private:
    struct Op {
        Sha256Digest digest{};
        uint64_t intent_seq = 0;
        uint64_t result_seq = 0;              // 0: none yet
        const std::string* stream = nullptr;  // a key of streams_
        uint64_t index = 0;
    };
    // [index]: its place in ops_, or kTakenBack.
    using Stream = std::vector<uint32_t>;
    static constexpr uint32_t kTakenBack = UINT32_MAX;

    Result<void> apply_one(const RecordHead& head, const OpenPayload& open);
    Result<void> apply_one(const RecordHead& head, const AttachPayload& attach);
    Result<void> apply_one(const RecordHead& head, const Intent& intent);
    Result<void> apply_one(const RecordHead& head, const OpResult& result);
    Result<void> apply_one(const RecordHead& head, const Note& note);
    Result<void> apply_one(const RecordHead& head, const SealPayload& seal);
    void take_back_pending();
    const Op* find_op(uint64_t op) const;

    uint64_t last_seq_ = 0;
    uint64_t epoch_ = 0;
    TrajectoryStatus status_ = TrajectoryStatus::kOpen;
    OpenPayload opening_;
    std::string sandbox_;
    std::map<std::string, Stream> streams_;
    std::vector<Op> ops_;         // in order of intent_seq
    std::set<uint32_t> pending_;  // places in ops_
};

}  // namespace baleen::sandbox
