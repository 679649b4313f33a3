#include "sandbox/log/segment_reader.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/crc32c.h"
#include "sandbox/log/bytes.h"

namespace baleen::sandbox {
namespace {

struct Segment {
    std::vector<uint8_t> bytes;
    std::vector<size_t> begins;  // of each record, and the end
};

Segment make_segment(size_t num_records) {
    Segment segment;
    const auto header = encode_segment_header({TrajectoryId::of_name("t"), 1, 1});
    segment.bytes.assign(header.begin(), header.end());
    ChainPoint chain;
    for (size_t i = 0; i < num_records; ++i) {
        segment.begins.push_back(segment.bytes.size());
        encode_record({.seq = chain.next_seq, .time_ns = 1000 + i, .previous = chain.previous},
                      "{\"n\":" + std::to_string(i) + "}", segment.bytes);
        const auto stored = std::span(segment.bytes).subspan(segment.begins.back());
        chain = {chain.next_seq + 1, sha256(std::span<const uint8_t>(stored))};
    }
    segment.begins.push_back(segment.bytes.size());
    return segment;
}

struct Reading {
    std::vector<uint64_t> seqs;
    std::vector<SegmentFault> faults;
};

Reading read_through_faults(std::span<const uint8_t> bytes) {
    SegmentReader reader(bytes, {});
    Reading reading;
    for (;;) {
        while (const auto record = reader.next()) reading.seqs.push_back(record->head.seq);
        if (!reader.fault()) return reading;
        reading.faults.push_back(*reader.fault());
        reader.skip_fault();
    }
}

TEST(SegmentReader, ReadsWhatWasWritten) {
    const Segment segment = make_segment(5);
    SegmentReader reader(segment.bytes, {});
    for (uint64_t seq = 1; seq <= 5; ++seq) {
        EXPECT_EQ(reader.offset(), segment.begins[seq - 1]);
        const auto record = reader.next();
        ASSERT_TRUE(record);
        EXPECT_EQ(record->head.seq, seq);
        EXPECT_EQ(record->payload, "{\"n\":" + std::to_string(seq - 1) + "}");
    }
    EXPECT_FALSE(reader.next());
    EXPECT_FALSE(reader.fault());
    EXPECT_EQ(reader.offset(), segment.bytes.size());
    EXPECT_EQ(reader.chain().next_seq, 6u);
}

TEST(SegmentReader, ATornTailIsFoundAtEveryByte) {
    const Segment segment = make_segment(4);
    for (size_t size = kSegmentHeaderBytes; size < segment.bytes.size(); ++size) {
        const Reading reading = read_through_faults(std::span(segment.bytes).first(size));
        size_t whole = 0;
        while (segment.begins[whole + 1] <= size) ++whole;
        EXPECT_EQ(reading.seqs.size(), whole) << size;
        if (segment.begins[whole] == size) {
            EXPECT_TRUE(reading.faults.empty()) << size;
            continue;
        }
        ASSERT_EQ(reading.faults.size(), 1u) << size;
        EXPECT_TRUE(reading.faults[0].is_torn_tail) << size;
        EXPECT_EQ(reading.faults[0].offset, segment.begins[whole]) << size;
    }
}

// What a file system may leave of an append: the right length, and zeros or old bytes at the end.
TEST(SegmentReader, ATailOfZerosOrGarbageIsTorn) {
    const Segment segment = make_segment(3);
    for (const uint8_t filler : std::vector<uint8_t>{0x00, 0xFF, 0x01})
        for (size_t begin = segment.begins[2]; begin < segment.bytes.size(); ++begin) {
            std::vector<uint8_t> bytes = segment.bytes;
            std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(begin), bytes.end(), filler);
            if (bytes == segment.bytes) continue;
            const Reading reading = read_through_faults(bytes);
            EXPECT_EQ(reading.seqs, (std::vector<uint64_t>{1, 2}));
            ASSERT_EQ(reading.faults.size(), 1u);
            EXPECT_TRUE(reading.faults[0].is_torn_tail);
        }
}

TEST(SegmentReader, AFlippedBitIsDamageUnlessItIsInTheLastRecord) {
    Segment segment = make_segment(4);
    for (size_t at = kSegmentHeaderBytes; at < segment.bytes.size(); ++at)
        for (int bit = 0; bit < 8; ++bit) {
            segment.bytes[at] ^= static_cast<uint8_t>(1 << bit);
            const Reading reading = read_through_faults(segment.bytes);
            segment.bytes[at] ^= static_cast<uint8_t>(1 << bit);
            ASSERT_EQ(reading.faults.size(), 1u) << at;
            size_t damaged = 0;
            while (segment.begins[damaged + 1] <= at) ++damaged;
            EXPECT_EQ(reading.faults[0].offset, segment.begins[damaged]) << at;
            EXPECT_EQ(reading.faults[0].is_torn_tail, damaged == 3) << at;
            EXPECT_EQ(reading.seqs.size(), 3u) << at;  // the others are read all the same
        }
}

TEST(SegmentReader, RecordsThatAreMissingRepeatedOrOutOfOrderAreFound) {
    const Segment segment = make_segment(5);
    const auto rebuilt = [&](const std::vector<size_t>& order) {
        std::vector<uint8_t> bytes(segment.bytes.begin(),
                                   segment.bytes.begin() + kSegmentHeaderBytes);
        for (const size_t i : order)
            bytes.insert(
                bytes.end(), segment.bytes.begin() + static_cast<std::ptrdiff_t>(segment.begins[i]),
                segment.bytes.begin() + static_cast<std::ptrdiff_t>(segment.begins[i + 1]));
        return read_through_faults(bytes);
    };
    for (const auto& order : std::vector<std::vector<size_t>>{
             {1, 2, 3, 4}, {0, 1, 3, 4}, {0, 1, 1, 2, 3, 4}, {0, 1, 3, 2, 4}, {0, 1, 2, 3, 4, 2}}) {
        const Reading reading = rebuilt(order);
        ASSERT_GE(reading.faults.size(), 1u);
        for (const SegmentFault& fault : reading.faults) EXPECT_FALSE(fault.is_torn_tail);
        EXPECT_EQ(reading.faults[0].what.substr(0, 4), "seq ");
        EXPECT_EQ(reading.seqs.size(), order.size());
    }
}

// The checksum can be made anew by whoever changes a record; the hash in the next one cannot.
TEST(SegmentReader, AForgedRecordBreaksTheChain) {
    Segment segment = make_segment(3);
    const size_t second = segment.begins[1];
    segment.bytes[second + kRecordHeaderBytes + 5] = '7';
    const auto stored =
        std::span(segment.bytes).subspan(second, segment.begins[2] - segment.begins[1]);
    store_number(stored, 4, crc32c(stored.subspan(8)));
    const Reading reading = read_through_faults(segment.bytes);
    ASSERT_EQ(reading.faults.size(), 1u);
    EXPECT_EQ(reading.faults[0].offset, segment.begins[2]);
    EXPECT_EQ(reading.faults[0].what.substr(0, 19), "seq 3 is chained to");
}

// At every byte something that could be a record: the search for whole records ends, and what it
// has not looked at is not cut.
TEST(SegmentReader, AFileOfLookAlikesIsReadInBoundedTime) {
    Segment segment = make_segment(1);
    const size_t begin = segment.bytes.size();
    segment.bytes.resize(begin + (size_t{6} << 20));
    for (size_t at = begin + 64; at + 8 * kRecordHeaderBytes < segment.bytes.size();
         at += kRecordHeaderBytes) {
        const std::span<uint8_t> bytes = std::span(segment.bytes).subspan(at);
        const size_t length = std::min(kPayloadBytesMax, bytes.size() - kRecordHeaderBytes);
        store_number(bytes, 0, static_cast<uint32_t>(length));
        store_number(bytes, 8, uint64_t{2});
        bytes[24] = 10;
        bytes[25] = 1;
    }
    const Reading reading = read_through_faults(segment.bytes);
    EXPECT_EQ(reading.seqs, (std::vector<uint64_t>{1}));
    ASSERT_EQ(reading.faults.size(), 1u);
    EXPECT_FALSE(reading.faults[0].is_torn_tail);
}

}  // namespace
}  // namespace baleen::sandbox
