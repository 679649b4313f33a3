#include "sandbox/log/verify.h"

#include <algorithm>

#include "base/crc32c.h"
#include "sandbox/log/bytes.h"
#include "sandbox/log/log_fixture.h"

namespace baleen::sandbox {
namespace {

// A state folder with one log of two segments and two blobs.
class VerifyTest : public ::testing::Test {
  protected:
    void SetUp() override {
        const auto blobs = BlobStore::open(folder_ / "blobs").value();
        log_folder_ = folder_ / ("trajectories/" + TrajectoryId::of_name("t").hex());
        const auto log =
            TrajectoryLog::create(log_folder_, opening("t"), {.segment_bytes_max = 1200}).value();
        Intent intent = shell_intent("a", 0);
        intent.request.input = blobs->keep(std::string(4200, 'i')).value();
        OpResult result = text_result("x");
        result.standard_error = whole_output(blobs->keep(std::string(4100, 'e')).value());
        run_op(*log, intent, result);
        log->attach("trainer").value();
        log->note(RecordType::kCheckpoint, "{\"files\":1}").value();
        log->begin(shell_intent("b", 1, 1)).value();
    }
    StateReport verify() const { return verify_folder(folder_.path()).value(); }

    // Every fault, with its folder's path left out.
    std::vector<std::string> faults() const {
        std::vector<std::string> lines;
        const StateReport report = verify();
        const auto add = [&](const LogFault& fault) {
            lines.push_back(fmt::format("{} {} {} {}",
                                        std::filesystem::path(fault.path).filename().string(),
                                        fault.offset, fault.seq, fault.what));
        };
        for (const LogReport& log : report.logs)
            for (const LogFault& fault : log.faults) add(fault);
        for (const LogFault& fault : report.blob_faults) add(fault);
        return lines;
    }
    std::string segment(uint32_t number) const { return segment_path(log_folder_, number); }

    TempFolder folder_;
    std::string log_folder_;
};

TEST_F(VerifyTest, FindsNothingWrongInAWholeLog) {
    const StateReport report = verify();
    EXPECT_TRUE(faults().empty());
    ASSERT_EQ(report.logs.size(), 1u);
    const LogReport& log = report.logs[0];
    EXPECT_EQ(log.name, "t");
    EXPECT_EQ(log.trajectory, TrajectoryId::of_name("t").hex());
    EXPECT_EQ(log.records, 6u);
    EXPECT_EQ(log.last_seq, 6u);
    EXPECT_EQ(log.ops, 2u);
    EXPECT_EQ(log.pending, 1u);
    EXPECT_EQ(report.blobs, 2u);
    ASSERT_EQ(segment_numbers(log_folder_).value().size(), 2u);
    // The folder of the log alone says the same, with the blobs beside it or elsewhere.
    EXPECT_EQ(verify_folder(log_folder_).value().num_faults(), 0u);
    EXPECT_EQ(verify_folder(log_folder_, folder_ / "blobs").value().num_faults(), 0u);
}

// Spec 5.8: a flipped bit anywhere in log or blob is found.
TEST_F(VerifyTest, EveryFlippedBitOfEveryFileIsFoundInItsPlace) {
    size_t files = 0;
    for (const auto& prefix : std::filesystem::directory_iterator(folder_ / "blobs/sha256"))
        if (std::filesystem::is_empty(prefix)) std::filesystem::remove(prefix);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_.path())) {
        if (!entry.is_regular_file()) continue;
        ++files;
        const std::string path = entry.path().string();
        const std::string whole = read_all(path);
        for (size_t at = 0; at < whole.size(); ++at)
            for (int bit = 0; bit<8; bit += whole.size()> 4096 ? 5 : 1) {
                std::string flipped = whole;
                flipped[at] = static_cast<char>(flipped[at] ^ 1 << bit);
                write_all(path, flipped);
                const std::vector<std::string> found = faults();
                ASSERT_GE(found.size(), 1u) << path << " " << at;
                if (whole.size() < 4096)
                    ASSERT_EQ(found[0].rfind(entry.path().filename().string(), 0), 0u) << found[0];
                else
                    ASSERT_NE(found[0].find(path), std::string::npos) << found[0];
            }
        write_all(path, whole);
        ASSERT_TRUE(faults().empty());
    }
    EXPECT_EQ(files, 4u);
}

