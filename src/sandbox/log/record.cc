#include "sandbox/log/record.h"

#include <algorithm>

#include "base/check.h"
#include "base/crc32c.h"
#include "sandbox/log/bytes.h"

namespace baleen::sandbox {
namespace {

constexpr std::string_view kMagic = "BTRJ0001";
constexpr uint8_t kRecordVersion = 1;

// Offsets of a segment header. Bytes 48 to 59 and the flags are zero.
constexpr size_t kIdAt = 8, kCreatedAt = 24, kFirstSeqAt = 32, kFlagsAt = 40, kHeaderCrcAt = 60;
// Offsets of a record.
constexpr size_t kLengthAt = 0, kCrcAt = 4, kSeqAt = 8, kTimeAt = 16, kTypeAt = 24, kVersionAt = 25,
                 kReservedAt = 26, kDistanceAt = 28, kPreviousAt = 32;
static_assert(kPreviousAt + sizeof(Sha256Digest) == kRecordHeaderBytes);

constexpr std::array<std::string_view, 11> kTypeNames = {"open",       "attach", "intent", "result",
                                                         "checkpoint", "pause",  "resume", "fork",
                                                         "network",    "event",  "seal"};

// What a record with a right checksum says that this version does not write.
std::string foreign_field(std::span<const uint8_t> bytes) {
    const auto type = record_type(bytes[kTypeAt]);
    if (!type)
        return fmt::format("record type {}, known are 1 to {}", bytes[kTypeAt], kTypeNames.size());
    if (bytes[kVersionAt] != kRecordVersion)
        return fmt::format("record version {}, known is {}", bytes[kVersionAt], kRecordVersion);
    if (load_number<uint16_t>(bytes, kReservedAt) != 0) return "the reserved bytes are not zero";
    const bool has_distance = load_number<uint32_t>(bytes, kDistanceAt) != 0;
    if (has_distance != (*type == RecordType::kResult))
        return has_distance ? "a distance to an intent on a record that is no result"
                            : "a result without a distance to its intent";
    return "";
}

RecordView view_of(std::span<const uint8_t> stored) {
    RecordView record;
    record.head.seq = load_number<uint64_t>(stored, kSeqAt);
    record.head.time_ns = load_number<uint64_t>(stored, kTimeAt);
    record.head.type = static_cast<RecordType>(stored[kTypeAt]);
    record.head.intent_distance = load_number<uint32_t>(stored, kDistanceAt);
    std::copy_n(stored.begin() + kPreviousAt, record.head.previous.size(),
                record.head.previous.begin());
    record.payload = text_of(stored.subspan(kRecordHeaderBytes));
    record.stored = stored;
    return record;
}

}  // namespace

// ---- names -------------------------------------------------------------------------------------

TrajectoryId TrajectoryId::of_name(std::string_view name) {
    const Sha256Digest digest = sha256(name);
    TrajectoryId id;
    std::copy_n(digest.begin(), id.bytes.size(), id.bytes.begin());
    return id;
}

std::optional<TrajectoryId> TrajectoryId::parse(std::string_view hex_text) {
    TrajectoryId id;
    if (!parse_hex(hex_text, id.bytes)) return std::nullopt;
    return id;
}

std::string TrajectoryId::hex() const {
    return baleen::hex(bytes);
}

Result<void> check_trajectory_name(std::string_view name) {
    const auto is_control = [](char c) { return static_cast<uint8_t>(c) < 0x20 || c == 0x7F; };
    if (name.empty() || name.size() > kTrajectoryNameBytesMax)
        return make_error(ErrorCode::kInvalidArgument,
                          "the trajectory's name has {} bytes, allowed are 1 to {}", name.size(),
                          kTrajectoryNameBytesMax);
    if (std::ranges::any_of(name, is_control))
        return make_error(ErrorCode::kInvalidArgument,
                          "the trajectory's name has a control character");
    return {};
}

std::optional<RecordType> record_type(uint8_t number) {
    if (number < 1 || number > kTypeNames.size()) return std::nullopt;
    return static_cast<RecordType>(number);
}

std::string_view name_of(RecordType type) {
    return kTypeNames[static_cast<size_t>(type) - 1];
}

// ---- segment header ----------------------------------------------------------------------------

std::array<uint8_t, kSegmentHeaderBytes> encode_segment_header(const SegmentHeader& header) {
    std::array<uint8_t, kSegmentHeaderBytes> bytes{};
    std::ranges::copy(bytes_of(kMagic), bytes.begin());
    std::ranges::copy(header.trajectory.bytes, bytes.begin() + kIdAt);
    store_number(bytes, kCreatedAt, header.created_ns);
    store_number(bytes, kFirstSeqAt, header.first_seq);
    store_number(bytes, kHeaderCrcAt, crc32c(std::span(bytes).first(kHeaderCrcAt)));
    return bytes;
}

Result<SegmentHeader> decode_segment_header(std::span<const uint8_t> bytes) {
    if (bytes.size() < kSegmentHeaderBytes)
        return make_error(ErrorCode::kCorrupt, "{} bytes, the segment header alone has {}",
                          bytes.size(), kSegmentHeaderBytes);
    bytes = bytes.first(kSegmentHeaderBytes);
    if (text_of(bytes.first(kMagic.size())) != kMagic)
        return make_error(ErrorCode::kCorrupt, "not a segment of a trajectory log (no {})", kMagic);
    if (load_number<uint32_t>(bytes, kHeaderCrcAt) != crc32c(bytes.first(kHeaderCrcAt)))
        return make_error(ErrorCode::kCorrupt, "the segment header's checksum does not hold");
    if (std::ranges::any_of(bytes.subspan(kFlagsAt, kHeaderCrcAt - kFlagsAt),
                            [](uint8_t byte) { return byte != 0; }))
        return make_error(ErrorCode::kCorrupt, "the segment header has unknown flags");
    SegmentHeader header;
    std::ranges::copy(bytes.subspan(kIdAt, header.trajectory.bytes.size()),
                      header.trajectory.bytes.begin());
    header.created_ns = load_number<uint64_t>(bytes, kCreatedAt);
    header.first_seq = load_number<uint64_t>(bytes, kFirstSeqAt);
    return header;
}

// ---- records -----------------------------------------------------------------------------------

void encode_record(const RecordHead& head, std::string_view payload, std::vector<uint8_t>& out) {
    CHECK_LE(payload.size(), kPayloadBytesMax);
    const size_t begin = out.size();
    out.resize(begin + kRecordHeaderBytes);
    out.insert(out.end(), payload.begin(), payload.end());
    const std::span<uint8_t> bytes = std::span(out).subspan(begin);
    store_number(bytes, kLengthAt, static_cast<uint32_t>(payload.size()));
    store_number(bytes, kSeqAt, head.seq);
    store_number(bytes, kTimeAt, head.time_ns);
    bytes[kTypeAt] = static_cast<uint8_t>(head.type);
    bytes[kVersionAt] = kRecordVersion;
    store_number(bytes, kReservedAt, uint16_t{0});
    store_number(bytes, kDistanceAt, head.intent_distance);
    std::ranges::copy(head.previous, bytes.begin() + kPreviousAt);
    store_number(bytes, kCrcAt, crc32c(bytes.subspan(kSeqAt)));
}

size_t payload_bytes_of(std::span<const uint8_t> bytes) {
    return load_number<uint32_t>(bytes, kLengthAt);
}

DecodedRecord decode_record(std::span<const uint8_t> bytes) {
    DecodedRecord decoded;
    if (bytes.size() < kRecordHeaderBytes) {
        decoded.fault =
            fmt::format("{} bytes, a record's header has {}", bytes.size(), kRecordHeaderBytes);
        return decoded;
    }
    const size_t length = payload_bytes_of(bytes);
    if (length > kPayloadBytesMax || length > bytes.size() - kRecordHeaderBytes) {
        decoded.fault = fmt::format("a payload of {} bytes, {} are left and at most {} allowed",
                                    length, bytes.size() - kRecordHeaderBytes, kPayloadBytesMax);
        return decoded;
    }
    const std::span<const uint8_t> stored = bytes.first(kRecordHeaderBytes + length);
    if (load_number<uint32_t>(stored, kCrcAt) != crc32c(stored.subspan(kSeqAt))) {
        decoded.fault = "the record's checksum does not hold";
        return decoded;
    }
    decoded.is_whole = true;
    decoded.fault = foreign_field(stored);
    if (decoded.fault.empty()) decoded.record = view_of(stored);
    return decoded;
}

}  // namespace baleen::sandbox
