// LogWriter: appends bytes to the last segment of a log and begins new segments. Whatever fails,
// the file is put back to where it stood, so that the next append comes after whole records only.
// One thread at a time; private to sandbox/log.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "base/result.h"
#include "sandbox/log/log_folder.h"

namespace baleen::sandbox {

class LogWriter {
  public:
    // Takes the folder's lock, reads the log through, cuts a torn tail and makes durable what was
    // only written. kExhausted: somebody else has the lock.
    static Result<LogWriter> open(const std::string& folder, const DiskCalls& disk,
                                  const VisitRecord& visit);

    // The next append goes to a new segment, whose first record will be first_seq.
    Result<void> begin_segment(uint64_t first_seq, uint64_t now_ns);

    // Durable when it returns; with an error, none of the bytes are there, or they will be cut
    // before the next append.
    Result<void> append(std::span<const uint8_t> bytes);

    const SegmentHeader& first() const { return extent_.first; }
    const ChainPoint& end_at_open() const { return extent_.end; }
    // Bytes that the torn tail had.
    uint64_t cut_bytes() const { return cut_bytes_; }

    uint64_t segment_bytes() const { return extent_.last_bytes; }  // of the last segment
    uint64_t bytes() const { return extent_.earlier_bytes + extent_.last_bytes; }
    Location next_location() const {
        return {extent_.segments, static_cast<uint32_t>(extent_.last_bytes)};
    }

  private:
    LogWriter(std::string folder, PosixFile lock, PosixFile file, const DiskCalls& disk)
        : folder_(std::move(folder)), lock_(std::move(lock)), file_(std::move(file)), disk_(disk) {}
    Result<void> cut_tail();

    std::string folder_;
    PosixFile lock_;
    PosixFile file_;  // the last segment
    DiskCalls disk_;
    LogExtent extent_;
    uint64_t cut_bytes_ = 0;
    bool has_tail_ = false;  // the file may have bytes beyond extent_.last_bytes
};

}  // namespace baleen::sandbox
