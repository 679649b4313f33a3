#include "sandbox/log/branch.h"

#include "sandbox/log/log_fixture.h"
#include "sandbox/log/verify.h"

namespace baleen::sandbox {
namespace {

OpenPayload branch_opening() {
    return {.name = "branch", .created_ns = 1'800'000'000'000'000'000, .sandbox = "n-2"};
}

class BranchTest : public ::testing::Test {
  protected:
    // seq 1 open; 2, 3 op a; 4 intent b; 5 intent c; 6 result c; 7 result b; 8 attach
    void SetUp() override {
        parent_ = TrajectoryLog::create(folder_ / "parent", opening("t")).value();
        run_op(*parent_, shell_intent("a", 0), text_result("A"));
        const uint64_t b = parent_->begin(shell_intent("b", 1)).value().op;
        run_op(*parent_, shell_intent("c", 0, 0, "other"), text_result("C"));
        parent_->finish(b, text_result("B")).value();
        parent_->attach("x").value();
    }
    TempFolder folder_;
    std::unique_ptr<TrajectoryLog> parent_;
};

TEST_F(BranchTest, HasTheParentsBeginningAndGoesOnByItself) {
    ASSERT_HOLDS(branch_log(folder_ / "parent", 7, branch_opening(), folder_ / "branch"));
    auto log = TrajectoryLog::open(folder_ / "branch").value();
    const TrajectoryState state = log->state();
    EXPECT_EQ(state.last_seq, 8u);
    EXPECT_EQ(state.sandbox, "n-2");
    EXPECT_EQ(state.opening.name, "branch");
    EXPECT_EQ(state.opening.parent->name, "t");
    EXPECT_EQ(state.opening.parent->at, 7u);
    EXPECT_EQ(log->header().trajectory, TrajectoryId::of_name("branch"));
    EXPECT_EQ(log->result(log->begin(shell_intent("a", 0)).value().op).value(), text_result("A"));
    EXPECT_EQ(log->result(log->begin(shell_intent("b", 1)).value().op).value(), text_result("B"));
    run_op(*log, shell_intent("d", 2), text_result("D"));
    EXPECT_EQ(parent_->begin(shell_intent("z", 2, 1)).value().verdict, Verdict::kRun);
    log.reset();
    EXPECT_EQ(TrajectoryLog::open(folder_ / "branch").value()->state().last_seq, 10u);
    EXPECT_EQ(verify_log(folder_ / "branch", nullptr).value().num_faults, 0u);
    // It does not need the parent.
    parent_.reset();
    std::filesystem::remove_all(folder_ / "parent");
    EXPECT_EQ(TrajectoryLog::open(folder_ / "branch").value()->state().last_seq, 10u);
}

TEST_F(BranchTest, MayBeginAnywhere) {
    for (uint64_t at = 1; at <= 8; ++at) {
        const std::string path = folder_ / ("branch" + std::to_string(at));
        ASSERT_HOLDS(branch_log(folder_ / "parent", at, branch_opening(), path));
        const auto log = TrajectoryLog::open(path).value();
        EXPECT_EQ(log->state().last_seq, at + 1);
        EXPECT_TRUE(log->state().pending.empty());
        EXPECT_EQ(log->state().epoch, at == 8 ? 1u : 0u);
        const uint64_t epoch = log->state().epoch;
        const auto verdict = [&](const Intent& intent) {
            return log->begin(intent).value().verdict;
        };
        EXPECT_EQ(verdict(shell_intent("a", 0, epoch)), at >= 3 ? Verdict::kReplay : Verdict::kRun);
        EXPECT_EQ(verdict(shell_intent("c", 0, epoch, "other")),
                  at >= 6 ? Verdict::kReplay : Verdict::kRun);
        EXPECT_EQ(verdict(shell_intent("b", 1, epoch)), at >= 7 ? Verdict::kReplay : Verdict::kRun);
    }
}

TEST_F(BranchTest, RefusesSeqsThatAreNotThereAndFoldersThatAre) {
    for (const uint64_t at : {uint64_t{0}, uint64_t{9}, UINT64_MAX})
        EXPECT_FAILS(branch_log(folder_ / "parent", at, branch_opening(), folder_ / "branch"),
                     "allowed are");
    EXPECT_FAILS(branch_log(folder_ / "parent", 3, branch_opening(), folder_ / "parent"),
                 "exists already");
    EXPECT_FAILS(branch_log(folder_ / "none", 3, branch_opening(), folder_ / "branch"), "none");
    EXPECT_EQ(list_folder(folder_.path()).value(), (std::vector<std::string>{"parent"}));
}

TEST_F(BranchTest, OfABranchAndOfASealedOne) {
    ASSERT_HOLDS(parent_->seal({.cause = "stopped"}));
    ASSERT_HOLDS(branch_log(folder_ / "parent", 9, branch_opening(), folder_ / "branch"));
    OpenPayload second = branch_opening();
    second.name = "second";
    ASSERT_HOLDS(branch_log(folder_ / "branch", 10, second, folder_ / "second"));
    const auto log = TrajectoryLog::open(folder_ / "second").value();
    EXPECT_EQ(log->state().opening.parent->name, "branch");
    EXPECT_EQ(log->begin(shell_intent("a", 0, 1)).value().verdict, Verdict::kReplay);
    run_op(*log, shell_intent("new", 2, 1), text_result("x"));
}

TEST(BranchSegments, OverManySegments) {
    const TempFolder folder;
    auto parent =
        TrajectoryLog::create(folder / "parent", opening("t"), {.segment_bytes_max = 1000}).value();
    for (uint64_t i = 0; i < 20; ++i) run_op(*parent, shell_intent("a", i), text_result("x"));
    ASSERT_HOLDS(branch_log(folder / "parent", 30, branch_opening(), folder / "branch"));
    EXPECT_EQ(TrajectoryLog::open(folder / "branch").value()->state().last_seq, 31u);
}

}  // namespace
}  // namespace baleen::sandbox
