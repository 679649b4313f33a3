// The bytes of a trajectory log: the header of a segment file and one record (docs/formats.md,
// "Trajectory log"). Pure functions on bytes; what payloads mean is in payload.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/sha256.h"

namespace baleen::sandbox {

inline constexpr size_t kSegmentHeaderBytes = 64;
inline constexpr size_t kRecordHeaderBytes = 64;
inline constexpr size_t kPayloadBytesMax = size_t{4} << 20;
inline constexpr size_t kRecordBytesMax = kRecordHeaderBytes + kPayloadBytesMax;

// Longest name of a trajectory: UTF-8 without control characters.
inline constexpr size_t kTrajectoryNameBytesMax = 256;

// Names a trajectory's folder and stands in its segment headers: the first half of the name's
// SHA-256, so that the folder is found without an index.
struct TrajectoryId {
    std::array<uint8_t, 16> bytes{};

    // REQUIRES: the name passed check_trajectory_name.
    static TrajectoryId of_name(std::string_view name);
    static std::optional<TrajectoryId> parse(std::string_view hex_text);  // 32 of [0-9a-f]
    std::string hex() const;
    bool operator==(const TrajectoryId&) const = default;
};

Result<void> check_trajectory_name(std::string_view name);

struct SegmentHeader {
    TrajectoryId trajectory;
    uint64_t created_ns = 0;  // since 1970
    uint64_t first_seq = 0;
};

std::array<uint8_t, kSegmentHeaderBytes> encode_segment_header(const SegmentHeader& header);
// kCorrupt says what is wrong. Reads the first kSegmentHeaderBytes.
Result<SegmentHeader> decode_segment_header(std::span<const uint8_t> bytes);

enum class RecordType : uint8_t {
    kOpen = 1,
    kAttach = 2,
    kIntent = 3,
    kResult = 4,
    kCheckpoint = 5,
    kPause = 6,
    kResume = 7,
    kFork = 8,
    kNetwork = 9,
    kEvent = 10,
    kSeal = 11,
};

// "open", "attach", ...; nullopt for a number that is no type.
std::optional<RecordType> record_type(uint8_t number);
std::string_view name_of(RecordType type);

// Place in the order of a trajectory, and the hash that ties a record to the one before it.
struct ChainPoint {
    uint64_t next_seq = 1;
    Sha256Digest previous{};  // of the record before; zeros before the first
};

struct RecordHead {
    uint64_t seq = 0;
    uint64_t time_ns = 0;  // since 1970
    RecordType type = RecordType::kEvent;
    uint32_t intent_distance = 0;  // results: seq less the intent's seq; else 0
    Sha256Digest previous{};
};

// A whole record; its views point into the bytes that it was decoded from.
struct RecordView {
    RecordHead head;
    std::string_view payload;
    std::span<const uint8_t> stored;

    ChainPoint next() const { return {head.seq + 1, sha256(stored)}; }
};

// Appends the record's bytes to out. REQUIRES: payload.size() <= kPayloadBytesMax.
void encode_record(const RecordHead& head, std::string_view payload, std::vector<uint8_t>& out);

// What the header at the beginning of bytes says. REQUIRES: kRecordHeaderBytes are there.
size_t payload_bytes_of(std::span<const uint8_t> bytes);

struct DecodedRecord {
    std::optional<RecordView> record;
    std::string fault;      // what is wrong, where there is no record
    bool is_whole = false;  // the checksum holds: with a fault, the bytes were written like that
};

// The record at the beginning of bytes.
DecodedRecord decode_record(std::span<const uint8_t> bytes);

}  // namespace baleen::sandbox
