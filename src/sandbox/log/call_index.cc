#include "sandbox/log/call_index.h"

#include <algorithm>
#include <array>
#include <variant>

#include "base/check.h"

namespace baleen::sandbox {
namespace {

constexpr std::array<std::string_view, 9> kVerdictNames = {"run",       "replay",      "pending",
                                                           "diverged",  "stale epoch", "bad epoch",
                                                           "bad index", "sealed",      "exhausted"};
constexpr std::array<std::string_view, 3> kStatusNames = {"open", "paused", "sealed"};

}  // namespace

std::string_view name_of(Verdict verdict) {
    return kVerdictNames[static_cast<size_t>(verdict)];
}
std::string_view name_of(TrajectoryStatus status) {
    return kStatusNames[static_cast<size_t>(status)];
}

PendingStep decide_pending(OpState state, OutcomePolicy policy, Effects effects,
                           bool crosses_external) {
    switch (state) {
        case OpState::kAlive: return PendingStep::kAttach;
        case OpState::kDone: return PendingStep::kCollect;
        case OpState::kUnknown: return PendingStep::kDeliver;
        case OpState::kGone: break;
    }
    const bool may_rerun = policy == OutcomePolicy::kRerun && effects == Effects::kNone;
    const bool may_rewind = policy == OutcomePolicy::kRewind && effects != Effects::kExternal;
    if (may_rerun) return PendingStep::kRerun;
    if (may_rewind && !crosses_external) return PendingStep::kRewind;
    return PendingStep::kReportUnknown;
}

// ---- calls -------------------------------------------------------------------------------------

Decision CallIndex::decide(const Call& call) const {
    Decision decision;
    decision.epoch = epoch_;
    const auto stream = streams_.find(call.stream);
    if (stream != streams_.end()) decision.next_index = stream->second.size();
    const auto with = [&](Verdict verdict) {
        decision.verdict = verdict;
        return decision;
    };
    if (call.epoch < epoch_) return with(Verdict::kStaleEpoch);
    if (call.epoch > epoch_) return with(Verdict::kBadEpoch);
    if (call.index > decision.next_index) return with(Verdict::kBadIndex);
    const bool is_known =
        call.index < decision.next_index && stream->second[call.index] != kTakenBack;
    if (!is_known) {
        if (status_ == TrajectoryStatus::kSealed) return with(Verdict::kSealed);
        const bool is_full =
            ops_.size() >= kOpsMax || (stream == streams_.end() && streams_.size() >= kStreamsMax);
        return with(is_full ? Verdict::kExhausted : Verdict::kRun);
    }
    const Op& op = ops_[stream->second[call.index]];
    decision.op = op.intent_seq;
    decision.recorded = op.digest;
    if (op.digest != call.digest) return with(Verdict::kDiverged);
    return with(op.result_seq != 0 ? Verdict::kReplay : Verdict::kPending);
}

std::map<std::string, uint64_t> CallIndex::next_indices() const {
    std::map<std::string, uint64_t> next;
    for (const auto& [name, ops] : streams_) next.emplace(name, ops.size());
    return next;
}

std::vector<PendingOp> CallIndex::pending() const {
    std::vector<PendingOp> pending;
    for (const uint32_t place : pending_) {
        const Op& op = ops_[place];
        pending.push_back({op.intent_seq, *op.stream, op.index});
    }
    return pending;
}

const CallIndex::Op* CallIndex::find_op(uint64_t op) const {
    const auto it = std::ranges::lower_bound(ops_, op, {}, &Op::intent_seq);
    return it != ops_.end() && it->intent_seq == op ? &*it : nullptr;
}

bool CallIndex::is_pending(uint64_t op) const {
    const Op* found = find_op(op);
    return found != nullptr && pending_.contains(static_cast<uint32_t>(found - ops_.data()));
}

uint64_t CallIndex::result_seq(uint64_t op) const {
    const Op* found = find_op(op);
    return found == nullptr ? 0 : found->result_seq;
}

// ---- records -----------------------------------------------------------------------------------

Result<void> CallIndex::apply(const RecordHead& head, const Payload& payload) {
    const bool is_first = last_seq_ == 0;
    last_seq_ = head.seq;
    const bool is_open = head.type == RecordType::kOpen;
    if (is_first && !is_open)
        return make_error(ErrorCode::kCorrupt, "the first record is {}, expected open",
                          name_of(head.type));
    if (status_ == TrajectoryStatus::kSealed && !is_open)
        return make_error(ErrorCode::kCorrupt, "{} after the trajectory was sealed",
                          name_of(head.type));
    return std::visit([&](const auto& p) { return apply_one(head, p); }, payload);
}

// A second opening is where a branch begins: what comes before it is its parent's.
Result<void> CallIndex::apply_one(const RecordHead& head, const OpenPayload& open) {
    if (head.seq == 1 && open.parent)
        return make_error(ErrorCode::kCorrupt, "a parent in the first record");
    if (head.seq > 1 && !open.parent)
        return make_error(ErrorCode::kCorrupt, "a second opening that names no parent");
    if (open.parent && (open.parent->at + 1 != head.seq || open.parent->head != head.previous))
        return make_error(ErrorCode::kCorrupt, "branched at seq {} {}, the record before is {} {}",
                          open.parent->at, hex(open.parent->head), head.seq - 1,
                          hex(head.previous));
    take_back_pending();
    opening_ = open;
    sandbox_ = open.sandbox;
    status_ = TrajectoryStatus::kOpen;
    return {};
}

// An operation that had no result when the trajectory branched belongs to the parent's sandbox; in
// the branch it never ran, so the call may come again.
void CallIndex::take_back_pending() {
    for (const uint32_t place : pending_)
        streams_.at(*ops_[place].stream)[ops_[place].index] = kTakenBack;
    pending_.clear();
}

Result<void> CallIndex::apply_one(const RecordHead&, const AttachPayload& attach) {
    if (attach.epoch <= epoch_)
        return make_error(ErrorCode::kCorrupt, "attached with epoch {}, the current one is {}",
                          attach.epoch, epoch_);
    epoch_ = attach.epoch;
    if (!attach.sandbox.empty()) sandbox_ = attach.sandbox;
    return {};
}

Result<void> CallIndex::apply_one(const RecordHead& head, const Intent& intent) {
    const Call call = {.stream = intent.stream,
                       .index = intent.index,
                       .epoch = intent.epoch,
                       .digest = TRY(request_digest(intent.request))};
    const Decision decision = decide(call);
    if (decision.verdict != Verdict::kRun)
        return make_error(ErrorCode::kCorrupt,
                          "intent of stream {} index {} epoch {}: {} (next index {}, epoch {})",
                          call.stream, call.index, call.epoch, name_of(decision.verdict),
                          decision.next_index, decision.epoch);
    const auto [stream, is_new] = streams_.try_emplace(intent.stream);
    const auto place = static_cast<uint32_t>(ops_.size());
    if (intent.index == stream->second.size())
        stream->second.push_back(place);
    else
        stream->second[intent.index] = place;
    ops_.push_back({call.digest, head.seq, 0, &stream->first, intent.index});
    pending_.insert(place);
    return {};
}

Result<void> CallIndex::apply_one(const RecordHead& head, const OpResult&) {
    const uint64_t op_seq = head.seq - head.intent_distance;
    const Op* found = head.intent_distance < head.seq ? find_op(op_seq) : nullptr;
    if (found == nullptr)
        return make_error(ErrorCode::kCorrupt, "a result of seq {}, which is no intent",
                          static_cast<int64_t>(op_seq));
    const auto place = static_cast<uint32_t>(found - ops_.data());
    if (pending_.erase(place) == 0)
        return make_error(ErrorCode::kCorrupt, "a result of seq {}, which waits for none", op_seq);
    ops_[place].result_seq = head.seq;
    return {};
}

Result<void> CallIndex::apply_one(const RecordHead& head, const Note& note) {
    if (head.type == RecordType::kPause) status_ = TrajectoryStatus::kPaused;
    if (head.type == RecordType::kResume) status_ = TrajectoryStatus::kOpen;
    if (std::string sandbox = sandbox_of(note); !sandbox.empty()) sandbox_ = std::move(sandbox);
    return {};
}

Result<void> CallIndex::apply_one(const RecordHead&, const SealPayload&) {
    status_ = TrajectoryStatus::kSealed;
    return {};
}

}  // namespace baleen::sandbox
