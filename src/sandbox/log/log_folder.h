// The folder of one trajectory log: seg-00000001.log and on. Finding the segments, reading them
// through, and making a new folder that appears whole or not at all.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "sandbox/log/posix_file.h"
#include "sandbox/log/record.h"
#include "sandbox/log/segment_reader.h"

namespace baleen::sandbox {

inline constexpr uint64_t kSegmentBytesMax = uint64_t{64} << 20;
inline constexpr uint64_t kLogBytesMax = uint64_t{4} << 30;

// Segments are numbered from 1.
std::string segment_path(const std::string& folder, uint32_t number);

// How many segments there are. kNotFound: none; kCorrupt: one is missing in between.
Result<uint32_t> count_segments(const std::string& folder);

// Where a record begins.
struct Location {
    uint32_t segment = 0;
    uint32_t offset = 0;
};

struct LogExtent {
    SegmentHeader first;  // of the first segment
    uint32_t segments = 0;
    uint64_t last_bytes = 0;     // of the last segment, without a torn tail
    uint64_t earlier_bytes = 0;  // of all segments before it
    ChainPoint end;              // what the next record must say
    std::optional<SegmentFault> torn_tail;
};

// A fault of a segment as an error: "PATH: offset N: ...".
Error fault_error(const std::string& path, const SegmentFault& fault);

// The header of a segment, which must continue the log that `before` says. kCorrupt names the path.
Result<SegmentHeader> read_segment_header(const std::string& path, std::span<const uint8_t> file);
Result<void> check_segment_follows(const std::string& path, const SegmentHeader& header,
                                   const TrajectoryId& trajectory, uint64_t first_seq);

// Reads a log from its first record on. A torn tail of the last segment ends it; anything else that
// is not as it must be is an error. visit may stop the reading with an error of its own.
using VisitRecord = std::function<Result<void>(const RecordView& record, Location at)>;
Result<LogExtent> scan_log(const std::string& folder, const VisitRecord& visit);

// The bytes of the record that begins there, which decode_record accepts. kCorrupt if none does.
Result<std::vector<uint8_t>> read_stored_record(const PosixFile& segment, uint64_t offset);

// Writes a segment under a temporary name, syncs and renames it; the caller syncs the folder.
Result<PosixFile> write_segment(const std::string& path, const SegmentHeader& header,
                                std::span<const uint8_t> records, const DiskCalls& disk);

// A log's folder in the making, beside its later place. Removed unless publish() succeeds.
class NewLogFolder {
  public:
    static Result<NewLogFolder> begin(const std::string& folder);
    NewLogFolder(NewLogFolder&& other) noexcept
        : folder_(std::move(other.folder_)),
          temporary_(std::exchange(other.temporary_, {})),
          segments_(other.segments_) {}
    NewLogFolder& operator=(NewLogFolder&&) = delete;
    ~NewLogFolder();

    Result<void> add_segment(const SegmentHeader& header, std::span<const uint8_t> records);
    // kInvalidArgument if the folder exists by now.
    Result<void> publish();

  private:
    NewLogFolder(std::string folder, std::string temporary)
        : folder_(std::move(folder)), temporary_(std::move(temporary)) {}
    std::string folder_;
    std::string temporary_;  // empty once published
    uint32_t segments_ = 0;
};

// Removes what NewLogFolder leaves beside a log when its process dies.
bool is_unfinished_log(const std::string& name);
void remove_log_folder(const std::string& folder);

}  // namespace baleen::sandbox
