#include "sandbox/log/trajectory_store.h"

#include <thread>

#include "sandbox/log/log_fixture.h"
#include "sandbox/log/verify.h"

namespace baleen::sandbox {
namespace {

std::unique_ptr<TrajectoryStore> open_store(const TempFolder& folder,
                                            const StoreOptions& options = {}) {
    return TrajectoryStore::open(folder / "state", options).value();
}

std::vector<std::string> names(TrajectoryStore& store, const TrajectoryFilter& filter = {}) {
    std::vector<std::string> all;
    for (const TrajectoryRow& row : store.list(filter).value()) all.push_back(row.name);
    std::ranges::sort(all);
    return all;
}

using Names = std::vector<std::string>;

TEST(TrajectoryStore, CreatesAndFindsByName) {
    const TempFolder folder;
    const auto store = open_store(folder);
    const auto log = store->create(opening("swe/1")).value();
    EXPECT_EQ(store->get("swe/1").value(), log);
    EXPECT_FAILS(store->create(opening("swe/1")), "exists already");
    EXPECT_EQ(store->get("swe/2").error().code, ErrorCode::kNotFound);
    EXPECT_EQ(store->get("swe/2").error().message, "no trajectory swe/2");
    EXPECT_FALSE(store->get(""));
    EXPECT_FALSE(store->create(opening("a\nb")));
    EXPECT_FALSE(store->find("swe/2").value());
    EXPECT_EQ(log->folder(), store->folder_of(TrajectoryId::of_name("swe/1")));
}

TEST(TrajectoryStore, ListsWhatItsLogsSay) {
    const TempFolder folder;
    const auto store = open_store(folder);
    OpenPayload first = opening("one");
    first.labels = {{"job", "7"}};
    const auto one = store->create(first).value();
    const auto two = store->create(opening("two")).value();
    EXPECT_EQ(names(*store), (Names{"one", "two"}));
    run_op(*one, shell_intent("a", 0), text_result("x"));
    one->attach("trainer").value();
    two->seal({.cause = "stopped"}).value();
    const TrajectoryRow row = *store->find("one").value();
    EXPECT_EQ(row.last_seq, 4u);
    EXPECT_EQ(row.epoch, 1u);
    EXPECT_EQ(row.status, "open");
    EXPECT_EQ(row.sandbox, "node-1-1-abc");
    EXPECT_EQ(names(*store, {.status = "sealed"}), (Names{"two"}));
    EXPECT_EQ(names(*store, {.label_key = "job", .label_value = "7"}), (Names{"one"}));
    EXPECT_EQ(store->num_scans(), 0u);
}

TEST(TrajectoryStore, OpensWithoutReadingLogsAndReadsThoseThatChanged) {
    const TempFolder folder;
    {
        const auto store = open_store(folder);
        for (int i = 0; i < 20; ++i)
            run_op(*store->create(opening(fmt::format("t{}", i))).value(), shell_intent("a", 0),
                   text_result("x"));
    }
    {
        const auto store = open_store(folder);
        EXPECT_EQ(names(*store).size(), 20u);
        EXPECT_EQ(store->find("t3").value()->last_seq, 3u);
        EXPECT_EQ(store->num_scans(), 0u);
    }
    // Behind the index's back, as a daemon that was killed leaves it.
    const std::string trajectories = folder / "state/trajectories/";
    const auto id = [](const std::string& name) { return TrajectoryId::of_name(name).hex(); };
    TrajectoryLog::open(trajectories + id("t3")).value()->attach("x").value();
    TrajectoryLog::create(trajectories + id("new"), opening("new")).value();
    std::filesystem::remove_all(trajectories + id("t4"));
    std::filesystem::create_directory(trajectories + id("zz") + ".new-1-2");
    const auto store = open_store(folder);
    EXPECT_EQ(store->num_scans(), 0u);
    EXPECT_EQ(store->find("t5").value()->last_seq, 3u);
    EXPECT_EQ(store->num_scans(), 0u);
    EXPECT_EQ(store->find("t3").value()->epoch, 1u);
    EXPECT_EQ(store->num_scans(), 1u);
    EXPECT_FALSE(store->find("t4").value());
    EXPECT_EQ(names(*store).size(), 20u);
    EXPECT_EQ(store->num_scans(), 2u);
    EXPECT_TRUE(store->find("new").value());
    EXPECT_EQ(store->num_scans(), 2u);
    EXPECT_FALSE(exists(trajectories + id("zz") + ".new-1-2"));
}

TEST(TrajectoryStore, RebuildsTheIndexFromTheLogs) {
    const TempFolder folder;
    std::vector<TrajectoryRow> before;
    {
        const auto store = open_store(folder);
        for (int i = 0; i < 5; ++i) {
            OpenPayload open = opening(fmt::format("t{}", i));
            open.labels = {{"n", std::to_string(i)}};
            const auto log = store->create(open).value();
            for (int k = 0; k < i; ++k) log->attach("x", "n-2").value();
            if (i == 4) log->note(RecordType::kPause, "{}").value();
        }
        store->branch("t3", 2, opening("branch")).value();
        before = store->list({}).value();
        EXPECT_EQ(before.size(), 6u);
        ASSERT_HOLDS(store->rebuild());  // while they are open
        EXPECT_EQ(store->list({}).value(), before);
    }
    for (const char* name : {"", "-wal", "-shm"})
        std::filesystem::remove(folder / "state/trajectories.sqlite" + name);
    EXPECT_EQ(open_store(folder)->list({}).value(), before);
    write_all(folder / "state/trajectories.sqlite", "not a database");
    const auto store = open_store(folder);
    EXPECT_EQ(store->list({}).value(), before);
    ASSERT_HOLDS(store->rebuild());
    EXPECT_EQ(store->list({}).value(), before);
    EXPECT_EQ(store->num_scans(), 12u);
}

TEST(TrajectoryStore, ADamagedLogIsListedAsSuch) {
    const TempFolder folder;
    open_store(folder)->create(opening("t")).value();
    const std::string path =
        segment_path(folder / "state/trajectories/" + TrajectoryId::of_name("t").hex(), 1);
    std::string bytes = read_all(path);
    bytes[20] ^= 1;
    write_all(path, bytes + " ");  // the index does not notice a change of the same size
    const auto store = open_store(folder);
    const std::vector<TrajectoryRow> rows = store->list({.status = "damaged"}).value();
    ASSERT_EQ(rows.size(), 1u);
    EXPECT_NE(rows[0].detail.find("offset 0"), std::string::npos) << rows[0].detail;
    EXPECT_EQ(store->get("t").error().code, ErrorCode::kCorrupt);
}

TEST(TrajectoryStore, BranchesWhileTheParentRuns) {
    const TempFolder folder;
    const auto store = open_store(folder);
    const auto parent = store->create(opening("t")).value();
    run_op(*parent, shell_intent("a", 0), text_result("A"));
    std::atomic<bool> stop{false};
    std::jthread writer([&] {
        for (uint64_t i = 1; !stop; ++i) run_op(*parent, shell_intent("b", i), text_result("B"));
    });
    for (int i = 0; i < 10; ++i) {
        const uint64_t at = parent->state().last_seq;
        const auto branch = store->branch("t", at, opening(fmt::format("b{}", i))).value();
        EXPECT_EQ(branch->state().last_seq, at + 1);
        EXPECT_EQ(branch->begin(shell_intent("a", 0)).value().verdict, Verdict::kReplay);
    }
    stop = true;
    writer.join();
    EXPECT_FAILS(store->branch("t", 1, opening("b0")), "exists already");
    EXPECT_FAILS(store->branch("t", 0, opening("c")), "allowed are 1 to");
    EXPECT_FAILS(store->branch("t", UINT64_MAX, opening("c")), "allowed are 1 to");
    EXPECT_FAILS(store->branch("nobody", 1, opening("c")), "no trajectory nobody");
    EXPECT_FALSE(store->find("c").value());
}

TEST(TrajectoryStore, ClosesWhatNobodyHolds) {
    const TempFolder folder;
    const auto store = open_store(folder, {.open_logs_max = 3});
    for (int i = 0; i < 10; ++i) {
        const auto log = store->create(opening(fmt::format("t{}", i))).value();
        log->attach("x").value();
    }
    EXPECT_EQ(names(*store).size(), 10u);
    EXPECT_EQ(store->num_scans(), 0u);
    std::vector<std::shared_ptr<TrajectoryLog>> held;
    for (int i = 0; i < 3; ++i) held.push_back(store->get(fmt::format("t{}", i)).value());
    EXPECT_EQ(held[0]->state().epoch, 1u);
    EXPECT_EQ(store->get("t5").error().code, ErrorCode::kExhausted);
    EXPECT_EQ(store->get("t1").value(), held[1]);
    held.pop_back();
    EXPECT_TRUE(store->get("t5"));
}

TEST(TrajectoryStore, ThreadsMayOpenCloseAndListAtOnce) {
    const TempFolder folder;
    const auto store = open_store(folder, {.open_logs_max = 8});
    for (int i = 0; i < 12; ++i) store->create(opening(fmt::format("t{}", i))).value();
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 4; ++t)
            threads.emplace_back([&, t] {
                for (int i = 0; i < 60; ++i) {
                    const auto log = store->get(fmt::format("t{}", (i * (t + 1)) % 12)).value();
                    log->note(RecordType::kEvent, "{}").value();
                    if (i % 20 == 0) CHECK_EQ(store->list({}).value().size(), size_t{12});
                }
            });
    }
    uint64_t records = 0;
    for (const TrajectoryRow& row : store->list({}).value()) records += row.last_seq;
    EXPECT_EQ(records, 12u + 240u);
    EXPECT_EQ(verify_folder(folder / "state").value().num_faults(), 0u);
}

// Spec: a state folder of a thousand trajectories opens without reading their logs.
TEST(TrajectoryStore, AThousandTrajectories) {
    const TempFolder folder;
    {
        const auto store = open_store(folder, {.open_logs_max = 100});
        for (int i = 0; i < 1000; ++i) store->create(opening(fmt::format("t{}", i))).value();
    }
    const auto store = open_store(folder);
    EXPECT_EQ(store->list({}).value().size(), 1000u);
    EXPECT_EQ(store->num_scans(), 0u);
    EXPECT_TRUE(store->get("t777"));
}

}  // namespace
}  // namespace baleen::sandbox
