#include "sandbox/log/trajectory_log.h"

#include <algorithm>
#include <thread>

#include "sandbox/log/log_fixture.h"

namespace baleen::sandbox {
namespace {

std::unique_ptr<TrajectoryLog> create(const TempFolder& folder, const LogOptions& options = {}) {
    return TrajectoryLog::create(folder / "log", opening("t"), options).value();
}
std::unique_ptr<TrajectoryLog> reopen(const TempFolder& folder, const LogOptions& options = {}) {
    return TrajectoryLog::open(folder / "log", options).value();
}

TEST(TrajectoryLog, RunsOnceAndReplays) {
    const TempFolder folder;
    auto log = create(folder);
    const Decision first = log->begin(shell_intent("a", 0)).value();
    EXPECT_EQ(first.verdict, Verdict::kRun);
    EXPECT_EQ(first.op, 2u);
    EXPECT_EQ(log->begin(shell_intent("a", 0)).value().verdict, Verdict::kPending);
    EXPECT_EQ(log->result(2).error().code, ErrorCode::kNotFound);
    ASSERT_HOLDS(log->finish(2, text_result("out")));
    for (int round = 0; round < 2; ++round) {
        const Decision again = log->begin(shell_intent("a", 0)).value();
        EXPECT_EQ(again.verdict, Verdict::kReplay);
        EXPECT_EQ(again.op, 2u);
        EXPECT_EQ(log->result(again.op).value(), text_result("out"));
        EXPECT_EQ(log->intent(again.op).value(), shell_intent("a", 0));
        EXPECT_EQ(log->begin(shell_intent("b", 0)).value().verdict, Verdict::kDiverged);
        EXPECT_EQ(log->state().last_seq, 3u);
        log.reset();
        log = reopen(folder);
    }
}

TEST(TrajectoryLog, AResultIsRecordedOnce) {
    const TempFolder folder;
    const auto log = create(folder);
    const uint64_t op = run_op(*log, shell_intent("a", 0), text_result("first"));
    ASSERT_HOLDS(log->finish(op, text_result("second")));
    EXPECT_EQ(log->result(op).value(), text_result("first"));
    EXPECT_EQ(log->state().last_seq, 3u);
    for (const uint64_t unknown : {uint64_t{0}, uint64_t{1}, uint64_t{3}, uint64_t{99}})
        EXPECT_EQ(log->finish(unknown, text_result("x")).error().code, ErrorCode::kNotFound);
}

TEST(TrajectoryLog, AttachRaisesTheEpochForGood) {
    const TempFolder folder;
    auto log = create(folder);
    run_op(*log, shell_intent("a", 0), text_result("x"));
    const Attached attached = log->attach("trainer-2").value();
    EXPECT_EQ(attached.epoch, 1u);
    EXPECT_EQ(attached.sandbox, "node-1-1-abc");
    EXPECT_EQ(attached.next, (std::map<std::string, uint64_t>{{"main", 1}}));
    log.reset();
    log = reopen(folder);
    EXPECT_EQ(log->begin(shell_intent("a", 0, 0)).value().verdict, Verdict::kStaleEpoch);
    EXPECT_EQ(log->begin(shell_intent("a", 0, 1)).value().verdict, Verdict::kReplay);
    EXPECT_EQ(log->attach("trainer-3", "n-9").value().epoch, 2u);
    EXPECT_EQ(log->state().sandbox, "n-9");
}

TEST(TrajectoryLog, NothingFollowsASeal) {
    const TempFolder folder;
    auto log = create(folder);
    run_op(*log, shell_intent("a", 0), text_result("x"));
    const uint64_t open_op = log->begin(shell_intent("b", 1)).value().op;
    ASSERT_HOLDS(log->seal({.cause = "idle_ttl"}));
    for (int round = 0; round < 2; ++round) {
        EXPECT_EQ(log->state().status, TrajectoryStatus::kSealed);
        EXPECT_EQ(log->begin(shell_intent("c", 2)).value().verdict, Verdict::kSealed);
        EXPECT_EQ(log->begin(shell_intent("a", 0)).value().verdict, Verdict::kReplay);
        EXPECT_FAILS(log->finish(open_op, text_result("y")), "sealed");
        EXPECT_FAILS(log->note(RecordType::kEvent, "{}"), "sealed");
        EXPECT_FAILS(log->seal({.cause = "stopped"}), "sealed");
        EXPECT_EQ(log->attach("x").value().epoch, 0u);
        EXPECT_EQ(log->state().last_seq, 5u);
        log.reset();
        log = reopen(folder);
    }
}

TEST(TrajectoryLog, PendingOpsSurviveTheWriter) {
    const TempFolder folder;
    auto log = create(folder);
    const uint64_t one = log->begin(shell_intent("a", 0, 0, "s1")).value().op;
    const uint64_t two = log->begin(shell_intent("b", 0, 0, "s2")).value().op;
    log.reset();
    log = reopen(folder);
    const std::vector<PendingOp> pending = log->state().pending;
    ASSERT_EQ(pending.size(), 2u);
    EXPECT_EQ(pending[0].op, one);
    EXPECT_EQ(pending[0].stream, "s1");
    EXPECT_EQ(pending[1].op, two);
    EXPECT_EQ(log->intent(two).value().request.shell, "b");
}

TEST(TrajectoryLog, NotesKeepTheirPlaceInTheOrder) {
    const TempFolder folder;
    const auto log = create(folder);
    const std::vector<RecordType> types = {RecordType::kCheckpoint, RecordType::kPause,
                                           RecordType::kResume,     RecordType::kFork,
                                           RecordType::kNetwork,    RecordType::kEvent};
    uint64_t seq = 1;
    for (const RecordType type : types)
        EXPECT_EQ(log->note(type, "{\"b\": 2, \"a\": 1}").value(), ++seq);
    const auto records = log->read(2, 100, size_t{1} << 20).value();
    ASSERT_EQ(records.size(), types.size());
    for (size_t i = 0; i < types.size(); ++i) {
        EXPECT_EQ(records[i].head.type, types[i]);
        EXPECT_EQ(records[i].head.seq, i + 2);
        EXPECT_EQ(records[i].payload, "{\"a\":1,\"b\":2}");
    }
    EXPECT_FAILS(log->note(RecordType::kEvent, "[]"), "not a JSON object");
}

TEST(TrajectoryLog, ReadsByPage) {
    const TempFolder folder;
    const auto log = create(folder, {.segment_bytes_max = 700});
    for (uint64_t i = 0; i < 20; ++i) run_op(*log, shell_intent("a", i), text_result("x"));
    std::vector<uint64_t> seqs;
    for (uint64_t from = 1; const auto& page : {7, 1, 100}) {
        for (const LoggedRecord& record :
             log->read(from, static_cast<size_t>(page), 1 << 20).value())
            seqs.push_back(record.head.seq);
        from = seqs.back() + 1;
    }
    ASSERT_EQ(seqs.size(), 41u);
    for (size_t i = 0; i < seqs.size(); ++i) EXPECT_EQ(seqs[i], i + 1);
    EXPECT_TRUE(log->read(42, 10, 1 << 20).value().empty());
    EXPECT_TRUE(log->read(UINT64_MAX, 10, 1 << 20).value().empty());
    EXPECT_EQ(log->read(0, 10, 1 << 20).value().front().head.seq, 1u);
    EXPECT_EQ(log->read(1, 100, 1).value().size(), 1u);
}

TEST(TrajectoryLog, NewSegmentsContinueTheChain) {
    const TempFolder folder;
    const LogOptions options = {.segment_bytes_max = 2000};
    auto log = create(folder, options);
    for (uint64_t i = 0; i < 30; ++i) run_op(*log, shell_intent("a", i), text_result("x"));
    // One that is larger than a segment gets a segment of its own.
    run_op(*log, shell_intent(std::string(5000, 'y'), 30), text_result("x"));
    run_op(*log, shell_intent("z", 31), text_result("x"));
    const uint32_t segments = count_segments(folder / "log").value();
    EXPECT_GT(segments, 5u);
    log.reset();
    log = reopen(folder, options);
    EXPECT_EQ(log->state().last_seq, 65u);
    uint64_t bytes = 0;
    for (uint32_t number = 1; number <= segments; ++number)
        bytes += std::filesystem::file_size(segment_path(folder / "log", number));
    EXPECT_EQ(log->state().bytes, bytes);
    for (uint64_t i = 0; i < 30; ++i)
        EXPECT_EQ(log->begin(shell_intent("a", i)).value().verdict, Verdict::kReplay);
    run_op(*log, shell_intent("b", 32), text_result("x"));
}

TEST(TrajectoryLog, OneWriterAtATime) {
    const TempFolder folder;
    auto log = create(folder);
    const auto second = TrajectoryLog::open(folder / "log");
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::kExhausted);
    log.reset();
    EXPECT_TRUE(TrajectoryLog::open(folder / "log"));
}

TEST(TrajectoryLog, IsCreatedOnce) {
    const TempFolder folder;
    auto log = create(folder);
    const auto again = TrajectoryLog::create(folder / "log", opening("t"));
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(list_folder(folder.path()).value(), (std::vector<std::string>{"log"}));
    EXPECT_EQ(TrajectoryLog::open(folder / "nothing").error().code, ErrorCode::kNotFound);
    EXPECT_EQ(TrajectoryLog::open(folder.path()).error().code, ErrorCode::kNotFound);
}

TEST(TrajectoryLog, NewCallsStopBeforeTheLimitAndResultsDoNot) {
    const TempFolder folder;
    const LogOptions options = {.log_bytes_max = 20000, .reserve_bytes = 4000};
    auto log = create(folder, options);
    uint64_t op = 0;
    uint64_t index = 0;
    for (;; ++index) {
        const auto decision = log->begin(shell_intent("a", index));
        if (!decision) {
            EXPECT_EQ(decision.error().code, ErrorCode::kExhausted);
            break;
        }
        op = decision->op;
    }
    EXPECT_GT(index, 10u);
    EXPECT_EQ(
        log->note(RecordType::kEvent, std::string("{\"a\":\"") + std::string(300, 'x') + "\"}")
            .error()
            .code,
        ErrorCode::kExhausted);
    ASSERT_HOLDS(log->finish(op, text_result("x")));
    EXPECT_EQ(log->attach("x").value().epoch, 1u);
    ASSERT_HOLDS(log->seal({.cause = "stopped"}));
    EXPECT_LE(log->state().bytes, 20000u);
    log.reset();
    log = reopen(folder, options);
    EXPECT_EQ(log->begin(shell_intent("a", 0, 1)).value().verdict, Verdict::kPending);
}

TEST(TrajectoryLog, RefusesWhatHasNoCanonicalForm) {
    const TempFolder folder;
    const auto log = create(folder);
    EXPECT_EQ(log->begin(shell_intent("\xFF", 0)).error().code, ErrorCode::kInvalidArgument);
    EXPECT_FALSE(log->begin(shell_intent("a", 0, 0, "bad stream")));
    EXPECT_FALSE(TrajectoryLog::create(folder / "other", opening("")));
    EXPECT_EQ(log->state().last_seq, 1u);
}

// ---- what a writer leaves that died ------------------------------------------------------------

TEST(TrajectoryLog, ATornTailIsCutAtEveryByte) {
    const TempFolder folder;
    auto log = create(folder);
    run_op(*log, shell_intent("a", 0), text_result("x"));
    run_op(*log, shell_intent("b", 1), text_result("y"));
    log.reset();
    const std::string path = segment_path(folder / "log", 1);
    const std::string whole = read_all(path);
    std::vector<size_t> ends;  // of each record
    scan_log(folder / "log", [&](const RecordView& record, Location at) -> Result<Visit> {
        ends.push_back(at.offset + record.stored.size());
        return Visit::kContinue;
    }).value();
    for (size_t size = whole.size(); size >= ends[0]; --size) {
        write_all(path, whole.substr(0, size));
        log = reopen(folder);
        const auto num_whole = static_cast<size_t>(
            std::ranges::count_if(ends, [&](size_t end) { return end <= size; }));
        EXPECT_EQ(log->state().last_seq, num_whole);
        EXPECT_EQ(log->cut_bytes(), size - ends[num_whole - 1]);
        EXPECT_EQ(std::filesystem::file_size(path), ends[num_whole - 1]);
        // It goes on from there.
        EXPECT_EQ(log->note(RecordType::kEvent, "{}").value(), num_whole + 1);
        log.reset();
        EXPECT_EQ(reopen(folder)->state().last_seq, num_whole + 1);
    }
    // Without its first record a log is none.
    write_all(path, whole.substr(0, ends[0] - 1));
    EXPECT_FALSE(TrajectoryLog::open(folder / "log"));
    write_all(path, whole.substr(0, kSegmentHeaderBytes - 1));
    EXPECT_EQ(TrajectoryLog::open(folder / "log").error().code, ErrorCode::kCorrupt);
}

TEST(TrajectoryLog, DamageIsAnErrorThatNamesFileAndOffset) {
    const TempFolder folder;
    auto log = create(folder, {.segment_bytes_max = 1000});
    for (uint64_t i = 0; i < 4; ++i) run_op(*log, shell_intent("a", i), text_result("x"));
    log.reset();
    ASSERT_EQ(count_segments(folder / "log").value(), 2u);
    // The last record is a torn tail when a bit of it flips.
    size_t last_record = 0;
    scan_log(folder / "log", [&](const RecordView&, Location at) -> Result<Visit> {
        last_record = at.offset;
        return Visit::kContinue;
    }).value();
    for (const uint32_t number : {1u, 2u}) {
        const std::string path = segment_path(folder / "log", number);
        const std::string whole = read_all(path);
        for (size_t at = 0; at < (number == 1 ? whole.size() : last_record); ++at) {
            std::string flipped = whole;
            flipped[at] = static_cast<char>(flipped[at] ^ 0x20);
            write_all(path, flipped);
            const auto damaged = TrajectoryLog::open(folder / "log");
            ASSERT_FALSE(damaged) << at;
            EXPECT_EQ(damaged.error().code, ErrorCode::kCorrupt);
            EXPECT_EQ(damaged.error().message.rfind(path + ": offset ", 0), 0u)
                << damaged.error().message;
            ASSERT_EQ(read_all(path), flipped);  // nothing was cut
        }
        write_all(path, whole);
    }
    const std::string path = segment_path(folder / "log", 1);
    const std::string whole = read_all(path);
    write_all(path, whole.substr(0, whole.size() - 1));  // torn, but not at the log's end
    EXPECT_FALSE(TrajectoryLog::open(folder / "log"));
    std::filesystem::remove(segment_path(folder / "log", 1));
    EXPECT_FAILS(TrajectoryLog::open(folder / "log"), "seg-00000001.log: missing");
}

TEST(TrajectoryLog, SegmentsOfAnotherLogAreNotTaken) {
    const TempFolder folder;
    create(folder);
    TrajectoryLog::create(folder / "other", opening("u")).value();
    std::filesystem::copy_file(segment_path(folder / "other", 1), segment_path(folder / "log", 2));
    EXPECT_FAILS(TrajectoryLog::open(folder / "log"), "of trajectory");
    std::filesystem::remove(segment_path(folder / "log", 2));
    EXPECT_TRUE(TrajectoryLog::open(folder / "log"));
}

TEST(TrajectoryLog, ASegmentThatWasNeverFinishedIsForgotten) {
    const TempFolder folder;
    create(folder);
    write_all(segment_path(folder / "log", 2) + ".tmp", "BTRJ");
    const auto log = reopen(folder, {.segment_bytes_max = 300});
    EXPECT_FALSE(exists(segment_path(folder / "log", 2) + ".tmp"));
    run_op(*log, shell_intent("a", 0), text_result("x"));
    EXPECT_EQ(count_segments(folder / "log").value(), 3u);
}

// ---- threads -----------------------------------------------------------------------------------

TEST(TrajectoryLogThreads, EveryStreamGetsItsOwnOrder) {
    const TempFolder folder;
    const LogOptions options = {.segment_bytes_max = 20000};
    auto log = create(folder, options);
    constexpr uint64_t kThreads = 6, kCalls = 60;
    std::vector<std::vector<uint64_t>> ops(kThreads);
    std::vector<std::jthread> threads;
    for (uint64_t t = 0; t < kThreads; ++t)
        threads.emplace_back([&, t] {
            const std::string stream = "s" + std::to_string(t);
            for (uint64_t i = 0; i < kCalls; ++i)
                ops[t].push_back(run_op(*log, shell_intent("a" + std::to_string(i), i, 0, stream),
                                        text_result(stream + ":" + std::to_string(i))));
        });
    threads.clear();
    for (int round = 0; round < 2; ++round) {
        EXPECT_EQ(log->state().last_seq, 1 + 2 * kThreads * kCalls);
        for (uint64_t t = 0; t < kThreads; ++t) {
            EXPECT_TRUE(std::ranges::is_sorted(ops[t]));
            for (uint64_t i = 0; i < kCalls; ++i)
                EXPECT_EQ(log->result(ops[t][i]).value(),
                          text_result("s" + std::to_string(t) + ":" + std::to_string(i)));
        }
        log.reset();
        log = reopen(folder, options);
    }
}

// The same call from many threads, as from a client that retries: it runs once.
TEST(TrajectoryLogThreads, OneCallRunsOnceHoweverManyAsk) {
    const TempFolder folder;
    const auto log = create(folder);
    for (uint64_t index = 0; index < 30; ++index) {
        std::atomic<int> runs{0};
        std::vector<std::jthread> threads;
        for (int t = 0; t < 6; ++t)
            threads.emplace_back([&] {
                const Decision decision = log->begin(shell_intent("a", index)).value();
                if (decision.verdict == Verdict::kRun) ++runs;
                CHECK(decision.verdict != Verdict::kDiverged);
                CHECK(decision.op != 0);
                log->finish(decision.op, text_result("x")).value();
            });
        threads.clear();
        EXPECT_EQ(runs, 1);
    }
    EXPECT_EQ(log->state().last_seq, 61u);
}

TEST(TrajectoryLogThreads, AfterAnAttachNobodyElseActs) {
    const TempFolder folder;
    auto log = create(folder);
    std::vector<std::jthread> threads;
    for (uint64_t t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            const std::string stream = "s" + std::to_string(t);
            uint64_t epoch = log->attach(stream).value().epoch;
            uint64_t index = 0;
            for (int i = 0; i < 60; ++i) {
                const Decision decision =
                    log->begin(shell_intent("a", index, epoch, stream)).value();
                if (decision.verdict == Verdict::kStaleEpoch)
                    epoch = log->attach(stream).value().epoch;
                else
                    ++index;
            }
        });
    threads.clear();
    const uint64_t last = log->state().last_seq;
    log.reset();
    // The index refuses an intent whose epoch is not the current one.
    EXPECT_EQ(reopen(folder)->state().last_seq, last);
}

