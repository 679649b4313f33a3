// Reads the records of one segment file in order and holds them to the chain. Pure: bytes in,
// records and faults out. Opening a log, verifying it and printing it all read through this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "sandbox/log/record.h"

namespace baleen::sandbox {

struct SegmentFault {
    size_t offset = 0;  // in the file, of the first byte that is not as it must be
    std::string what;
    // A record that is cut short or whose checksum does not hold, with no whole record after it:
    // what a writer leaves that dies while it appends.
    bool is_torn_tail = false;
};

class SegmentReader {
  public:
    // file: the whole segment, its header included, which the caller has decoded.
    // at: what the first record must say. Borrows file.
    SegmentReader(std::span<const uint8_t> file, ChainPoint at);

    // The next record; nullopt at the end of the file or at a fault.
    std::optional<RecordView> next();

    // Set once next() has met a fault; next() then stays there until skip_fault().
    const std::optional<SegmentFault>& fault() const { return fault_; }

    // Goes on with the next whole record after the fault, whatever seq and hash it has; at the end
    // of the file if there is none.
    void skip_fault();

    size_t offset() const { return offset_; }        // of the record that next() will read
    const ChainPoint& chain() const { return at_; }  // what that record must say

  private:
    void set_fault(std::string what, bool may_be_torn);
    // Of the first whole record behind offset_; the file's size if there is none.
    size_t next_whole_record();

    std::span<const uint8_t> file_;
    size_t offset_ = kSegmentHeaderBytes;
    ChainPoint at_;
    size_t at_offset_ = kSegmentHeaderBytes;  // where the file was last as at_ says
    std::optional<SegmentFault> fault_;
    size_t resume_at_ = 0;          // where skip_fault() goes on
    bool takes_any_place_ = false;  // the next record sets seq and hash anew
    size_t search_bytes_left_;      // that next_whole_record() may still checksum
};

}  // namespace baleen::sandbox
