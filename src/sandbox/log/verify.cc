#include "sandbox/log/verify.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "base/file.h"

namespace baleen::sandbox {
namespace {

// Goes through one log, past its faults.
class LogVerifier {
  public:
    LogVerifier(const std::string& folder, BlobChecker* blobs) : blobs_(blobs) {
        report_.folder = folder;
    }

    Result<LogReport> run() {
        const std::vector<uint32_t> numbers = TRY(segment_numbers(report_.folder));
        if (numbers.empty())
            return make_error(ErrorCode::kNotFound, "{}: no segments of a trajectory log",
                              report_.folder);
        uint32_t expected = 1;
        for (const uint32_t number : numbers) {
            for (; expected < number; ++expected)
                lose_track(segment_path(report_.folder, expected), 0, "missing");
            path_ = segment_path(report_.folder, number);
            is_last_ = number == numbers.back();
            verify_segment();
            ++expected;
        }
        finish();
        return std::move(report_);
    }

  private:
    void fault(uint64_t offset, std::string what, uint64_t seq = 0) {
        report_.add({path_, offset, seq, std::move(what)});
    }
    // After a gap in the chain the rules about calls cannot be applied any more.
    void lose_track(const std::string& path, uint64_t offset, std::string what) {
        report_.add({path, offset, 0, std::move(what)});
        chain_.reset();
        has_all_records_ = false;
    }

    void verify_segment() {
        const auto file = MappedFile::open(path_);
        if (!file) return lose_track(path_, 0, file.error().message);
        report_.bytes += file->bytes().size();
        verify_header(file->bytes());
        if (file->bytes().size() < kSegmentHeaderBytes) return;
        SegmentReader reader(file->bytes(), chain_.value_or(ChainPoint{next_seq_, {}}));
        if (!chain_) reader.take_any_place();
        for (;;) {
            uint64_t offset = reader.offset();
            while (const auto record = reader.next()) {
                verify_record(*record, offset);
                offset = reader.offset();
                chain_ = reader.chain();
            }
            if (!reader.fault()) return;
            const bool is_torn = reader.fault()->is_torn_tail && is_last_;
            lose_track(path_, reader.fault()->offset,
                       (is_torn ? "torn tail: " : "") + reader.fault()->what);
            reader.skip_fault();
        }
    }

    void verify_header(std::span<const uint8_t> bytes) {
        const auto header = decode_segment_header(bytes);
        if (!header) return lose_track(path_, 0, header.error().message);
        if (!trajectory_) trajectory_ = header->trajectory;
        if (header->trajectory != *trajectory_)
            fault(8, fmt::format("of trajectory {}, expected {}", header->trajectory.hex(),
                                 trajectory_->hex()));
        if (chain_ && header->first_seq != chain_->next_seq)
            fault(32, fmt::format("begins with seq {}, expected {}", header->first_seq,
                                  chain_->next_seq));
        next_seq_ = header->first_seq;
    }

    void verify_record(const RecordView& record, uint64_t offset) {
        const uint64_t seq = record.head.seq;
        ++report_.records;
        report_.last_seq = seq;
        report_.head = sha256(record.stored);
        const auto payload = decode_payload(record.head.type, record.payload);
        if (!payload) {
            has_all_records_ = false;
            return fault(offset, payload.error().message, seq);
        }
        if (has_all_records_)
            if (const auto applied = index_.apply(record.head, *payload); !applied)
                fault(offset, applied.error().message, seq);
        for (const StoredBytes& blob : blobs_of(*payload)) {
            const std::string wrong =
                blobs_ != nullptr ? blobs_->check(blob)
                                  : fmt::format("refers to blob {}, and there is no blob store",
                                                hex(blob.digest()));
            if (!wrong.empty()) fault(offset, wrong, seq);
        }
    }

    void finish() {
        report_.trajectory = trajectory_ ? trajectory_->hex() : "";
        report_.name = index_.opening().name;
        report_.status = index_.status();
        report_.ops = index_.num_ops();
        report_.pending = index_.pending().size();
        path_ = segment_path(report_.folder, 1);
        if (has_all_records_ && report_.records == 0)
            fault(kSegmentHeaderBytes, "no record");
        else if (has_all_records_ && trajectory_ &&
                 TrajectoryId::of_name(report_.name) != *trajectory_)
            fault(8, fmt::format("of trajectory {}, but opened as {}", trajectory_->hex(),
                                 report_.name));
    }