TEST(TrajectoryLogThreads, ASealIsTheLastRecord) {
    for (int round = 0; round < 10; ++round) {
        const TempFolder folder;
        auto log = create(folder);
        std::vector<std::jthread> threads;
        for (int t = 0; t < 4; ++t)
            threads.emplace_back([&] {
                while (log->note(RecordType::kEvent, "{}")) {
                }
            });
        while (log->state().last_seq < 20) std::this_thread::yield();
        ASSERT_HOLDS(log->seal({.cause = "stopped"}));
        threads.clear();
        const uint64_t last = log->state().last_seq;
        EXPECT_EQ(log->read(last, 1, 0).value().front().head.type, RecordType::kSeal);
        log.reset();
        EXPECT_EQ(reopen(folder)->state().last_seq, last);
    }
}

TEST(TrajectoryLogThreads, ReadersSeeWholeRecordsWhileOthersAppend) {
    const TempFolder folder;
    const auto log = create(folder, {.segment_bytes_max = 3000});
    std::jthread writer([&] {
        for (uint64_t i = 0; i < 150; ++i) run_op(*log, shell_intent("a", i), text_result("x"));
    });
    uint64_t next = 1;
    while (next <= 301)
        for (const LoggedRecord& record : log->read(next, 50, 1 << 20).value())
            ASSERT_EQ(record.head.seq, next++);
}

// Spec 5.8: a client that comes again gets what it had, and nothing is executed.
TEST(TrajectoryLog, ResumingFiveHundredOpsExecutesNothing) {
    const TempFolder folder;
    auto log = create(folder);
    for (uint64_t i = 0; i < 500; ++i)
        run_op(*log, shell_intent("step " + std::to_string(i), i),
               text_result(std::string(1000, static_cast<char>('a' + i % 26))));
    log.reset();
    log = reopen(folder);
    const Attached attached = log->attach("again").value();
    EXPECT_EQ(attached.next.at("main"), 500u);
    for (uint64_t i = 0; i < 500; ++i) {
        const Decision decision =
            log->begin(shell_intent("step " + std::to_string(i), i, attached.epoch)).value();
        ASSERT_EQ(decision.verdict, Verdict::kReplay);
        EXPECT_EQ(log->result(decision.op).value(),
                  text_result(std::string(1000, static_cast<char>('a' + i % 26))));
    }
    EXPECT_EQ(log->state().last_seq, 1002u);
}

}  // namespace
}  // namespace baleen::sandbox
