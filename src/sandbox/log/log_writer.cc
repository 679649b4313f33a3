#include "sandbox/log/log_writer.h"

#include <sys/file.h>

#include <cerrno>

#include "base/check.h"

namespace baleen::sandbox {
namespace {

Result<PosixFile> lock_folder(const std::string& folder) {
    PosixFile lock = TRY(PosixFile::open(folder, O_RDONLY | O_DIRECTORY));
    if (::flock(lock.fd(), LOCK_EX | LOCK_NB) == 0) return lock;
    if (errno != EWOULDBLOCK) return errno_error(folder, "lock");
    return make_error(ErrorCode::kExhausted, "{}: another writer has the log open", folder);
}

}  // namespace

Result<LogWriter> LogWriter::open(const std::string& folder, const DiskCalls& disk,
                                  const VisitRecord& visit) {
    PosixFile lock = TRY(lock_folder(folder));
    // A segment that was begun by a writer that died before it had a name.
    const uint32_t last = TRY(count_segments(folder));
    ::unlink((segment_path(folder, last + 1) + ".tmp").c_str());
    const LogExtent extent = TRY(scan_log(folder, visit));
    PosixFile file = TRY(PosixFile::open(segment_path(folder, extent.segments), O_RDWR));
    const uint64_t size = TRY(file.size());
    LogWriter writer(folder, std::move(lock), std::move(file), disk);
    writer.extent_ = extent;
    writer.cut_bytes_ = size - extent.last_bytes;
    // Also without a torn tail: whole records may be in memory alone, and so may the last rename.
    TRY(writer.cut_tail());
    TRY(sync_folder(folder));
    return writer;
}

Result<void> LogWriter::cut_tail() {
    has_tail_ = true;
    if (auto cut = file_.truncate(extent_.last_bytes); !cut) return cut;
    if (auto synced = file_.sync(disk_); !synced) return synced;
    has_tail_ = false;
    return {};
}

Result<void> LogWriter::begin_segment(uint64_t first_seq, uint64_t now_ns) {
    if (has_tail_) TRY(cut_tail());
    const std::string path = segment_path(folder_, extent_.segments + 1);
    const SegmentHeader header = {extent_.first.trajectory, now_ns, first_seq};
    PosixFile next = TRY(write_segment(path, header, {}, disk_));
    if (auto synced = sync_folder(folder_); !synced) {
        ::unlink(path.c_str());
        return synced;
    }
    file_ = std::move(next);
    extent_.earlier_bytes += extent_.last_bytes;
    extent_.last_bytes = kSegmentHeaderBytes;
    ++extent_.segments;
    return {};
}

Result<void> LogWriter::append(std::span<const uint8_t> bytes) {
    if (has_tail_) TRY(cut_tail());
    CHECK_LE(extent_.last_bytes + bytes.size(), kSegmentBytesMax);
    auto appended = file_.write_at(extent_.last_bytes, bytes, disk_);
    if (appended) appended = file_.sync(disk_);
    if (!appended) {
        // If this fails too, the next append tries again before it writes.
        (void)cut_tail();
        return appended;
    }
    extent_.last_bytes += bytes.size();
    return {};
}

}  // namespace baleen::sandbox
