#include "sandbox/log/trajectory_log.h"

#include <algorithm>
#include <chrono>

#include "base/check.h"
#include "sandbox/log/bytes.h"

namespace baleen::sandbox {
namespace {

// Most bytes of one write: what waits longer waits for the next.
constexpr size_t kBatchBytesMax = size_t{8} << 20;

uint64_t now_ns() {
    const auto since = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(since).count());
}

// Results, attaching and sealing may use what is kept in reserve.
bool may_use_reserve(const Payload& payload) {
    return !std::holds_alternative<Intent>(payload) && !std::holds_alternative<Note>(payload);
}

}  // namespace

// ---- opening -----------------------------------------------------------------------------------

Result<std::unique_ptr<TrajectoryLog>> TrajectoryLog::create(const std::string& folder,
                                                             const OpenPayload& opening,
                                                             const LogOptions& options) {
    const std::string text = TRY(encode_payload(opening));
    std::vector<uint8_t> records;
    encode_record({.seq = 1, .time_ns = opening.created_ns, .type = RecordType::kOpen}, text,
                  records);
    NewLogFolder made = TRY(NewLogFolder::begin(folder));
    TRY(made.add_segment({.trajectory = TrajectoryId::of_name(opening.name),
                          .created_ns = opening.created_ns,
                          .first_seq = 1},
                         records));
    TRY(made.publish());
    return open(folder, options);
}

Result<std::unique_ptr<TrajectoryLog>> TrajectoryLog::open(const std::string& folder,
                                                           const LogOptions& options) {
    std::unique_ptr<TrajectoryLog> log(new TrajectoryLog(folder, options));
    TRY(log->load());
    return log;
}

Result<void> TrajectoryLog::load() {
    const Lock lock(mutex_);
    const auto visit = [this](const RecordView& record, Location at) -> Result<void> {
        const auto in_place = [&](Error error) {
            return std::move(error).in(fmt::format("{}: offset {}: seq {}",
                                                   segment_path(folder_, at.segment), at.offset,
                                                   record.head.seq));
        };
        auto payload = decode_payload(record.head.type, record.payload);
        if (!payload) return in_place(std::move(payload).error());
        if (auto applied = index_.apply(record.head, *payload); !applied)
            return in_place(std::move(applied).error());
        locations_.push_back(at);
        return {};
    };
    writer_ = TRY(LogWriter::open(folder_, options_.disk, visit));
    header_ = writer_->first();
    chain_ = writer_->end_at_open();
    cut_bytes_ = writer_->cut_bytes();
    log_bytes_ = writer_->bytes();
    if (TrajectoryId::of_name(index_.opening().name) != header_.trajectory)
        return make_error(ErrorCode::kCorrupt, "{}: offset 8: of trajectory {}, but opened as {}",
                          segment_path(folder_, 1), header_.trajectory.hex(),
                          index_.opening().name);
    return {};
}

// ---- appending ---------------------------------------------------------------------------------

Result<uint64_t> TrajectoryLog::append(Lock& lock, Waiting& record) {
    const uint64_t reserve = may_use_reserve(record.payload) ? 0 : options_.reserve_bytes;
    if (log_bytes_ + queue_bytes_ + record.bytes() + reserve > options_.log_bytes_max)
        return make_error(ErrorCode::kExhausted,
                          "{}: the log has {} bytes, at most {} are written and {} of them kept "
                          "for what has begun",
                          folder_, log_bytes_ + queue_bytes_, options_.log_bytes_max, reserve);
    queue_.push_back(&record);
    queue_bytes_ += record.bytes();
    while (!record.done) {
        if (has_leader_)
            changed_.wait(lock);
        else
            lead(lock);
    }
    if (record.error) return *record.error;
    return record.head.seq;
}

void TrajectoryLog::lead(Lock& lock) {
    has_leader_ = true;
    const std::vector<Waiting*> batch = take_batch();
    lock.unlock();
    const Result<void> written = write_batch(batch);
    lock.lock();
    for (Waiting* record : batch) {
        queue_bytes_ -= record->bytes();
        record->done = true;
        if (!written) {
            record->error = written.error();
            continue;
        }
        locations_.push_back(record->at);
        // What is queued has been decided on the index, and nothing in flight contradicts it.
        const auto applied = index_.apply(record->head, record->payload);
        if (!applied) check_failed(__FILE__, __LINE__, "applied", applied.error().message);
    }
    log_bytes_ = writer_->bytes();
    has_leader_ = false;
    changed_.notify_all();
}

