#include "sandbox/log/call_index.h"

#include <gtest/gtest.h>

#include "sandbox/log/log_fixture.h"

namespace baleen::sandbox {
namespace {

// Feeds an index as a log would.
class Feed {
  public:
    explicit Feed(bool with_open = true) {
        if (with_open) add(opening("t")).value();
    }
    Result<void> add(const Payload& payload, uint64_t op = 0) {
        RecordHead head = {.seq = index.last_seq() + 1, .type = type_of(payload)};
        if (op != 0) head.intent_distance = static_cast<uint32_t>(head.seq - op);
        head.previous = sha256(std::to_string(index.last_seq()));
        return index.apply(head, payload);
    }
    uint64_t intent(const std::string& command, uint64_t at, uint64_t epoch = 0,
                    const std::string& stream = "main") {
        add(shell_intent(command, at, epoch, stream)).value();
        return index.last_seq();
    }
    CallIndex index;
};

Call call(const std::string& command, uint64_t index, uint64_t epoch = 0,
          const std::string& stream = "main") {
    return {.stream = stream,
            .index = index,
            .epoch = epoch,
            .digest = *request_digest(shell_intent(command, index).request)};
}

TEST(Decide, NothingRecordedRuns) {
    const Feed feed;
    const Decision decision = feed.index.decide(call("a", 0));
    EXPECT_EQ(decision.verdict, Verdict::kRun);
    EXPECT_EQ(decision.next_index, 0u);
}

TEST(Decide, AResultOfTheSameRequestIsReplayed) {
    Feed feed;
    const uint64_t op = feed.intent("a", 0);
    feed.add(text_result("x"), op).value();
    const Decision decision = feed.index.decide(call("a", 0));
    EXPECT_EQ(decision.verdict, Verdict::kReplay);
    EXPECT_EQ(decision.op, op);
    EXPECT_EQ(decision.next_index, 1u);
    EXPECT_EQ(feed.index.result_seq(op), 3u);
}

TEST(Decide, AnIntentWithoutResultIsPending) {
    Feed feed;
    const uint64_t op = feed.intent("a", 0);
    const Decision decision = feed.index.decide(call("a", 0));
    EXPECT_EQ(decision.verdict, Verdict::kPending);
    EXPECT_EQ(decision.op, op);
    EXPECT_TRUE(feed.index.is_pending(op));
}

TEST(Decide, AnotherRequestDiverges) {
    Feed feed;
    const uint64_t op = feed.intent("a", 0);
    for (int round = 0; round < 2; ++round) {  // whether it has a result or not
        const Decision decision = feed.index.decide(call("b", 0));
        EXPECT_EQ(decision.verdict, Verdict::kDiverged);
        EXPECT_EQ(decision.op, op);
        EXPECT_EQ(decision.recorded, call("a", 0).digest);
        if (round == 0) feed.add(text_result("x"), op).value();
    }
}

TEST(Decide, IndicesBeyondTheNextAreRefused) {
    Feed feed;
    EXPECT_EQ(feed.index.decide(call("a", 1)).verdict, Verdict::kBadIndex);
    EXPECT_EQ(feed.index.decide(call("a", UINT64_MAX)).verdict, Verdict::kBadIndex);
    feed.intent("a", 0);
    EXPECT_EQ(feed.index.decide(call("b", 1)).verdict, Verdict::kRun);
    EXPECT_EQ(feed.index.decide(call("b", 2)).verdict, Verdict::kBadIndex);
    EXPECT_EQ(feed.index.decide(call("b", 2)).next_index, 1u);
}

TEST(Decide, StreamsCountEachForItself) {
    Feed feed;
    feed.intent("a", 0, 0, "one");
    feed.intent("b", 0, 0, "two");
    EXPECT_EQ(feed.index.decide(call("c", 1, 0, "one")).verdict, Verdict::kRun);
    EXPECT_EQ(feed.index.decide(call("c", 0, 0, "three")).verdict, Verdict::kRun);
    EXPECT_EQ(feed.index.decide(call("c", 0, 0, "two")).verdict, Verdict::kDiverged);
    EXPECT_EQ(feed.index.next_indices(), (std::map<std::string, uint64_t>{{"one", 1}, {"two", 1}}));
}

TEST(Decide, OnlyTheNewestEpochMayAct) {
    Feed feed;
    const uint64_t op = feed.intent("a", 0);
    feed.add(text_result("x"), op).value();
    feed.add(AttachPayload{.epoch = 1}).value();
    EXPECT_EQ(feed.index.decide(call("a", 0, 0)).verdict, Verdict::kStaleEpoch);  // replay too
    EXPECT_EQ(feed.index.decide(call("b", 1, 0)).verdict, Verdict::kStaleEpoch);
    EXPECT_EQ(feed.index.decide(call("b", 7, 0)).verdict, Verdict::kStaleEpoch);
    EXPECT_EQ(feed.index.decide(call("a", 0, 1)).verdict, Verdict::kReplay);
    EXPECT_EQ(feed.index.decide(call("a", 0, 2)).verdict, Verdict::kBadEpoch);
    EXPECT_EQ(feed.index.decide(call("a", 0, 0)).epoch, 1u);
}

TEST(Decide, ASealedTrajectoryStillReplays) {
    Feed feed;
    feed.add(text_result("x"), feed.intent("a", 0)).value();
    feed.intent("b", 1);
    feed.add(SealPayload{.cause = "stopped"}).value();
    EXPECT_EQ(feed.index.decide(call("a", 0)).verdict, Verdict::kReplay);
    EXPECT_EQ(feed.index.decide(call("b", 1)).verdict, Verdict::kPending);
    EXPECT_EQ(feed.index.decide(call("c", 2)).verdict, Verdict::kSealed);
    EXPECT_EQ(feed.index.decide(call("c", 1)).verdict, Verdict::kDiverged);
}

TEST(Decide, StreamsHaveALimit) {
    Feed feed;
    for (size_t i = 0; i < kStreamsMax; ++i) feed.intent("a", 0, 0, "s" + std::to_string(i));
    EXPECT_EQ(feed.index.decide(call("a", 0, 0, "more")).verdict, Verdict::kExhausted);
    EXPECT_EQ(feed.index.decide(call("b", 1, 0, "s0")).verdict, Verdict::kRun);
}

// Rows 3 to 5 of spec 5.2, and 5.4.
TEST(DecidePending, TheSandboxDecidesWhileItLives) {
    for (const auto policy : {OutcomePolicy::kFail, OutcomePolicy::kRewind, OutcomePolicy::kRerun})
        for (const auto effects : {Effects::kNone, Effects::kSandbox, Effects::kExternal})
            for (const bool crosses : {false, true}) {
                EXPECT_EQ(decide_pending(OpState::kAlive, policy, effects, crosses),
                          PendingStep::kAttach);
                EXPECT_EQ(decide_pending(OpState::kDone, policy, effects, crosses),
                          PendingStep::kCollect);
                EXPECT_EQ(decide_pending(OpState::kUnknown, policy, effects, crosses),
                          PendingStep::kDeliver);
            }
}

TEST(DecidePending, ThePolicyDecidesOnceItIsGone) {
    const auto step = [](OutcomePolicy policy, Effects effects, bool crosses = false) {
        return decide_pending(OpState::kGone, policy, effects, crosses);
    };
    for (const auto effects : {Effects::kNone, Effects::kSandbox, Effects::kExternal})
        EXPECT_EQ(step(OutcomePolicy::kFail, effects), PendingStep::kReportUnknown);
    EXPECT_EQ(step(OutcomePolicy::kRerun, Effects::kNone), PendingStep::kRerun);
    EXPECT_EQ(step(OutcomePolicy::kRerun, Effects::kSandbox), PendingStep::kReportUnknown);
    EXPECT_EQ(step(OutcomePolicy::kRerun, Effects::kExternal), PendingStep::kReportUnknown);
    EXPECT_EQ(step(OutcomePolicy::kRewind, Effects::kNone), PendingStep::kRewind);
    EXPECT_EQ(step(OutcomePolicy::kRewind, Effects::kSandbox), PendingStep::kRewind);
    EXPECT_EQ(step(OutcomePolicy::kRewind, Effects::kSandbox, true), PendingStep::kReportUnknown);
    EXPECT_EQ(step(OutcomePolicy::kRewind, Effects::kExternal), PendingStep::kReportUnknown);
}

TEST(CallIndex, RefusesRecordsThatBreakTheRules) {
    EXPECT_FAILS(Feed(false).add(AttachPayload{.epoch = 1}), "expected open");
    Feed feed;
    EXPECT_FAILS(feed.add(opening("t")), "names no parent");
    EXPECT_FAILS(feed.add(AttachPayload{.epoch = 0}), "epoch 0");
    EXPECT_FAILS(feed.add(text_result("x"), feed.index.last_seq()), "is no intent");
    EXPECT_FAILS(feed.add(text_result("x")), "is no intent");
    EXPECT_FAILS(feed.add(shell_intent("a", 1)), "bad index");
    EXPECT_FAILS(feed.add(shell_intent("a", 0, 1)), "bad epoch");
    const uint64_t op = feed.intent("a", 0);
    EXPECT_FAILS(feed.add(shell_intent("a", 0)), "pending");
    EXPECT_FAILS(feed.add(shell_intent("b", 0)), "diverged");
    feed.add(text_result("x"), op).value();
    EXPECT_FAILS(feed.add(text_result("y"), op), "waits for none");
    feed.add(SealPayload{.cause = "stopped"}).value();
    EXPECT_FAILS(feed.add(Note{}), "after the trajectory was sealed");
    EXPECT_FAILS(feed.add(SealPayload{}), "after the trajectory was sealed");
}

TEST(CallIndex, ABranchTakesBackWhatHadNoResult) {
    Feed feed;
    const uint64_t done = feed.intent("a", 0);
    feed.add(text_result("x"), done).value();
    const uint64_t lost = feed.intent("b", 1);
    const uint64_t later = feed.intent("c", 2);
    feed.add(text_result("y"), later).value();
    OpenPayload branch = opening("branch");
    const uint64_t at = feed.index.last_seq();
    branch.parent = {.name = "t", .at = at, .head = sha256(std::to_string(at))};
    OpenPayload wrong = branch;
    wrong.parent->at = at - 1;
    EXPECT_FALSE(Feed().add(wrong));
    feed.add(branch).value();
    EXPECT_EQ(feed.index.opening().name, "branch");
    EXPECT_TRUE(feed.index.pending().empty());
    EXPECT_FALSE(feed.index.is_pending(lost));
    EXPECT_EQ(feed.index.decide(call("a", 0)).verdict, Verdict::kReplay);
    EXPECT_EQ(feed.index.decide(call("c", 2)).verdict, Verdict::kReplay);
    EXPECT_EQ(feed.index.decide(call("other", 1)).verdict, Verdict::kRun);
    const uint64_t again = feed.intent("b", 1);
    EXPECT_EQ(feed.index.decide(call("b", 1)).op, again);
    EXPECT_FAILS(feed.add(text_result("z"), lost), "waits for none");
    EXPECT_EQ(feed.index.next_indices().at("main"), 3u);
}

TEST(CallIndex, ABranchOfASealedTrajectoryIsOpen) {
    Feed feed;
    feed.add(SealPayload{.cause = "stopped"}).value();
    OpenPayload branch = opening("branch");
    branch.sandbox = "n-2";
    branch.parent = {.name = "t", .at = 2, .head = sha256("2")};
    feed.add(branch).value();
    EXPECT_EQ(feed.index.status(), TrajectoryStatus::kOpen);
    EXPECT_EQ(feed.index.sandbox(), "n-2");
}

TEST(CallIndex, KeepsStatusAndSandbox) {
    Feed feed;
    EXPECT_EQ(feed.index.sandbox(), "node-1-1-abc");
    feed.add(Note{RecordType::kPause, "{}"}).value();
    EXPECT_EQ(feed.index.status(), TrajectoryStatus::kPaused);
    feed.add(Note{RecordType::kResume, "{\"sandbox\":\"n-3\"}"}).value();
    EXPECT_EQ(feed.index.status(), TrajectoryStatus::kOpen);
    EXPECT_EQ(feed.index.sandbox(), "n-3");
    feed.add(AttachPayload{.epoch = 5, .from = "x", .sandbox = "n-4"}).value();
    EXPECT_EQ(feed.index.sandbox(), "n-4");
    EXPECT_EQ(feed.index.epoch(), 5u);
}

}  // namespace
}  // namespace baleen::sandbox