TEST_F(VerifyTest, EveryCutIsFoundButBetweenTheLastRecords) {
    std::vector<uint64_t> ends;
    scan_log(log_folder_, [&](const RecordView& record, Location at) -> Result<Visit> {
        if (at.segment == 2) ends.push_back(at.offset + record.stored.size());
        return Visit::kContinue;
    }).value();
    const std::string whole = read_all(segment(2));
    for (size_t size = 0; size < whole.size(); ++size) {
        write_all(segment(2), whole.substr(0, size));
        const bool is_whole = size == kSegmentHeaderBytes || std::ranges::count(ends, size) > 0;
        EXPECT_EQ(faults().empty(), is_whole) << size;
    }
    write_all(segment(2), whole + "x");
    ASSERT_EQ(faults().size(), 1u);
    EXPECT_NE(faults()[0].find("torn tail: 1 bytes"), std::string::npos) << faults()[0];
    write_all(segment(2), whole);
    const std::string first = read_all(segment(1));
    for (size_t size = 0; size < first.size(); ++size) {
        write_all(segment(1), first.substr(0, size));
        EXPECT_FALSE(faults().empty()) << size;
    }
}

TEST_F(VerifyTest, DamageInTwoPlacesIsTwoFaults) {
    std::string first = read_all(segment(1)), second = read_all(segment(2));
    first[kSegmentHeaderBytes + 70] ^= 1;
    first[first.size() - 1] ^= 1;
    second[second.size() - 1] ^= 1;
    write_all(segment(1), first);
    write_all(segment(2), second);
    const std::vector<std::string> found = faults();
    ASSERT_EQ(found.size(), 3u);
    EXPECT_EQ(found[0], "seg-00000001.log 64 0 the record's checksum does not hold");
    EXPECT_EQ(found[1].rfind("seg-00000001.log ", 0), 0u);
    EXPECT_NE(found[2].find("torn tail: the record's checksum does not hold"), std::string::npos);
}

TEST_F(VerifyTest, MissingFilesAreFound) {
    const std::string first = read_all(segment(1));
    std::filesystem::remove(segment(1));
    ASSERT_EQ(faults().size(), 1u);
    EXPECT_EQ(faults()[0], "seg-00000001.log 0 0 missing");
    write_all(segment(1), first);
    std::filesystem::remove_all(folder_ / "blobs/sha256");
    EXPECT_EQ(faults().size(), 2u);
    std::filesystem::remove_all(folder_ / "blobs");
    ASSERT_EQ(faults().size(), 2u);
    EXPECT_NE(faults()[0].find("there is no blob store"), std::string::npos);
    EXPECT_EQ(verify_folder(log_folder_, folder_ / "blobs").error().code, ErrorCode::kNotFound);
}

TEST_F(VerifyTest, FilesThatAreNoBlobsAreFound) {
    const std::string name = hex(sha256("a"));
    write_all(folder_ / ("blobs/sha256/" + name.substr(0, 2) + "/" + name), std::string(5000, 'b'));
    write_all(folder_ / "blobs/sha256/00/README", "text");
    write_all(folder_ / ("blobs/sha256/01/" + name), std::string(5000, 'b'));
    EXPECT_EQ(faults().size(), 3u);
}

TEST_F(VerifyTest, FoldersThatAreNoLogsAreFound) {
    std::filesystem::create_directory(folder_ / "trajectories/empty");
    std::filesystem::create_directory(folder_ / "trajectories/x.new-1-2");  // unfinished: ignored
    std::filesystem::copy(log_folder_, folder_ / "trajectories/zz");
    const std::vector<std::string> found = faults();
    ASSERT_EQ(found.size(), 2u);
    EXPECT_NE(found[0].find("no segments"), std::string::npos) << found[0];
    EXPECT_NE(found[1].find("the log is of trajectory"), std::string::npos) << found[1];
    EXPECT_EQ(verify_folder(folder_ / "blobs").error().code, ErrorCode::kNotFound);
    EXPECT_EQ(verify_folder(folder_ / "nothing").error().code, ErrorCode::kNotFound);
}

