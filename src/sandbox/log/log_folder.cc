#include "sandbox/log/log_folder.h"

#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/file.h"

namespace baleen::sandbox {
namespace {

constexpr std::string_view kUnfinished = ".new-";

}  // namespace

// ---- reading -----------------------------------------------------------------------------------

std::string segment_path(const std::string& folder, uint32_t number) {
    return fmt::format("{}/seg-{:08}.log", folder, number);
}

Result<uint32_t> count_segments(const std::string& folder) {
    uint32_t last = 0, found = 0;
    for (const std::string& name : TRY(list_folder(folder))) {
        unsigned number = 0;
        if (std::sscanf(name.c_str(), "seg-%8u.log", &number) != 1) continue;
        if (segment_path(folder, number) != folder + "/" + name) continue;
        ++found;
        last = std::max(last, number);
    }
    if (found == 0)
        return make_error(ErrorCode::kNotFound, "{}: no segments of a trajectory log", folder);
    for (uint32_t number = 1; found < last && number <= last; ++number)
        if (!exists(segment_path(folder, number)))
            return make_error(ErrorCode::kCorrupt, "{}: missing, there are segments up to {}",
                              segment_path(folder, number), last);
    return last;
}

Error fault_error(const std::string& path, const SegmentFault& fault) {
    return make_error(ErrorCode::kCorrupt, "{}: offset {}: {}", path, fault.offset, fault.what);
}

Result<SegmentHeader> read_segment_header(const std::string& path, std::span<const uint8_t> file) {
    auto header = decode_segment_header(file);
    if (!header) return std::move(header).error().in(path + ": offset 0");
    return header;
}

Result<void> check_segment_follows(const std::string& path, const SegmentHeader& header,
                                   const TrajectoryId& trajectory, uint64_t first_seq) {
    if (header.trajectory != trajectory)
        return make_error(ErrorCode::kCorrupt, "{}: offset 8: of trajectory {}, expected {}", path,
                          header.trajectory.hex(), trajectory.hex());
    if (header.first_seq != first_seq)
        return make_error(ErrorCode::kCorrupt, "{}: offset 32: begins with seq {}, expected {}",
                          path, header.first_seq, first_seq);
    return {};
}

Result<LogExtent> scan_log(const std::string& folder, const VisitRecord& visit) {
    LogExtent extent;
    extent.segments = TRY(count_segments(folder));
    for (uint32_t number = 1; number <= extent.segments; ++number) {
        const MappedFile file = TRY(MappedFile::open(segment_path(folder, number)));
        const SegmentHeader header = TRY(read_segment_header(file.path(), file.bytes()));
        if (number == 1) extent.first = header;
        TRY(check_segment_follows(file.path(), header, extent.first.trajectory,
                                  extent.end.next_seq));
        SegmentReader reader(file.bytes(), extent.end);
        uint32_t offset = kSegmentHeaderBytes;
        while (const auto record = reader.next()) {
            TRY(visit(*record, {number, offset}));
            offset = static_cast<uint32_t>(reader.offset());
        }
        const bool is_last = number == extent.segments;
        if (reader.fault() && !(is_last && reader.fault()->is_torn_tail))
            return fault_error(file.path(), *reader.fault());
        extent.torn_tail = reader.fault();
        extent.end = reader.chain();
        (is_last ? extent.last_bytes : extent.earlier_bytes) += reader.offset();
    }
    return extent;
}

Result<std::vector<uint8_t>> read_stored_record(const PosixFile& segment, uint64_t offset) {
    std::vector<uint8_t> stored(kRecordHeaderBytes);
    TRY(segment.read_at(offset, stored));
    const size_t length = payload_bytes_of(stored);
    if (length <= kPayloadBytesMax) {
        stored.resize(kRecordHeaderBytes + length);
        TRY(segment.read_at(offset + kRecordHeaderBytes,
                            std::span(stored).subspan(kRecordHeaderBytes)));
    }
    const DecodedRecord decoded = decode_record(stored);
    if (!decoded.record)
        return fault_error(segment.path(), {.offset = offset, .what = decoded.fault});
    return stored;
}

// ---- writing -----------------------------------------------------------------------------------

Result<PosixFile> write_segment(const std::string& path, const SegmentHeader& header,
                                std::span<const uint8_t> records, const DiskCalls& disk) {
    const std::string temporary = path + ".tmp";
    const auto write = [&]() -> Result<PosixFile> {
        PosixFile file = TRY(PosixFile::open(temporary, O_RDWR | O_CREAT | O_TRUNC));
        TRY(file.write_at(0, encode_segment_header(header), disk));
        TRY(file.write_at(kSegmentHeaderBytes, records, disk));
        TRY(file.sync(disk));
        if (::rename(temporary.c_str(), path.c_str()) != 0) return errno_error(path, "rename to");
        return file;
    };
    auto file = write();
    if (!file) ::unlink(temporary.c_str());
    return file;
}

Result<NewLogFolder> NewLogFolder::begin(const std::string& folder) {
    static std::atomic<uint64_t> next{0};
    if (exists(folder))
        return make_error(ErrorCode::kInvalidArgument, "{}: exists already", folder);
    TRY(make_folders(folder_of(folder)));
    std::string temporary =
        fmt::format("{}{}{}-{}", folder, kUnfinished, ::getpid(), next.fetch_add(1));
    if (::mkdir(temporary.c_str(), 0755) != 0) return errno_error(temporary, "create");
    return NewLogFolder(folder, std::move(temporary));
}

NewLogFolder::~NewLogFolder() {
    if (!temporary_.empty()) remove_log_folder(temporary_);
}

Result<void> NewLogFolder::add_segment(const SegmentHeader& header,
                                       std::span<const uint8_t> records) {
    const std::string path = segment_path(temporary_, ++segments_);
    TRY(write_segment(path, header, records, {}));
    return {};
}

Result<void> NewLogFolder::publish() {
    TRY(sync_folder(temporary_));
    if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, folder_.c_str(), RENAME_NOREPLACE) != 0)
        return errno == EEXIST
                   ? make_error(ErrorCode::kInvalidArgument, "{}: exists already", folder_)
                   : errno_error(folder_, "rename to");
    temporary_.clear();
    return sync_folder(folder_of(folder_));
}

bool is_unfinished_log(const std::string& name) {
    return name.find(kUnfinished) != std::string::npos;
}

void remove_log_folder(const std::string& folder) {
    const auto names = list_folder(folder);
    if (!names) return;
    for (const std::string& name : *names) ::unlink((folder + "/" + name).c_str());
    ::rmdir(folder.c_str());
}

}  // namespace baleen::sandbox
