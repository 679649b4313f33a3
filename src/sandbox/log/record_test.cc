#include "sandbox/log/record.h"

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "sandbox/log/bytes.h"

namespace baleen::sandbox {
namespace {

std::vector<uint8_t> encoded(const RecordHead& head, std::string_view payload) {
    std::vector<uint8_t> bytes;
    encode_record(head, payload, bytes);
    return bytes;
}

RecordHead sample_head() {
    RecordHead head = {.seq = 0x0102030405060708,
                       .time_ns = 0x1112131415161718,
                       .type = RecordType::kResult,
                       .intent_distance = 0x21222324};
    for (size_t i = 0; i < head.previous.size(); ++i)
        head.previous[i] = static_cast<uint8_t>(0x80 + i);
    return head;
}

// The checksums were computed by another implementation (tests/e2e/trajectory_files.py).
TEST(Record, HasTheBytesOfTheTable) {
    EXPECT_EQ(hex(encoded(sample_head(), "{\"a\":1}")),
              "07000000"
              "7254b821"
              "0807060504030201"
              "1817161514131211"
              "04"
              "01"
              "0000"
              "24232221"
              "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"
              "7b2261223a317d");
}

TEST(SegmentHeader, HasTheBytesOfTheTable) {
    const SegmentHeader header = {
        .trajectory = *TrajectoryId::parse("000102030405060708090a0b0c0d0e0f"),
        .created_ns = 0x1112131415161718,
        .first_seq = 0x0102030405060708};
    EXPECT_EQ(hex(encode_segment_header(header)),
              "4254524a30303031"
              "000102030405060708090a0b0c0d0e0f"
              "1817161514131211"
              "0807060504030201"
              "0000000000000000"
              "000000000000000000000000"
              "f4c09ef9");
}

TEST(SegmentHeader, ComesBackAndEveryFlippedBitIsFound) {
    const SegmentHeader header = {TrajectoryId::of_name("swe/1"), 123, 45};
    auto bytes = encode_segment_header(header);
    const auto back = decode_segment_header(bytes);
    ASSERT_TRUE(back);
    EXPECT_EQ(back->trajectory, header.trajectory);
    EXPECT_EQ(back->created_ns, 123u);
    EXPECT_EQ(back->first_seq, 45u);
    for (size_t at = 0; at < bytes.size(); ++at)
        for (int bit = 0; bit < 8; ++bit) {
            bytes[at] ^= static_cast<uint8_t>(1 << bit);
            EXPECT_FALSE(decode_segment_header(bytes)) << at;
            bytes[at] ^= static_cast<uint8_t>(1 << bit);
        }
    for (size_t size = 0; size < bytes.size(); ++size)
        EXPECT_FALSE(decode_segment_header(std::span(bytes).first(size)));
}

TEST(Record, ComesBack) {
    for (const std::string& payload : {std::string(), std::string("{}"), std::string(5000, 'x')}) {
        std::vector<uint8_t> bytes = encoded(sample_head(), payload);
        EXPECT_EQ(bytes.size(), kRecordHeaderBytes + payload.size());
        bytes.resize(bytes.size() + 10, 0xEE);  // what follows is not its business
        const DecodedRecord decoded = decode_record(bytes);
        ASSERT_TRUE(decoded.record) << decoded.fault;
        EXPECT_EQ(decoded.record->head.seq, sample_head().seq);
        EXPECT_EQ(decoded.record->head.time_ns, sample_head().time_ns);
        EXPECT_EQ(decoded.record->head.type, RecordType::kResult);
        EXPECT_EQ(decoded.record->head.intent_distance, sample_head().intent_distance);
        EXPECT_EQ(decoded.record->head.previous, sample_head().previous);
        EXPECT_EQ(decoded.record->payload, payload);
        EXPECT_EQ(decoded.record->stored.size(), kRecordHeaderBytes + payload.size());
    }
}

TEST(Record, EveryCutAndEveryFlippedBitIsFound) {
    std::vector<uint8_t> bytes = encoded(sample_head(), "{\"a\":1}");
    for (size_t size = 0; size < bytes.size(); ++size) {
        const DecodedRecord decoded = decode_record(std::span(bytes).first(size));
        EXPECT_FALSE(decoded.record);
        EXPECT_FALSE(decoded.is_whole);
        EXPECT_FALSE(decoded.fault.empty());
    }
    for (size_t at = 0; at < bytes.size(); ++at)
        for (int bit = 0; bit < 8; ++bit) {
            bytes[at] ^= static_cast<uint8_t>(1 << bit);
            const DecodedRecord decoded = decode_record(bytes);
            EXPECT_FALSE(decoded.record) << at;
            EXPECT_FALSE(decoded.is_whole) << at;
            bytes[at] ^= static_cast<uint8_t>(1 << bit);
        }
}

// Written on purpose, with a checksum that holds: no writer of this version does that.
TEST(Record, ForeignFieldsAreFaultsOfWholeRecords) {
    const auto fault = [](size_t at, uint8_t value, RecordType type) {
        RecordHead head = sample_head();
        head.type = type;
        if (type != RecordType::kResult) head.intent_distance = 0;
        std::vector<uint8_t> bytes = encoded(head, "{}");
        bytes[at] = value;
        store_number(bytes, 4, crc32c(std::span(bytes).subspan(8)));
        const DecodedRecord decoded = decode_record(bytes);
        EXPECT_FALSE(decoded.record);
        EXPECT_TRUE(decoded.is_whole);
        return decoded.fault;
    };
    EXPECT_EQ(fault(24, 0, RecordType::kEvent), "record type 0, known are 1 to 11");
    EXPECT_EQ(fault(24, 12, RecordType::kEvent), "record type 12, known are 1 to 11");
    EXPECT_EQ(fault(25, 2, RecordType::kEvent), "record version 2, known is 1");
    EXPECT_EQ(fault(26, 1, RecordType::kEvent), "the reserved bytes are not zero");
    EXPECT_EQ(fault(31, 1, RecordType::kEvent),
              "a distance to an intent on a record that is no result");
    EXPECT_EQ(fault(24, 4, RecordType::kEvent), "a result without a distance to its intent");
}

TEST(TrajectoryName, IsOneLineOfBoundedLength) {
    EXPECT_TRUE(check_trajectory_name("swe-1234/sample-7"));
    EXPECT_TRUE(check_trajectory_name("\xC3\xA9t\xC3\xA9"));
    EXPECT_TRUE(check_trajectory_name(std::string(256, 'a')));
    EXPECT_FALSE(check_trajectory_name(""));
    EXPECT_FALSE(check_trajectory_name(std::string(257, 'a')));
    EXPECT_FALSE(check_trajectory_name("a\nb"));
    EXPECT_FALSE(check_trajectory_name(std::string_view("a\0b", 3)));
    EXPECT_FALSE(check_trajectory_name("a\x7F"));
}

TEST(TrajectoryId, IsHalfTheDigestOfTheName) {
    const TrajectoryId id = TrajectoryId::of_name("abc");
    EXPECT_EQ(id.hex(), "ba7816bf8f01cfea414140de5dae2223");
    EXPECT_EQ(TrajectoryId::parse(id.hex()), id);
    EXPECT_FALSE(TrajectoryId::parse("ba7816bf8f01cfea414140de5dae222"));
    EXPECT_FALSE(TrajectoryId::parse("BA7816bf8f01cfea414140de5dae2223"));
}

}  // namespace
}  // namespace baleen::sandbox