// A writer that keeps the chain and breaks the rules: made here record by record.
TEST(VerifyRules, RecordsThatContradictEachOtherAreFound) {
    const TempFolder folder;
    ChainPoint chain;
    std::vector<uint8_t> bytes;
    const auto add = [&](const Payload& payload, uint64_t op = 0) {
        std::vector<uint8_t> record;
        encode_record({.seq = chain.next_seq,
                       .type = type_of(payload),
                       .intent_distance = op == 0 ? 0 : static_cast<uint32_t>(chain.next_seq - op),
                       .previous = chain.previous},
                      encode_payload(payload).value(), record);
        bytes.insert(bytes.end(), record.begin(), record.end());
        chain = {chain.next_seq + 1, sha256(record)};
    };
    add(opening("t"));
    add(shell_intent("a", 0));
    add(text_result("x"), 2);
    add(text_result("y"), 2);        // 4: twice
    add(text_result("z"), 1);        // 5: of no intent
    add(shell_intent("a", 5));       // 6: beyond the next
    add(shell_intent("b", 1, 7));    // 7: an epoch that nobody has
    add(opening("t"));               // 8: again
    add(AttachPayload{.epoch = 0});  // 9: not raised
    add(SealPayload{.cause = "stopped"});
    add(Note{});  // 11: after the end
    std::filesystem::create_directory(folder / "log");
    write_segment(segment_path(folder / "log", 1), {TrajectoryId::of_name("t"), 1, 1}, bytes, {})
        .value();
    const LogReport report = verify_log(folder / "log", nullptr).value();
    std::vector<uint64_t> seqs;
    for (const LogFault& fault : report.faults) seqs.push_back(fault.seq);
    EXPECT_EQ(seqs, (std::vector<uint64_t>{4, 5, 6, 7, 8, 9, 11}));
    EXPECT_FALSE(TrajectoryLog::open(folder / "log"));
}

TEST(VerifyRules, AForgedHeaderOrPayloadIsFound) {
    const TempFolder folder;
    TrajectoryLog::create(folder / "log", opening("t")).value();
    const std::string path = segment_path(folder / "log", 1);
    const std::string whole = read_all(path);
    const auto forged = [&](auto change) {
        std::vector<uint8_t> bytes(whole.begin(), whole.end());
        change(bytes);
        write_all(path, text_of(bytes));
        const LogReport report = verify_log(folder / "log", nullptr).value();
        return report.faults.empty() ? "" : report.faults[0].what;
    };
    EXPECT_NE(forged([](std::vector<uint8_t>& bytes) {
                  bytes[8] ^= 1;
                  store_number(bytes, 60, crc32c(std::span(bytes).first(60)));
              }).find("but opened as t"),
              std::string::npos);
    EXPECT_NE(forged([](std::vector<uint8_t>& bytes) {
                  bytes[64 + 64] = ' ';  // was {
                  store_number(bytes, 64 + 4, crc32c(std::span(bytes).subspan(64 + 8)));
              }).find("payload of open"),
              std::string::npos);
}

TEST(VerifyRules, AReportIsBounded) {
    const TempFolder folder;
    {
        const auto log = TrajectoryLog::create(folder / "log", opening("t")).value();
        for (int i = 0; i < 1100; ++i) log->note(RecordType::kEvent, "{}").value();
    }
    const std::string path = segment_path(folder / "log", 1);
    std::string bytes = read_all(path);
    // Every second record is damaged.
    int count = 0;
    for (size_t at = bytes.size(); at > 400; at -= kRecordHeaderBytes + 2)
        if (++count % 2 == 0) bytes[at - 1] ^= 1;
    write_all(path, bytes);
    const LogReport report = verify_log(folder / "log", nullptr).value();
    EXPECT_GT(report.num_faults, 500u);
    EXPECT_EQ(report.faults.size(), std::min<size_t>(report.num_faults, kReportedFaultsMax));
}

}  // namespace
}  // namespace baleen::sandbox
