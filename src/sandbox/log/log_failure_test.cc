// What a disk can do to a trajectory log: full, failing, and a writer that is killed.
#include <sys/resource.h>
#include <sys/wait.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <random>
#include <thread>

#include "sandbox/log/blob_store.h"
#include "sandbox/log/log_fixture.h"

namespace baleen::sandbox {
namespace {

// ---- a disk that fails when it is told to ------------------------------------------------------

std::atomic<int> calls_until_failure{-1};  // < 0: never
std::atomic<int> failures_left{0};

bool fails_now() {
    if (calls_until_failure.load() < 0) return false;
    if (calls_until_failure.load() > 0) {
        --calls_until_failure;
        return false;
    }
    if (--failures_left <= 0) calls_until_failure = -1;
    return true;
}

// Writes half of it, then says that the disk is full.
ssize_t failing_write(int fd, const void* bytes, size_t size, off_t offset) {
    if (fails_now()) {
        if (::pwrite(fd, bytes, size / 2, offset) < 0) return -1;
        errno = ENOSPC;
        return -1;
    }
    return ::pwrite(fd, bytes, size, offset);
}

int failing_sync(int fd) {
    if (fails_now()) {
        errno = EIO;
        return -1;
    }
    return ::fdatasync(fd);
}

LogOptions failing_disk(uint64_t segment_bytes_max = kSegmentBytesMax) {
    LogOptions options = {.segment_bytes_max = segment_bytes_max};
    options.disk = {.write_at = failing_write, .sync = failing_sync};
    return options;
}

struct Failures {
    Failures(int after_calls, int times) {
        failures_left = times;
        calls_until_failure = after_calls;
    }
    ~Failures() { calls_until_failure = -1; }
};

// Every call to the disk fails once, or several times in a row, wherever it comes in the course of
// ten operations over several segments: what was acknowledged is there, what was refused is not.
TEST(LogFailure, EveryDiskCallMayFailAndTheLogGoesOn) {
    for (const int times : {1, 2, 5})
        for (int after = 0;; ++after) {
            const TempFolder folder;
            auto log =
                TrajectoryLog::create(folder / "log", opening("t"), failing_disk(900)).value();
            const Failures failures(after, times);
            int refused = 0;
            for (uint64_t i = 0; i < 10; ++i) {
                auto decision = log->begin(shell_intent("a", i));
                for (; !decision; decision = log->begin(shell_intent("a", i))) {
                    ++refused;
                    EXPECT_TRUE(log->state().pending.empty());
                }
                ASSERT_EQ(decision->verdict, Verdict::kRun);
                for (; !log->finish(decision->op, text_result("x")); ++refused)
                    EXPECT_EQ(log->state().pending.size(), 1u);
            }
            EXPECT_EQ(log->state().last_seq, 21u);
            log.reset();
            log = TrajectoryLog::open(folder / "log").value();
            EXPECT_EQ(log->cut_bytes(), 0u);
            EXPECT_EQ(log->state().last_seq, 21u);
            if (failures_left == times) break;  // there was no such call any more
            EXPECT_GT(refused, 0);
        }
}

TEST(LogFailure, AllThatWaitForAWriteThatFailsAreTold) {
    const TempFolder folder;
    auto log = TrajectoryLog::create(folder / "log", opening("t"), failing_disk()).value();
    for (int round = 0; round < 20; ++round) {
        const Failures failures(3, 4);
        std::atomic<uint64_t> acknowledged{0};
        const uint64_t before = log->state().last_seq;
        std::vector<std::jthread> threads;
        for (int t = 0; t < 6; ++t)
            threads.emplace_back([&] {
                for (int i = 0; i < 5; ++i)
                    if (log->note(RecordType::kEvent, "{}")) ++acknowledged;
            });
        threads.clear();
        EXPECT_EQ(log->state().last_seq, before + acknowledged);
    }
    const uint64_t last = log->state().last_seq;
    log.reset();
    EXPECT_EQ(TrajectoryLog::open(folder / "log").value()->state().last_seq, last);
}

// The write arrived, its sync failed, and so did taking it back; then the process ended. The record
// was refused, yet it is whole: it may count, but it must not be half there.
TEST(LogFailure, ARecordThatCouldNotBeTakenBackIsWholeOrGone) {
    const TempFolder folder;
    auto log = TrajectoryLog::create(folder / "log", opening("t"), failing_disk()).value();
    {
        const Failures failures(1, 1000);  // the write succeeds
        EXPECT_FALSE(log->begin(shell_intent("a", 0)));
    }
    log.reset();
    log = TrajectoryLog::open(folder / "log").value();
    EXPECT_LE(log->state().pending.size(), 1u);
    EXPECT_EQ(log->state().last_seq, 1 + log->state().pending.size());
}

// A limit that cuts a write short inside a record, as a full disk does.
TEST(LogFailure, AFullDiskIsAnErrorAndLaterAppendsWork) {
    const TempFolder folder(Place::kDisk);
    auto log = TrajectoryLog::create(folder / "log", opening("t")).value();
    run_op(*log, shell_intent("a", 0), text_result("x"));
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
    const uint64_t size = log->state().bytes;
    for (const rlim_t room : {rlim_t{0}, rlim_t{1}, rlim_t{63}, rlim_t{100}}) {
        rlimit small = before;
        small.rlim_cur = size + room;
        ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
        const auto refused = log->begin(shell_intent("b", 1));
        ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::kExhausted);
        EXPECT_EQ(std::filesystem::file_size(segment_path(folder / "log", 1)), size);
        EXPECT_EQ(log->begin(shell_intent("a", 0)).value().verdict, Verdict::kReplay);
    }
    std::signal(SIGXFSZ, old_handler);
    run_op(*log, shell_intent("b", 1), text_result("y"));
    log.reset();
    log = TrajectoryLog::open(folder / "log").value();
    EXPECT_EQ(log->state().last_seq, 5u);
}

// ---- kill -9 -----------------------------------------------------------------------------------

// What a writer says over the pipe once the log has acknowledged it.
struct Acknowledged {
    uint64_t stream = 0, index = 0, op = 0;
    bool has_result = false;
};

constexpr uint64_t kStreams = 3;
constexpr uint64_t kSegmentBytes = 6000;

std::string stream_name(uint64_t stream) {
    return "s" + std::to_string(stream);
}
Intent nth_intent(uint64_t stream, uint64_t index) {
    return shell_intent("step " + std::to_string(index), index, 0, stream_name(stream));
}
// Every fifth is a blob.
std::string nth_output(uint64_t stream, uint64_t index) {
    return std::string(index % 5 == 0 ? 5000 : 20, static_cast<char>('a' + (stream + index) % 26));
}

[[noreturn]] void write_until_killed(const TempFolder& folder, int pipe) {
    const auto blobs = BlobStore::open(folder / "blobs").value();
    const auto log =
        TrajectoryLog::open(folder / "log", {.segment_bytes_max = kSegmentBytes}).value();
    const auto say = [&](const Acknowledged& what) {
        CHECK_EQ(::write(pipe, &what, sizeof what), ssize_t{sizeof what});
    };
    std::vector<std::jthread> threads;
    for (uint64_t stream = 0; stream < kStreams; ++stream)
        threads.emplace_back([&, stream] {
            const auto next = log->next_indices();
            const auto begun = next.find(stream_name(stream));
            uint64_t index = begun != next.end() ? begun->second : 0;
            // The last op of the writer before may have been left without a result.
            if (index > 0) --index;
            for (;; ++index) {
                const Decision decision = log->begin(nth_intent(stream, index)).value();
                CHECK(decision.verdict != Verdict::kDiverged);
                say({stream, index, decision.op, false});
                if (decision.verdict == Verdict::kReplay) continue;
                OpResult result;
                result.standard_output =
                    whole_output(blobs->keep(nth_output(stream, index)).value());
                log->finish(decision.op, result).value();
                say({stream, index, decision.op, true});
            }
        });
    threads.clear();
    ::_exit(1);
}

std::vector<Acknowledged> run_writer_and_kill(const TempFolder& folder, int after_us) {
    int ends[2];
    CHECK_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    CHECK_GE(child, 0);
    if (child == 0) {
        ::close(ends[0]);
        write_until_killed(folder, ends[1]);
    }
    ::close(ends[1]);
    std::jthread killer([&] {
        std::this_thread::sleep_for(std::chrono::microseconds(after_us));
        ::kill(child, SIGKILL);
    });
    std::vector<Acknowledged> all;
    Acknowledged one;
    // Less than a whole one only at the end: the pipe takes them in one piece.
    while (::read(ends[0], &one, sizeof one) == ssize_t{sizeof one}) all.push_back(one);
    killer.join();
    ::close(ends[0]);
    int status = 0;
    CHECK_EQ(::waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return all;
}

void expect_all_there(const TempFolder& folder, const std::vector<Acknowledged>& acknowledged) {
    const auto blobs = BlobStore::open(folder / "blobs").value();
    // open() refuses a log whose seqs, hashes or pairs do not fit.
    const auto log = TrajectoryLog::open(folder / "log").value();
    for (const Acknowledged& one : acknowledged) {
        const Decision decision = log->begin(nth_intent(one.stream, one.index)).value();
        ASSERT_EQ(decision.op, one.op);
        if (!one.has_result) {
            ASSERT_TRUE(decision.verdict == Verdict::kPending ||
                        decision.verdict == Verdict::kReplay);
            continue;
        }
        ASSERT_EQ(decision.verdict, Verdict::kReplay);
        const OpResult result = log->result(one.op).value();
        ASSERT_EQ(blobs->fetch(result.standard_output.kept, 1 << 20).value(),
                  nth_output(one.stream, one.index));
    }
}

void kill_many_times(const TempFolder& folder, int rounds, int after_us_max) {
    TrajectoryLog::create(folder / "log", opening("t")).value();
    BlobStore::open(folder / "blobs").value();
    std::mt19937 random(20240607);
    std::vector<Acknowledged> acknowledged;
    for (int round = 0; round < rounds; ++round) {
        const int after_us = static_cast<int>(random() % static_cast<unsigned>(after_us_max));
        for (const Acknowledged& one : run_writer_and_kill(folder, after_us))
            acknowledged.push_back(one);
        expect_all_there(folder, acknowledged);
        if (::testing::Test::HasFatalFailure()) return;
    }
    EXPECT_GT(acknowledged.size(), static_cast<size_t>(rounds));
}

TEST(LogKill, NoAcknowledgedRecordIsLostInMemory) {
    kill_many_times(TempFolder(), 80, 12'000);
}

TEST(LogKill, NoAcknowledgedRecordIsLostOnDisk) {
    kill_many_times(TempFolder(Place::kDisk), 15, 60'000);
}

}  // namespace
}  // namespace baleen::sandbox
