// The scheduler with its thread: readers, cancels, queue limits and shutdown from outside. What
// each pass does is in engine_loop_test.cc.
#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "engine/scheduler_fixture.h"

namespace baleen {
namespace {

using namespace test;
using Clock = std::chrono::steady_clock;

EngineOptions two_threads(bool mtp) {
    EngineOptions options;
    options.num_threads = 2;
    options.model.rows_max = 64;
    options.mtp = mtp;
    return options;
}

std::unique_ptr<Engine> make_engine(bool mtp = false) {
    return std::make_unique<Engine>(small_weights(), two_threads(mtp));
}

// Lets one token through for each time it is opened: a test's hold on the engine thread.
class Gate : public TokenConstraint {
  public:
    struct State {
        std::atomic<int> open = 0;     // tokens let through
        std::atomic<int> arrived = 0;  // tokens asked for
    };
    explicit Gate(std::shared_ptr<State> state) : state_(std::move(state)) {}
    Restriction restrict_next(std::span<uint64_t>, int64_t) override {
        const int wanted = ++state_->arrived;
        state_->arrived.notify_all();
        for (int open = state_->open; open < wanted; open = state_->open) state_->open.wait(open);
        return Restriction::kNone;
    }
    void accept(TokenId) override {}

  private:
    std::shared_ptr<State> state_;
};

// A request that holds the engine thread at its first token until the gate is opened wide.
struct Blocker {
    explicit Blocker(Scheduler& scheduler) {
        GenerateRequest request = greedy(random_tokens(3, 1), 2);
        request.constraints.push_back(std::make_unique<Gate>(gate));
        stream.emplace(scheduler.submit(std::move(request)).value());
        for (int n = gate->arrived; n < 1; n = gate->arrived) gate->arrived.wait(n);
    }
    void open() {
        gate->open = 1 << 20;
        gate->open.notify_all();
    }
    std::shared_ptr<Gate::State> gate = std::make_shared<Gate::State>();
    std::optional<TokenStream> stream;
};

TEST(Scheduler, ManyReadersAtOnceGetTheTokensOfPlainSessions) {
    std::vector<GenerateRequest> requests;
    std::vector<std::vector<Answer>> expected;
    for (size_t i = 0; i < 12; ++i) {
        requests.push_back(seeded(random_tokens(5 + 17 * i, 100 + i), 8, i));
        requests.back().num_choices = 1 + i % 3;
        expected.push_back(plain_answers(requests.back()));
    }
    for (const bool mtp : {false, true}) {
        Scheduler scheduler(make_engine(mtp), {.running_max = 6});
        std::vector<std::thread> readers;
        std::vector<Reply> replies(requests.size());
        for (size_t i = 0; i < requests.size(); ++i)
            readers.emplace_back([&, i] {
                TokenStream stream = scheduler.submit(copy(requests[i])).value();
                replies[i] = read_all(stream);
            });
        for (std::thread& reader : readers) reader.join();
        for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(replies[i].choices, expected[i]);
        const SchedulerStats stats = scheduler.stats();
        EXPECT_EQ(stats.requests, requests.size());
        EXPECT_EQ(stats.queued, 0u);
        EXPECT_EQ(stats.running, 0u);
        EXPECT_EQ(scheduler.shutdown(Clock::now()), 0u);
    }
}

TEST(Scheduler, BadRequestsAreRefusedWithTheirFields) {
    Scheduler scheduler(make_engine(), {.running_max = 4});
    const auto refused = [&](const char* field,
                             const std::function<void(GenerateRequest&)>& spoil) {
        GenerateRequest request = greedy(random_tokens(10, 2), 3);
        spoil(request);
        const Result<TokenStream> stream = scheduler.submit(std::move(request));
        ASSERT_FALSE(stream) << field;
        EXPECT_EQ(stream.error().code, ErrorCode::kInvalidArgument);
        EXPECT_NE(stream.error().message.find(field), std::string::npos) << stream.error().message;
    };
    refused("prompt is empty", [](auto& r) { r.prompt.clear(); });
    refused("prompt[3] is 512", [](auto& r) { r.prompt[3] = 512; });
    refused("prompt[0] is -1", [](auto& r) { r.prompt[0] = -1; });
    refused("stop_tokens[0]", [](auto& r) { r.stop_tokens = {512}; });
    refused("boundaries", [](auto& r) { r.boundaries = {5, 4}; });
    refused("boundaries", [](auto& r) { r.boundaries = {5, 11}; });
    refused("tokens_max", [](auto& r) { r.tokens_max = 0; });
    refused("num_choices", [](auto& r) { r.num_choices = 0; });
    refused("num_choices", [](auto& r) { r.num_choices = 5; });
    refused("top_logprobs", [](auto& r) { r.top_logprobs = 21; });
    refused("top_logprobs", [](auto& r) { r.top_logprobs = -2; });
    refused("temperature", [](auto& r) { r.sampling.temperature = -1; });
    refused("constraints", [](auto& r) { r.constraints.resize(2); });
    EXPECT_EQ(scheduler.stats().requests, 0u);
}

TEST(Scheduler, PromptsThatCannotEverFitAreRefused) {
    EngineOptions options = two_threads(false);
    options.kv_bytes_max = 2 * Engine(small_weights(), options).pages().page_bytes();
    Scheduler scheduler(std::make_unique<Engine>(small_weights(), options), {});
    const Result<TokenStream> stream = scheduler.submit(greedy(random_tokens(257, 3), 1));
    ASSERT_FALSE(stream);
    EXPECT_EQ(stream.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(stream.error().message.find("257"), std::string::npos);
    TokenStream fits = scheduler.submit(greedy(random_tokens(256, 3), 1)).value();
    EXPECT_EQ(read_all(fits).only().reason, FinishReason::kLength);
}

TEST(Scheduler, AFullQueueRefuses) {
    Scheduler scheduler(make_engine(), {.queue_max = 3});
    Blocker blocker(scheduler);
    std::vector<TokenStream> waiting;
    for (uint64_t i = 0; i < 3; ++i)
        waiting.push_back(scheduler.submit(greedy(random_tokens(4, i), 2)).value());
    const Result<TokenStream> refused = scheduler.submit(greedy(random_tokens(4, 9), 2));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kExhausted);
    EXPECT_EQ(scheduler.stats().rejected, 1u);
    EXPECT_EQ(scheduler.stats().queued, 3u);
    blocker.open();
    for (TokenStream& stream : waiting) EXPECT_EQ(read_all(stream).only().tokens.size(), 2u);
    read_all(*blocker.stream);
    TokenStream later = scheduler.submit(greedy(random_tokens(4, 9), 2)).value();
    EXPECT_EQ(read_all(later).only().tokens.size(), 2u);
    EXPECT_EQ(scheduler.stats().requests, 5u);
}

TEST(Scheduler, CancelWorksFromAnywhereAtAnyTime) {
    Scheduler scheduler(make_engine(), {});
    {
        Blocker blocker(scheduler);
        TokenStream queued = scheduler.submit(greedy(random_tokens(4, 1), 100)).value();
        const std::function<void()> cancel = queued.canceller();
        TokenStream moved = std::move(queued);
        cancel();
        blocker.open();
        EXPECT_EQ(read_all(moved).only().reason, FinishReason::kCancelled);
        EXPECT_EQ(read_all(*blocker.stream).only().tokens.size(), 2u);
        cancel();  // after the end
    }
    TokenStream running = scheduler.submit(greedy(random_tokens(4, 1), 100000)).value();
    while (running.next(never())->kind != TokenEvent::Kind::kToken) {
    }
    running.cancel();
    EXPECT_EQ(read_all(running).only().reason, FinishReason::kCancelled);
    { TokenStream dropped = scheduler.submit(greedy(random_tokens(4, 1), 100000)).value(); }
    // Its end is nobody's to read; the counters tell.
    while (scheduler.stats().cancelled < 3) std::this_thread::yield();
    EXPECT_EQ(scheduler.stats().running, 0u);
}

TEST(Scheduler, NextGivesUpAtItsDeadline) {
    Scheduler scheduler(make_engine(), {});
    Blocker blocker(scheduler);
    TokenStream stream = scheduler.submit(greedy(random_tokens(4, 1), 1)).value();
    EXPECT_FALSE(stream.next(Clock::now()));
    EXPECT_FALSE(stream.ended());
    blocker.open();
    EXPECT_EQ(read_all(stream).only().tokens.size(), 1u);
    EXPECT_TRUE(stream.ended());
    EXPECT_FALSE(stream.next(never()));  // at once
}

TEST(Scheduler, ASlowReaderGetsEverythingInTheEnd) {
    Scheduler scheduler(make_engine(true), {.events_max = 2});
    const GenerateRequest request = seeded(random_tokens(30, 4), 30, 3);
    TokenStream slow = scheduler.submit(copy(request)).value();
    TokenStream quick = scheduler.submit(greedy(random_tokens(30, 5), 60)).value();
    EXPECT_EQ(read_all(quick).only().tokens.size(), 60u);
    EXPECT_EQ(read_all(slow).choices, plain_answers(request));
}

TEST(Scheduler, ShutdownLetsRequestsFinish) {
    Scheduler scheduler(make_engine(), {.running_max = 1});
    std::vector<TokenStream> streams;
    for (uint64_t i = 0; i < 4; ++i)
        streams.push_back(scheduler.submit(greedy(random_tokens(4, i), 5)).value());
    EXPECT_EQ(scheduler.shutdown(never()), 0u);
    for (TokenStream& stream : streams) EXPECT_EQ(read_all(stream).only().tokens.size(), 5u);
    const Result<TokenStream> late = scheduler.submit(greedy(random_tokens(4, 9), 2));
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().code, ErrorCode::kCancelled);
}

TEST(Scheduler, ShutdownCancelsWhatDoesNotFinish) {
    std::vector<TokenStream> streams;
    {
        Scheduler scheduler(make_engine(), {.running_max = 1});
        for (uint64_t i = 0; i < 3; ++i)
            streams.push_back(scheduler.submit(greedy(random_tokens(4, i), 1000000)).value());
        EXPECT_EQ(scheduler.shutdown(Clock::now()), 3u);
        EXPECT_EQ(scheduler.shutdown(Clock::now()), 0u);  // again: nothing left
        EXPECT_EQ(scheduler.stats().cancelled, 3u);
    }
    // Streams outlive the scheduler.
    for (TokenStream& stream : streams) {
        EXPECT_EQ(read_all(stream).only().reason, FinishReason::kCancelled);
        stream.cancel();
    }
}

}  // namespace
}  // namespace baleen