    BlobChecker* const blobs_;
    LogReport report_;
    std::string path_;  // of the segment being read
    bool is_last_ = false;
    std::optional<TrajectoryId> trajectory_;
    // Where the chain stands; unknown after a fault until the next record.
    std::optional<ChainPoint> chain_ = ChainPoint{};
    uint64_t next_seq_ = 1;
    CallIndex index_;
    bool has_all_records_ = true;  // index_ has seen every record up to here
};

bool is_folder(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// A folder among trajectories that holds no log is a fault of that folder.
LogReport verify_or_say_why(const std::string& folder, BlobChecker* blobs) {
    auto report = LogVerifier(folder, blobs).run();
    if (report) return std::move(report).value();
    LogReport nothing;
    nothing.folder = folder;
    nothing.add({folder, 0, 0, report.error().message});
    return nothing;
}

// A file of the store, whose name says what must be in it.
void check_blob_file(const std::string& path, const std::string& name, const std::string& prefix,
                     const BlobStore& store, std::vector<LogFault>& faults) {
    const auto digest = parse_sha256(name);
    struct stat status {};
    if (!digest || name.substr(0, 2) != prefix)
        return faults.push_back({path, 0, 0, "not the name of a blob in this folder"});
    if (::lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode))
        return faults.push_back({path, 0, 0, "not a regular file"});
    const auto size = static_cast<uint64_t>(status.st_size);
    if (size <= kInlineBytesMax)
        return faults.push_back(
            {path, 0, 0, fmt::format("{} bytes, a blob has more than {}", size, kInlineBytesMax)});
    if (const auto verified = store.verify(StoredBytes::in_blob(*digest, size)); !verified)
        faults.push_back({path, 0, 0, verified.error().message});
}

}  // namespace

void LogReport::add(LogFault fault) {
    ++num_faults;
    if (faults.size() < kReportedFaultsMax) faults.push_back(std::move(fault));
}

uint64_t StateReport::num_faults() const {
    uint64_t faults = blob_faults.size();
    for (const LogReport& log : logs) faults += log.num_faults;
    return faults;
}

const std::string& BlobChecker::check(const StoredBytes& stored) {
    seen_.insert(stored.digest());
    const auto [verdict, is_new] = verdicts_.try_emplace({stored.digest(), stored.size()});
    if (is_new)
        if (const auto verified = store_.verify(stored); !verified)
            verdict->second = verified.error().message;
    return verdict->second;
}

Result<std::vector<LogFault>> BlobChecker::check_others() {
    std::vector<LogFault> faults;
    const std::string root = store_.folder() + "/sha256";
    if (!exists(root)) return faults;
    for (const std::string& prefix : TRY(list_folder(root))) {
        const std::string folder = root + "/" + prefix;
        for (const std::string& name : TRY(list_folder(folder))) {
            const auto digest = parse_sha256(name);
            const bool is_in_place = digest && name.substr(0, 2) == prefix;
            if (is_in_place && !seen_.insert(*digest).second) continue;
            check_blob_file(folder + "/" + name, name, prefix, store_, faults);
        }
    }
    return faults;
}

Result<LogReport> verify_log(const std::string& folder, BlobChecker* blobs) {
    return LogVerifier(folder, blobs).run();
}

Result<StateReport> verify_folder(const std::string& folder, const std::string& blobs_folder) {
    StateReport report;
    const bool is_state = is_folder(folder + "/trajectories");
    std::string blobs_path = blobs_folder;
    if (blobs_path.empty()) blobs_path = folder + (is_state ? "/blobs" : "/../../blobs");
    if (!blobs_folder.empty() && !is_folder(blobs_folder))
        return make_error(ErrorCode::kNotFound, "{}: not a folder", blobs_folder);
    const auto store = BlobStore::open_read_only(blobs_path);
    BlobChecker checker(*store);
    BlobChecker* const blobs = is_folder(blobs_path) ? &checker : nullptr;
    if (!is_state) {
        report.logs.push_back(TRY(verify_log(folder, blobs)));
        report.blobs = checker.num_checked();
        return report;
    }
    const std::string trajectories = folder + "/trajectories";
    for (const std::string& name : TRY(list_folder(trajectories))) {
        if (is_unfinished_log(name)) continue;
        LogReport log = verify_or_say_why(trajectories + "/" + name, blobs);
        if (log.records > 0 && log.trajectory != name)
            log.add({log.folder, 0, 0, fmt::format("the log is of trajectory {}", log.trajectory)});
        report.logs.push_back(std::move(log));
    }
    if (blobs != nullptr) report.blob_faults = TRY(checker.check_others());
    report.blobs = checker.num_checked();
    return report;
}

}  // namespace baleen::sandbox
