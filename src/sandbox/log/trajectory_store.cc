#include "sandbox/log/trajectory_store.h"

#include <sys/stat.h>

#include <algorithm>

#include "sandbox/log/branch.h"
#include "sandbox/log/call_index.h"
#include "sandbox/log/log_folder.h"

namespace baleen::sandbox {
namespace {

// What is on the disk of a log, looked at without reading it: the segments from `segments` on are
// counted, and the last one is measured.
struct LogSize {
    uint32_t segments = 0;
    uint64_t last_segment_bytes = 0;
};

LogSize measure(const std::string& folder, uint32_t segments) {
    LogSize size{.segments = std::max(segments, 1u)};
    while (exists(segment_path(folder, size.segments + 1))) ++size.segments;
    struct stat status {};
    if (::stat(segment_path(folder, size.segments).c_str(), &status) == 0)
        size.last_segment_bytes = static_cast<uint64_t>(status.st_size);
    return size;
}

bool is_up_to_date(const TrajectoryRow& row, const std::string& folder) {
    const LogSize size = measure(folder, row.segments);
    return size.segments == row.segments && size.last_segment_bytes == row.last_segment_bytes;
}

// size was measured before: a row may be newer than it says, never older.
TrajectoryRow make_row(const std::string& id, const LogSize& size, const OpenPayload& opening) {
    TrajectoryRow row;
    row.id = id;
    row.name = opening.name;
    row.created_ns = opening.created_ns;
    row.labels = opening.labels;
    row.segments = size.segments;
    row.last_segment_bytes = size.last_segment_bytes;
    return row;
}

TrajectoryRow row_of(const std::string& id, const std::string& folder, const TrajectoryLog& log) {
    const LogSize size = measure(folder, 1);
    const TrajectoryState state = log.state();
    TrajectoryRow row = make_row(id, size, state.opening);
    row.sandbox = state.sandbox;
    row.last_seq = state.last_seq;
    row.epoch = state.epoch;
    row.status = name_of(state.status);
    return row;
}

}  // namespace

// ---- opening -----------------------------------------------------------------------------------

Result<std::unique_ptr<TrajectoryStore>> TrajectoryStore::open(const std::string& state_folder,
                                                               const StoreOptions& options) {
    std::unique_ptr<TrajectoryStore> store(new TrajectoryStore(state_folder, options));
    TRY(make_folders(store->trajectories_));
    store->blobs_ = TRY(BlobStore::open(state_folder + "/blobs"));
    store->index_ = TRY(TrajectoryIndex::open(state_folder + "/trajectories.sqlite"));
    TRY(store->reconcile());
    return store;
}

TrajectoryStore::~TrajectoryStore() {
    std::vector<TrajectoryRow> rows;
    for (const auto& [id, open] : open_)
        rows.push_back(row_of(id, trajectories_ + "/" + id, *open.log));
    // Rows that are missing are found out of date at the next opening.
    (void)index_->put(rows);
}

Result<void> TrajectoryStore::reconcile() {
    std::set<std::string> on_disk;
    for (const std::string& name : TRY(list_folder(trajectories_))) {
        if (is_unfinished_log(name)) remove_log_folder(trajectories_ + "/" + name);
        if (TrajectoryId::parse(name)) on_disk.insert(name);
    }
    const Lock lock(mutex_);
    stale_ = on_disk;
    std::vector<std::string> gone;
    TrajectoryFilter filter;
    for (;;) {
        const std::vector<TrajectoryRow> rows = TRY(index_->list(filter));
        if (rows.empty()) break;
        filter.after = rows.back().id;
        for (const TrajectoryRow& row : rows) {
            if (!on_disk.contains(row.id))
                gone.push_back(row.id);
            else if (is_up_to_date(row, trajectories_ + "/" + row.id))
                stale_.erase(row.id);
        }
    }
    return index_->remove(gone);
}

// ---- logs --------------------------------------------------------------------------------------

Result<std::shared_ptr<TrajectoryLog>> TrajectoryStore::get_or(const TrajectoryId& id,
                                                               const OpenOne& open_one) {
    const std::string name = id.hex();
    Lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [&] { return !busy_.contains(name); });
        if (const auto it = open_.find(name); it != open_.end()) {
            it->second.last_used = ++uses_;
            return it->second.log;
        }
        if (open_.size() + busy_.size() < options_.open_logs_max) break;
        TRY(close_oldest(lock));  // lets others in for a while, so that all is looked up again
    }
    busy_.insert(name);
    lock.unlock();
    auto log = open_one(trajectories_ + "/" + name);
    lock.lock();
    busy_.erase(name);
    changed_.notify_all();
    if (!log) return std::move(log).error();
    std::shared_ptr<TrajectoryLog> shared = std::move(log).value();
    open_[name] = {.log = shared, .last_used = ++uses_};
    return shared;
}

// Closes the log that has not been asked for longest, of those that nobody holds.
Result<void> TrajectoryStore::close_oldest(Lock& lock) {
    auto oldest = open_.end();
    for (auto it = open_.begin(); it != open_.end(); ++it)
        if (it->second.log.use_count() == 1 &&
            (oldest == open_.end() || it->second.last_used < oldest->second.last_used))
            oldest = it;
    if (oldest == open_.end())
        return make_error(ErrorCode::kExhausted, "{}: {} logs are in use, at most {}",
                          trajectories_, open_.size() + busy_.size(), options_.open_logs_max);
    const std::string id = oldest->first;
    std::shared_ptr<TrajectoryLog> log = std::move(oldest->second.log);
    open_.erase(oldest);
    busy_.insert(id);
    stale_.insert(id);
    lock.unlock();
    const bool is_listed = index_->put({row_of(id, trajectories_ + "/" + id, *log)}).has_value();
    log.reset();
    lock.lock();
    if (is_listed) stale_.erase(id);
    busy_.erase(id);
    changed_.notify_all();
    return {};
}

