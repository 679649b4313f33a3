#include "sandbox/log/branch.h"

#include <utility>
#include <vector>

#include "sandbox/log/call_index.h"
#include "sandbox/log/log_folder.h"

namespace baleen::sandbox {
namespace {

// Fills the segments of a new log, one after the other.
class SegmentFiller {
  public:
    SegmentFiller(NewLogFolder& folder, const SegmentHeader& header)
        : folder_(folder), header_(header) {}

    Result<void> add(uint64_t seq, std::span<const uint8_t> record) {
        if (kSegmentHeaderBytes + records_.size() + record.size() > kSegmentBytesMax) TRY(flush());
        if (records_.empty()) header_.first_seq = seq;
        records_.insert(records_.end(), record.begin(), record.end());
        return {};
    }
    Result<void> flush() {
        TRY(folder_.add_segment(header_, records_));
        records_.clear();
        return {};
    }

  private:
    NewLogFolder& folder_;
    SegmentHeader header_;
    std::vector<uint8_t> records_;
};

}  // namespace

Result<void> branch_log(const std::string& parent_folder, uint64_t at, OpenPayload opening,
                        const std::string& folder) {
    NewLogFolder made = TRY(NewLogFolder::begin(folder));
    SegmentFiller segments(made, {.trajectory = TrajectoryId::of_name(opening.name),
                                  .created_ns = opening.created_ns});
    std::string parent_name;
    const auto copy = [&](const RecordView& record, Location) -> Result<Visit> {
        if (record.head.seq > at) return Visit::kStop;  // at is 0
        if (record.head.type == RecordType::kOpen) {
            const Payload open = TRY(decode_payload(RecordType::kOpen, record.payload));
            parent_name = std::get<OpenPayload>(open).name;
        }
        TRY(segments.add(record.head.seq, record.stored));
        return record.head.seq == at ? Visit::kStop : Visit::kContinue;
    };
    const LogExtent parent = TRY(scan_log(parent_folder, copy));
    if (at == 0 || parent.end.next_seq != at + 1)
        return make_error(ErrorCode::kInvalidArgument, "{}: branch at seq {}, allowed are 1 to {}",
                          parent_folder, at, parent.end.next_seq - 1);
    opening.parent = {.name = parent_name, .at = at, .head = parent.end.previous};
    const std::string text = TRY(encode_payload(opening));
    std::vector<uint8_t> record;
    encode_record({.seq = at + 1,
                   .time_ns = opening.created_ns,
                   .type = RecordType::kOpen,
                   .previous = parent.end.previous},
                  text, record);
    TRY(segments.add(at + 1, record));
    TRY(segments.flush());
    return made.publish();
}

}  // namespace baleen::sandbox
