#include "sandbox/log/segment_reader.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "sandbox/log/bytes.h"

namespace baleen::sandbox {
namespace {

// Most bytes that the search for whole records checksums in a file: one made to look like a record
// at every byte must not take hours. A fault where it ends counts as damage, so nothing is cut.
constexpr size_t kSearchBytesMax = size_t{1} << 30;

// The fields of a record's header that tell most places in a file from the start of a record.
bool looks_like_record(std::span<const uint8_t> bytes, uint64_t seq_min, uint64_t seq_max) {
    if (!record_type(bytes[24]) || bytes[25] != 1) return false;
    const size_t length = payload_bytes_of(bytes);
    if (length > kPayloadBytesMax || length > bytes.size() - kRecordHeaderBytes) return false;
    const uint64_t seq = load_number<uint64_t>(bytes, 8);
    return seq >= seq_min && seq <= seq_max;
}

}  // namespace

SegmentReader::SegmentReader(std::span<const uint8_t> file, ChainPoint at)
    : file_(file), at_(at), search_bytes_left_(kSearchBytesMax) {
    CHECK_GE(file.size(), kSegmentHeaderBytes);
}

std::optional<RecordView> SegmentReader::next() {
    if (fault_ || offset_ == file_.size()) return std::nullopt;
    DecodedRecord decoded = decode_record(file_.subspan(offset_));
    if (!decoded.record) {
        set_fault(std::move(decoded.fault), !decoded.is_whole);
        return std::nullopt;
    }
    const RecordView& record = *decoded.record;
    if (!takes_any_place_ && record.head.seq != at_.next_seq) {
        set_fault(fmt::format("seq {}, expected {}", record.head.seq, at_.next_seq), false);
        return std::nullopt;
    }
    if (!takes_any_place_ && record.head.previous != at_.previous) {
        set_fault(fmt::format("seq {} is chained to {}, the record before it is {}",
                              record.head.seq, hex(record.head.previous), hex(at_.previous)),
                  false);
        return std::nullopt;
    }
    takes_any_place_ = false;
    offset_ += record.stored.size();
    at_ = record.next();
    at_offset_ = offset_;
    return record;
}

void SegmentReader::set_fault(std::string what, bool may_be_torn) {
    // A record that is whole but in the wrong place is read again, without what came before.
    const bool is_misplaced = !may_be_torn && decode_record(file_.subspan(offset_)).record;
    resume_at_ = is_misplaced ? offset_ : next_whole_record();
    const bool nothing_follows = resume_at_ == file_.size() && search_bytes_left_ > 0;
    fault_ = SegmentFault{offset_, std::move(what), may_be_torn && nothing_follows};
}

void SegmentReader::skip_fault() {
    CHECK(fault_.has_value());
    offset_ = resume_at_;
    takes_any_place_ = true;
    fault_.reset();
}

size_t SegmentReader::next_whole_record() {
    for (size_t at = offset_ + 1; at + kRecordHeaderBytes <= file_.size(); ++at) {
        const std::span<const uint8_t> rest = file_.subspan(at);
        // Since the file was last as it must be there is room for so many records and no more.
        const uint64_t skipped_max = (at - at_offset_) / kRecordHeaderBytes + 1;
        if (!looks_like_record(rest, at_.next_seq, at_.next_seq + skipped_max)) continue;
        const size_t size = kRecordHeaderBytes + payload_bytes_of(rest);
        search_bytes_left_ -= std::min(search_bytes_left_, size);
        if (search_bytes_left_ == 0) break;
        if (decode_record(rest).is_whole) return at;
    }
    return file_.size();
}

}  // namespace baleen::sandbox