Result<std::shared_ptr<TrajectoryLog>> TrajectoryStore::create(const OpenPayload& opening) {
    TRY(check_trajectory_name(opening.name));
    bool is_new = false;
    auto log = TRY(get_or(TrajectoryId::of_name(opening.name), [&](const std::string& folder) {
        is_new = true;
        return TrajectoryLog::create(folder, opening, options_.log);
    }));
    if (is_new) return log;
    return make_error(ErrorCode::kInvalidArgument, "trajectory {} exists already", opening.name);
}

Result<std::shared_ptr<TrajectoryLog>> TrajectoryStore::get(std::string_view name) {
    TRY(check_trajectory_name(name));
    auto log = get_or(TrajectoryId::of_name(name), [&](const std::string& folder) {
        return TrajectoryLog::open(folder, options_.log);
    });
    if (!log && log.error().code == ErrorCode::kNotFound)
        return make_error(ErrorCode::kNotFound, "no trajectory {}", name);
    return log;
}

Result<std::shared_ptr<TrajectoryLog>> TrajectoryStore::branch(std::string_view parent, uint64_t at,
                                                               const OpenPayload& opening) {
    TRY(check_trajectory_name(opening.name));
    const std::shared_ptr<TrajectoryLog> from = TRY(get(parent));
    const uint64_t last_seq = from->state().last_seq;
    if (at == 0 || at > last_seq)
        return make_error(ErrorCode::kInvalidArgument,
                          "branch of {} at seq {}, allowed are 1 to {}", parent, at, last_seq);
    bool is_new = false;
    auto log = TRY(get_or(TrajectoryId::of_name(opening.name),
                          [&](const std::string& folder) -> Result<std::unique_ptr<TrajectoryLog>> {
                              is_new = true;
                              TRY(branch_log(from->folder(), at, opening, folder));
                              return TrajectoryLog::open(folder, options_.log);
                          }));
    if (is_new) return log;
    return make_error(ErrorCode::kInvalidArgument, "trajectory {} exists already", opening.name);
}

// ---- finding and listing -----------------------------------------------------------------------

TrajectoryRow TrajectoryStore::scan(const std::string& id) {
    num_scans_.fetch_add(1);
    const std::string folder = trajectories_ + "/" + id;
    const LogSize size = measure(folder, 1);
    CallIndex calls;
    const auto scanned = scan_log(folder, [&](const RecordView& record, Location) -> Result<Visit> {
        const Payload payload = TRY(decode_payload(record.head.type, record.payload));
        TRY(calls.apply(record.head, payload));
        return Visit::kContinue;
    });
    TrajectoryRow row = make_row(id, size, calls.opening());
    row.sandbox = calls.sandbox();
    row.last_seq = calls.last_seq();
    row.epoch = calls.epoch();
    row.status = scanned ? std::string(name_of(calls.status())) : "damaged";
    if (!scanned) row.detail = scanned.error().message;
    return row;
}

// Writes the rows of these trajectories, as far as they are open or out of date.
Result<void> TrajectoryStore::refresh(const std::set<std::string>& ids) {
    std::vector<TrajectoryRow> rows;
    for (const std::string& id : ids) {
        OpenLog held;  // one at a time: what is held cannot be closed for others
        bool is_stale = false;
        {
            const Lock lock(mutex_);
            is_stale = stale_.contains(id);
            if (const auto it = open_.find(id); it != open_.end()) held = it->second;
        }
        if (held.log != nullptr) {
            TrajectoryRow row = row_of(id, trajectories_ + "/" + id, *held.log);
            if (row.last_seq != held.listed_seq) rows.push_back(std::move(row));
        } else if (is_stale) {
            rows.push_back(scan(id));
        }
    }
    TRY(index_->put(rows));
    const Lock lock(mutex_);
    for (const TrajectoryRow& row : rows) {
        stale_.erase(row.id);
        if (const auto it = open_.find(row.id); it != open_.end())
            it->second.listed_seq = row.last_seq;
    }
    return {};
}

Result<std::optional<TrajectoryRow>> TrajectoryStore::find(std::string_view name) {
    TRY(check_trajectory_name(name));
    const std::string id = TrajectoryId::of_name(name).hex();
    TRY(refresh({id}));
    return index_->find(id);
}

Result<std::vector<TrajectoryRow>> TrajectoryStore::list(const TrajectoryFilter& filter) {
    std::set<std::string> ids;
    {
        const Lock lock(mutex_);
        ids = stale_;
        for (const auto& [id, open] : open_) ids.insert(id);
    }
    TRY(refresh(ids));
    return index_->list(filter);
}

Result<void> TrajectoryStore::rebuild() {
    std::set<std::string> ids;
    for (const std::string& name : TRY(list_folder(trajectories_)))
        if (TrajectoryId::parse(name)) ids.insert(name);
    std::vector<std::string> known;
    TrajectoryFilter filter;
    for (;;) {
        const std::vector<TrajectoryRow> rows = TRY(index_->list(filter));
        if (rows.empty()) break;
        filter.after = rows.back().id;
        for (const TrajectoryRow& row : rows) known.push_back(row.id);
    }
    TRY(index_->remove(known));
    {
        const Lock lock(mutex_);
        stale_ = ids;
        for (auto& [id, open] : open_) open.listed_seq = 0;
    }
    return refresh(ids);
}

}  // namespace baleen::sandbox