// As much of the queue as one segment and one write take, at least one record.
std::vector<TrajectoryLog::Waiting*> TrajectoryLog::take_batch() {
    uint64_t room =
        options_.segment_bytes_max - std::min(options_.segment_bytes_max, writer_->segment_bytes());
    if (queue_.front()->bytes() > room)  // a new segment, see write_batch
        room = options_.segment_bytes_max - kSegmentHeaderBytes;
    std::vector<Waiting*> batch;
    uint64_t bytes = 0;
    while (!queue_.empty()) {
        bytes += queue_.front()->bytes();
        if (!batch.empty() && (bytes > room || bytes > kBatchBytesMax)) break;
        batch.push_back(queue_.front());
        queue_.pop_front();
    }
    return batch;
}

Result<void> TrajectoryLog::write_batch(const std::vector<Waiting*>& batch) {
    const uint64_t time_ns = now_ns();
    const bool is_empty = writer_->segment_bytes() == kSegmentHeaderBytes;
    if (writer_->segment_bytes() + batch.front()->bytes() > options_.segment_bytes_max && !is_empty)
        TRY(writer_->begin_segment(chain_.next_seq, time_ns));
    buffer_.clear();
    ChainPoint chain = chain_;
    Location at = writer_->next_location();
    const uint32_t begin = at.offset;
    for (Waiting* record : batch) {
        RecordHead& head = record->head;
        head.seq = chain.next_seq;
        head.time_ns = time_ns;
        head.type = type_of(record->payload);
        if (record->op != 0) {
            CHECK_LE(head.seq - record->op, uint64_t{UINT32_MAX});
            head.intent_distance = static_cast<uint32_t>(head.seq - record->op);
        }
        head.previous = chain.previous;
        at.offset = begin + static_cast<uint32_t>(buffer_.size());
        record->at = at;
        encode_record(head, record->text, buffer_);
        chain = {head.seq + 1, sha256(std::span(buffer_).subspan(at.offset - begin))};
    }
    TRY(writer_->append(buffer_));
    chain_ = chain;
    return {};
}

// ---- operations --------------------------------------------------------------------------------

Result<Decision> TrajectoryLog::begin(const Intent& intent) {
    const Payload payload = intent;
    Waiting record(payload);
    record.text = TRY(encode_payload(payload));
    const Call call = {.stream = intent.stream,
                       .index = intent.index,
                       .epoch = intent.epoch,
                       .digest = TRY(request_digest(intent.request))};
    Lock lock(mutex_);
    changed_.wait(lock, [&] {
        return !streams_in_flight_.contains(call.stream) && !attach_in_flight_ && !seal_in_flight_;
    });
    Decision decision = index_.decide(call);
    if (decision.verdict != Verdict::kRun) return decision;
    streams_in_flight_.insert(call.stream);
    const auto seq = append(lock, record);
    streams_in_flight_.erase(call.stream);
    changed_.notify_all();
    if (!seq) return seq.error();
    decision.op = *seq;
    return decision;
}

Result<void> TrajectoryLog::finish(uint64_t op, const OpResult& result) {
    const Payload payload = result;
    Waiting record(payload);
    record.text = TRY(encode_payload(payload));
    record.op = op;
    Lock lock(mutex_);
    changed_.wait(lock, [&] { return !results_in_flight_.contains(op) && !seal_in_flight_; });
    if (index_.result_seq(op) != 0) return {};
    if (!index_.is_pending(op))
        return make_error(ErrorCode::kNotFound, "{}: no op {} waits for a result", folder_, op);
    if (auto open = check_open(); !open) return open;
    results_in_flight_.insert(op);
    const auto seq = append(lock, record);
    results_in_flight_.erase(op);
    changed_.notify_all();
    if (!seq) return seq.error();
    return {};
}

Result<Attached> TrajectoryLog::attach(const std::string& from, const std::string& sandbox) {
    Lock lock(mutex_);
    changed_.wait(lock, [&] { return !attach_in_flight_ && !seal_in_flight_; });
    // Nothing runs any more in a sealed trajectory, so nobody has to be kept from it.
    if (index_.status() != TrajectoryStatus::kSealed) {
        const Payload payload =
            AttachPayload{.epoch = index_.epoch() + 1, .from = from, .sandbox = sandbox};
        Waiting record(payload);
        record.text = TRY(encode_payload(payload));
        attach_in_flight_ = true;
        const auto seq = append(lock, record);
        attach_in_flight_ = false;
        changed_.notify_all();
        if (!seq) return seq.error();
    }
    return Attached{index_.epoch(), index_.sandbox(), index_.next_indices()};
}

Result<uint64_t> TrajectoryLog::note(RecordType type, std::string_view json) {
    const Payload payload = Note{type, std::string(json)};
    Waiting record(payload);
    record.text = TRY(encode_payload(payload));
    Lock lock(mutex_);
    changed_.wait(lock, [&] { return !seal_in_flight_; });
    TRY(check_open());
    return append(lock, record);
}

Result<void> TrajectoryLog::seal(const SealPayload& seal) {
    const Payload payload = seal;
    Waiting record(payload);
    record.text = TRY(encode_payload(payload));
    Lock lock(mutex_);
    changed_.wait(lock, [&] { return !attach_in_flight_ && !seal_in_flight_; });
    TRY(check_open());
    seal_in_flight_ = true;
    const auto seq = append(lock, record);
    seal_in_flight_ = false;
    changed_.notify_all();
    if (!seq) return seq.error();
    return {};
}

Result<void> TrajectoryLog::check_open() const {
    if (index_.status() != TrajectoryStatus::kSealed) return {};
    return make_error(ErrorCode::kInvalidArgument, "{}: the trajectory is sealed", folder_);
}

// ---- reading -----------------------------------------------------------------------------------

TrajectoryState TrajectoryLog::state() const {
    const Lock lock(mutex_);
    return {.opening = index_.opening(),
            .sandbox = index_.sandbox(),
            .status = index_.status(),
            .last_seq = index_.last_seq(),
            .epoch = index_.epoch(),
            .bytes = log_bytes_,
            .pending = index_.pending()};
}

std::map<std::string, uint64_t> TrajectoryLog::next_indices() const {
    const Lock lock(mutex_);
    return index_.next_indices();
}

Result<Intent> TrajectoryLog::intent(uint64_t op) const {
    {
        const Lock lock(mutex_);
        if (!index_.is_op(op))
            return make_error(ErrorCode::kNotFound, "{}: seq {} is no operation", folder_, op);
    }
    const LoggedRecord record = TRY(read_record(op));
    return std::get<Intent>(TRY(decode_payload(RecordType::kIntent, record.payload)));
}

Result<OpResult> TrajectoryLog::result(uint64_t op) const {
    uint64_t seq = 0;
    {
        const Lock lock(mutex_);
        seq = index_.result_seq(op);
    }
    if (seq == 0) return make_error(ErrorCode::kNotFound, "{}: no result of op {}", folder_, op);
    const LoggedRecord record = TRY(read_record(seq));
    return std::get<OpResult>(TRY(decode_payload(RecordType::kResult, record.payload)));
}

Result<LoggedRecord> TrajectoryLog::read_record(uint64_t seq) const {
    std::vector<LoggedRecord> records = TRY(read(seq, 1, 0));
    if (records.empty())
        return make_error(ErrorCode::kNotFound, "{}: no record with seq {}", folder_, seq);
    return std::move(records.front());
}

Result<std::vector<LoggedRecord>> TrajectoryLog::read(uint64_t from_seq, size_t num_max,
                                                      size_t bytes_max) const {
    std::vector<Location> places;
    {
        const Lock lock(mutex_);
        const uint64_t begin = std::max<uint64_t>(from_seq, 1) - 1;
        if (begin < locations_.size()) {
            const auto first = locations_.begin() + static_cast<std::ptrdiff_t>(begin);
            const size_t num = std::min(num_max, locations_.size() - begin);
            places.assign(first, first + static_cast<std::ptrdiff_t>(num));
        }
    }
    std::vector<LoggedRecord> records;
    std::optional<PosixFile> file;
    uint32_t open_segment = 0;
    size_t bytes = 0;
    for (const Location& at : places) {
        if (at.segment != open_segment)
            file = TRY(PosixFile::open(segment_path(folder_, at.segment), O_RDONLY));
        open_segment = at.segment;
        const std::vector<uint8_t> stored = TRY(read_stored_record(*file, at.offset));
        const RecordView record = *decode_record(stored).record;
        records.push_back({record.head, std::string(record.payload)});
        bytes += stored.size();
        if (bytes > bytes_max) break;
    }
    return records;
}

}  // namespace baleen::sandbox
