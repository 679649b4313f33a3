// The engine thread's work, stepped by hand: the same tokens whatever happens around a sequence,
// and who runs when. Steps are counted, never time.
#include "engine/engine_loop.h"

#include <gtest/gtest.h>

#include <functional>

#include "engine/loop_fixture.h"

namespace baleen {
namespace {

using namespace test;

using Tokens = std::vector<TokenId>;

size_t page_bytes() {
    static const size_t bytes = Engine(small_weights(), {.num_threads = 1}).pages().page_bytes();
    return bytes;
}

// Every test that says "the same tokens" runs without and with speculation.
class EngineLoopTest : public testing::TestWithParam<bool> {
  protected:
    static EngineOptions engine_options(size_t pages_max = SIZE_MAX, size_t rows_max = 64) {
        EngineOptions o = loop_options(GetParam());
        o.model.rows_max = rows_max;
        if (pages_max != SIZE_MAX) o.kv_bytes_max = pages_max * page_bytes();
        return o;
    }
};

INSTANTIATE_TEST_SUITE_P(, EngineLoopTest, testing::Bool(),
                         [](const auto& mtp) { return mtp.param ? "mtp" : "plain"; });

// ---- the same tokens ---------------------------------------------------------------------------

TEST_P(EngineLoopTest, AnyCompanyAndChunkingGivesTheSameTokens) {
    std::vector<GenerateRequest> requests;
    for (size_t i = 0; i < 10; ++i) {
        const size_t lengths[] = {7, 150, 129, 1, 64, 45, 128, 200};
        Tokens prompt = random_tokens(lengths[i % 8] + i / 8, 100 + i);
        requests.push_back(i % 2 == 0 ? greedy(std::move(prompt), 12)
                                      : seeded(std::move(prompt), 9, 40 + i));
    }
    std::vector<std::vector<Answer>> expected;
    for (const GenerateRequest& request : requests) expected.push_back(plain_answers(request));
    for (const auto& [rows_max, running_max] :
         {std::pair<size_t, size_t>{1, 3}, {5, 10}, {17, 4}, {64, 10}, {64, 1}}) {
        Rig rig({.running_max = running_max, .prefill_rows_busy = 3},
                engine_options(SIZE_MAX, rows_max));
        std::vector<std::shared_ptr<Client>> clients;
        for (const GenerateRequest& request : requests)
            clients.push_back(rig.submit(copy(request)));
        rig.run();
        for (size_t i = 0; i < clients.size(); ++i) {
            ASSERT_TRUE(clients[i]->ended());
            ASSERT_EQ(clients[i]->reply.choices, expected[i])
                << "request " << i << ", rows_max " << rows_max;
        }
        rig.expect_idle();
    }
}

// A conversation: each prompt is the last one, its answer and something new.
TEST_P(EngineLoopTest, ANextTurnRunsOnlyWhatIsNew) {
    Rig rig({}, engine_options());
    Tokens prompt = random_tokens(150, 1);
    size_t cached = 0;
    for (uint64_t turn = 0; turn < 4; ++turn) {
        const GenerateRequest request = seeded(prompt, 11, turn);
        const Reply& reply = rig.finish(rig.submit(copy(request)));
        ASSERT_EQ(reply.choices, plain_answers(request)) << "turn " << turn;
        // All but the answer's last token, which never ran, or ran as a right guess.
        EXPECT_GE(reply.cache.cached_tokens, cached);
        EXPECT_LE(reply.cache.cached_tokens, cached + (cached == 0 ? 0 : 1));
        EXPECT_EQ(reply.cache.replayed_tokens, 0u);
        EXPECT_EQ(reply.cache.matched_tokens, reply.cache.cached_tokens);
        EXPECT_FALSE(reply.cache.diverged);
        prompt = join(prompt, reply.only().tokens);
        cached = prompt.size() - 1;
        prompt = join(prompt, random_tokens(20, 50 + turn));
    }
}

TEST_P(EngineLoopTest, TheSamePromptAgainRunsOneToken) {
    Rig rig({}, engine_options());
    const GenerateRequest request = greedy(random_tokens(200, 2), 6);
    const std::vector<Answer> expected = plain_answers(request);
    for (size_t round = 0; round < 3; ++round) {
        const Reply& reply = rig.finish(rig.submit(copy(request)));
        EXPECT_EQ(reply.choices, expected);
        EXPECT_EQ(reply.cache.cached_tokens, round == 0 ? 0u : 199u);
        EXPECT_EQ(reply.cache.replayed_tokens, 0u);
    }
    EXPECT_EQ(rig.loop.stats().prefilled_tokens, 202u);
}

TEST_P(EngineLoopTest, AnEditedPromptIsTakenUpAtABoundaryOrReplayed) {
    const Tokens original = random_tokens(900, 3);
    for (const bool boundary : {true, false}) {
        Rig rig({}, engine_options());
        GenerateRequest first = greedy(original, 3);
        if (boundary) first.boundaries = {0, 40, 640, 700, 900};
        rig.finish(rig.submit(copy(first)));
        Tokens edited(original.begin(), original.begin() + 700);
        edited.push_back(original[700] ^ 1);
        edited = join(edited, random_tokens(30, 4));
        const GenerateRequest second = seeded(edited, 8, 5);
        const Reply& reply = rig.finish(rig.submit(copy(second)));
        EXPECT_EQ(reply.choices, plain_answers(second));
        EXPECT_EQ(reply.cache.matched_tokens, 700u);
        EXPECT_TRUE(reply.cache.diverged);
        EXPECT_EQ(reply.cache.cached_tokens, 700u);
        // 700 - (5 x 32 + 128), down to a whole page.
        EXPECT_EQ(reply.cache.replayed_tokens, boundary ? 0u : 700u - 384u);
        EXPECT_EQ(reply.prefill_done.back(), edited.size());
    }
}

TEST_P(EngineLoopTest, WithoutThePrefixCacheNothingIsKept) {
    Rig rig({.prefix_cache = false}, engine_options());
    const GenerateRequest request = greedy(random_tokens(140, 6), 5);
    const std::vector<Answer> expected = plain_answers(request);
    for (int round = 0; round < 2; ++round) {
        const Reply& reply = rig.finish(rig.submit(copy(request)));
        EXPECT_EQ(reply.choices, expected);
        EXPECT_EQ(reply.cache.cached_tokens, 0u);
    }
    EXPECT_EQ(rig.loop.stats().cache_entries, 0u);
    EXPECT_EQ(rig.engine.pages().pages_in_use(), 0u);
}

TEST_P(EngineLoopTest, ChoicesShareOnePrefillAndHaveSeedsOfTheirOwn) {
    GenerateRequest request = seeded(random_tokens(180, 7), 10, 70);
    request.num_choices = 5;
    const std::vector<Answer> expected = plain_answers(request);
    EXPECT_NE(expected[0].tokens, expected[1].tokens);
    for (const size_t running_max : {5u, 2u, 1u}) {
        Rig rig({.running_max = running_max}, engine_options());
        const Reply& reply = rig.finish(rig.submit(copy(request)));
        EXPECT_EQ(reply.choices, expected) << "running_max " << running_max;
        // Those that waited for a place ran their first token again, after one of the prompt.
        EXPECT_LE(rig.loop.stats().prefilled_tokens, 180u + 2 * (5 - running_max));
        EXPECT_GE(rig.loop.stats().prefilled_tokens, 180u);
        rig.expect_idle();
    }
}

TEST_P(EngineLoopTest, PromptsThatComeTogetherRunWhatTheyShareOnce) {
    const Tokens shared = random_tokens(300, 8);
    Rig rig({}, engine_options());
    std::vector<GenerateRequest> requests;
    std::vector<std::shared_ptr<Client>> clients;
    for (uint64_t i = 0; i < 5; ++i) {
        requests.push_back(seeded(join(shared, random_tokens(10 + i, 90 + i)), 6, i));
        clients.push_back(rig.submit(copy(requests.back())));
    }
    rig.run();
    for (size_t i = 0; i < clients.size(); ++i) {
        ASSERT_TRUE(clients[i]->ended());
        EXPECT_EQ(clients[i]->reply.choices, plain_answers(requests[i]));
        EXPECT_EQ(clients[i]->reply.cache.cached_tokens, i == 0 ? 0u : 300u) << i;
    }
    EXPECT_EQ(rig.loop.stats().prefilled_tokens, 300u + 10 + 11 + 12 + 13 + 14);
}

// The same where what they share is an edited past, which the first of them replays.
TEST_P(EngineLoopTest, PromptsThatComeTogetherReplayOnce) {
    Rig rig({}, engine_options());
    const Tokens past = random_tokens(900, 80);
    rig.finish(rig.submit(greedy(past, 1)));
    const Tokens shared = join(Tokens(past.begin(), past.begin() + 700), random_tokens(200, 81));
    std::vector<GenerateRequest> requests;
    std::vector<std::shared_ptr<Client>> clients;
    for (uint64_t i = 0; i < 3; ++i) {
        requests.push_back(seeded(join(shared, random_tokens(10, 90 + i)), 4, i));
        clients.push_back(rig.submit(copy(requests.back())));
    }
    rig.run();
    for (size_t i = 0; i < clients.size(); ++i) {
        ASSERT_TRUE(clients[i]->ended());
        EXPECT_EQ(clients[i]->reply.choices, plain_answers(requests[i]));
        EXPECT_EQ(clients[i]->reply.cache.cached_tokens, i == 0 ? 700u : 900u);
        EXPECT_EQ(clients[i]->reply.cache.replayed_tokens, i == 0 ? 700u - 384u : 0u);
    }
    EXPECT_EQ(rig.loop.stats().prefilled_tokens, 900u + (900 - 384) + 3 * 10);
}

// ---- memory ------------------------------------------------------------------------------------

TEST_P(EngineLoopTest, PreemptedSequencesGetTheSameTokens) {
    // Four sequences of 200 to 290 tokens want 2 to 3 pages each; there are 7.
    Rig rig({.running_max = 4}, engine_options(7));
    std::vector<GenerateRequest> requests;
    std::vector<std::shared_ptr<Client>> clients;
    for (uint64_t i = 0; i < 4; ++i) {
        requests.push_back(seeded(random_tokens(90 + 10 * i, 200 + i), 170, i));
        clients.push_back(rig.submit(copy(requests.back())));
    }
    rig.run();
    EXPECT_GT(rig.loop.stats().preemptions, 0u);
    for (size_t i = 0; i < clients.size(); ++i) {
        ASSERT_TRUE(clients[i]->ended()) << i;
        EXPECT_EQ(clients[i]->reply.choices, plain_answers(requests[i])) << i;
    }
    rig.expect_idle();
}

TEST_P(EngineLoopTest, ASequenceTooLongForAllMemoryFailsAndSaysSo) {
    Rig rig({}, engine_options(2));
    const GenerateRequest request = greedy(random_tokens(230, 9), 100);
    const Reply& reply = rig.finish(rig.submit(copy(request)));
    EXPECT_EQ(reply.only().reason, FinishReason::kFailed);
    EXPECT_NE(reply.only().error.find("256 tokens"), std::string::npos) << reply.only().error;
    // What came until then stands: 256 tokens ran, one more was sampled.
    const Answer expected = plain_answers(request).front();
    EXPECT_EQ(reply.only().tokens, Tokens(expected.tokens.begin(), expected.tokens.begin() + 27));
    rig.expect_idle();
    // And the next request finds the memory.
    const GenerateRequest next = greedy(random_tokens(200, 10), 5);
    EXPECT_EQ(rig.finish(rig.submit(copy(next))).choices, plain_answers(next));
}

TEST_P(EngineLoopTest, EvictionKeepsAnswersRight) {
    Rig rig({.running_max = 2}, engine_options(6));
    std::vector<std::vector<Tokens>> talks(3);
    Rng rng(11);
    for (size_t i = 0; i < talks.size(); ++i) talks[i] = {random_tokens(140, 300 + i)};
    for (int round = 0; round < 9; ++round) {
        std::vector<Tokens>& talk = talks[rng.next_below(3)];
        const GenerateRequest request = seeded(talk.back(), 7, static_cast<uint64_t>(round));
        const Reply& reply = rig.finish(rig.submit(copy(request)));
        ASSERT_EQ(reply.choices, plain_answers(request)) << "round " << round;
        talk.push_back(join(join(talk.back(), reply.only().tokens), random_tokens(40, 400)));
        rig.expect_idle();
    }
    EXPECT_GT(rig.loop.stats().cache_evictions, 0u);
}

TEST_P(EngineLoopTest, TheCacheStaysWithinItsBudget) {
    size_t one_point = 0;
    {
        Rig rig({}, engine_options());
        rig.finish(rig.submit(greedy(random_tokens(200, 12), 3)));
        one_point = rig.loop.stats().cache_bytes / 2;
    }
    Rig rig({.cache_bytes_max = 3 * one_point}, engine_options());
    for (uint64_t i = 0; i < 5; ++i) {
        GenerateRequest request = greedy(random_tokens(200, 12 + i % 3), 3);
        request.boundaries = {50, 100};
        const auto client = rig.submit(copy(request));
        while (rig.step()) ASSERT_LE(rig.loop.stats().cache_bytes, 3 * one_point);
        ASSERT_TRUE(client->ended());
        EXPECT_EQ(client->reply.choices, plain_answers(request));
    }
    EXPECT_GT(rig.loop.stats().cache_evictions, 0u);
    rig.expect_idle();
}

// The middle of a long prompt stays reusable though it has no boundary.
TEST(EngineLoop, LongPromptsLeaveRestorePointsOnTheWay) {
    Rig rig({.snapshot_tokens = 100});
    rig.finish(rig.submit(greedy(random_tokens(650, 13), 1)));
    EXPECT_EQ(rig.loop.stats().cache_entries, 7u);  // 100, 200, ... 600, and the end
    Rig bounded({.snapshot_tokens = 10});
    bounded.finish(bounded.submit(greedy(random_tokens(650, 13), 1)));
    EXPECT_EQ(bounded.loop.stats().cache_entries, 8u);
    GenerateRequest many = greedy(random_tokens(400, 14), 1);
    for (size_t i = 1; i < 100; ++i) many.boundaries.push_back(4 * i);
    Rig chatty;
    chatty.finish(chatty.submit(std::move(many)));
    EXPECT_EQ(chatty.loop.stats().cache_entries, 17u);  // 4 first, 12 last, and the end
}

// ---- ends --------------------------------------------------------------------------------------

TEST_P(EngineLoopTest, CancelAtEveryStepFreesEverything) {
    const Tokens prompt = random_tokens(200, 15);
    for (const bool prefix_cache : {true, false})
        for (int steps = 0; steps < 12; ++steps) {
            Rig rig({.running_max = 2, .prefix_cache = prefix_cache}, engine_options());
            GenerateRequest request = seeded(prompt, 30, 3);
            request.num_choices = 3;
            request.constraints.clear();
            const auto client = rig.submit(std::move(request));
            const auto other = rig.submit(greedy(random_tokens(30, 16), 2));
            for (int i = 0; i < steps; ++i) rig.step();
            client->events->cancel();
            rig.step();  // at most one chunk
            ASSERT_TRUE(client->ended()) << steps;
            for (const Answer& answer : client->reply.choices)
                ASSERT_EQ(answer.reason, FinishReason::kCancelled);
            ASSERT_EQ(client->reply.choices.size(), 3u);
            rig.run();
            ASSERT_TRUE(other->ended());
            rig.expect_idle();
            ASSERT_EQ(rig.engine.pages().pages_in_use() > 0, prefix_cache);
            EXPECT_EQ(rig.loop.stats().cancelled, 1u);
        }
}

TEST_P(EngineLoopTest, WhatACancelledPrefillComputedIsReused) {
    Rig rig({}, engine_options());
    const GenerateRequest request = greedy(random_tokens(300, 17), 4);
    const auto client = rig.submit(copy(request));
    for (int i = 0; i < 3; ++i) rig.step();  // 64 each
    client->events->cancel();
    EXPECT_EQ(rig.finish(client).only().reason, FinishReason::kCancelled);
    const Reply& reply = rig.finish(rig.submit(copy(request)));
    EXPECT_EQ(reply.cache.cached_tokens, 192u);
    EXPECT_EQ(reply.cache.replayed_tokens, 0u);
    EXPECT_FALSE(reply.cache.diverged);
    EXPECT_EQ(reply.choices, plain_answers(request));
}

// A replay that is cut off leaves the point it came from, and no other.
TEST_P(EngineLoopTest, ACancelledReplayLeavesNothing) {
    Rig rig({}, engine_options());
    const Tokens prompt = random_tokens(900, 18);
    rig.finish(rig.submit(greedy(prompt, 2)));
    const size_t entries = rig.loop.stats().cache_entries;
    Tokens edited(prompt.begin(), prompt.begin() + 800);
    edited = join(edited, random_tokens(20, 19));
    const auto client = rig.submit(greedy(edited, 2));
    rig.step();
    client->events->cancel();
    rig.run();
    EXPECT_TRUE(client->ended());
    EXPECT_EQ(rig.loop.stats().cache_entries, entries);
    rig.expect_idle();
    EXPECT_EQ(rig.finish(rig.submit(greedy(edited, 2))).choices, plain_answers(greedy(edited, 2)));
}

TEST_P(EngineLoopTest, StopTokensAndLimitsEndAChoice) {
    Rig rig({}, engine_options());
    GenerateRequest request = greedy(random_tokens(20, 20), 30);
    const Answer whole = plain_answers(request).front();
    // The first token that has not come before, so that it stops there.
    size_t at = 4;
    while (std::find(whole.tokens.begin(), whole.tokens.begin() + static_cast<long>(at),
                     whole.tokens[at]) != whole.tokens.begin() + static_cast<long>(at))
        ++at;
    request.stop_tokens = {whole.tokens[at]};
    const Answer stopped = rig.finish(rig.submit(copy(request))).only();
    EXPECT_EQ(stopped.reason, FinishReason::kStop);
    EXPECT_EQ(stopped.tokens,
              Tokens(whole.tokens.begin(), whole.tokens.begin() + static_cast<long>(at) + 1));
    request.stop_tokens.clear();
    request.tokens_max = 1;
    EXPECT_EQ(rig.finish(rig.submit(copy(request))).choices, plain_answers(request));
    request.top_logprobs = -1;
    const Answer silent = rig.finish(rig.submit(copy(request))).only();
    EXPECT_TRUE(silent.top[0].empty());
    EXPECT_EQ(silent.model_logprobs[0], 0);
    EXPECT_EQ(silent.logprobs[0], 0);  // greedy: certain
}

TEST(EngineLoop, TheContextEndsASequence) {
    Json config = preset_config(SynthPreset::kTiny);
    config["num_hidden_layers"] = 3;
    config["num_hash_layers"] = 1;
    config["compress_ratios"] = {0, 4, 128, 0};
    config["max_position_embeddings"] = 40;
    const auto weights = make_weights(config, "baleen_engine_context_");
    for (const bool mtp : {false, true}) {
        Engine engine(weights, loop_options(mtp));
        EngineLoop loop(engine, {});
        auto request =
            make_request(greedy(random_tokens(30, 21), 1000), std::make_shared<Doorbell>(), 100);
        Client client{request->events, {}};
        loop.add(std::move(request));
        while (loop.plan()) loop.run();
        loop.deliver();
        EXPECT_TRUE(client.ended());
        EXPECT_EQ(client.reply.only().reason, FinishReason::kLength);
        EXPECT_EQ(client.reply.only().tokens.size(), 10u);
    }
}

// ---- constraints -------------------------------------------------------------------------------

// Token i must be one of allowed[i]; after the last the text is finished.
class Script : public TokenConstraint {
  public:
    explicit Script(std::vector<Tokens> allowed) : allowed_(std::move(allowed)) {}
    Restriction restrict_next(std::span<uint64_t> allowed, int64_t remaining) override {
        EXPECT_EQ(remaining, tokens_max_ - static_cast<int64_t>(next_));
        if (next_ == allowed_.size()) return Restriction::kFinished;
        if (allowed_[next_].empty()) return Restriction::kNone;
        std::ranges::fill(allowed, 0);
        for (TokenId token : allowed_[next_])
            if (token >= 0) allowed[static_cast<size_t>(token) / 64] |= uint64_t{1} << (token % 64);
        return Restriction::kMasked;
    }
    void accept(TokenId token) override {
        ASSERT_LT(next_, allowed_.size());
        const Tokens& allowed = allowed_[next_++];
        ASSERT_TRUE(allowed.empty() || std::ranges::find(allowed, token) != allowed.end());
    }
    static constexpr int64_t tokens_max_ = 60;

  private:
    std::vector<Tokens> allowed_;
    size_t next_ = 0;
};

std::unique_ptr<TokenConstraint> mixed_script(size_t choice) {
    std::vector<Tokens> allowed;
    Rng rng(77 + choice);
    for (int i = 0; i < 40; ++i) {
        Tokens& tokens = allowed.emplace_back();
        const uint64_t kind = rng.next_below(4);  // free, one, two, or ten tokens
        const size_t n = kind == 0 ? 0 : kind == 1 ? 1 : kind == 2 ? 2 : 10;
        for (size_t t = 0; t < n; ++t) tokens.push_back(static_cast<TokenId>(rng.next_below(512)));
    }
    return std::make_unique<Script>(std::move(allowed));
}

TEST_P(EngineLoopTest, ConstrainedTokensAreTheSameAndEndWhereTheTextIsFinished) {
    GenerateRequest request = seeded(random_tokens(100, 22), Script::tokens_max_, 8);
    request.num_choices = 3;
    const std::vector<Answer> expected = plain_answers(request, mixed_script);
    for (size_t i = 0; i < 3; ++i) request.constraints.push_back(mixed_script(i));
    Rig rig({}, engine_options());
    const Reply& reply = rig.finish(rig.submit(std::move(request)));
    EXPECT_EQ(reply.choices, expected);
    for (const Answer& answer : reply.choices) {
        EXPECT_EQ(answer.reason, FinishReason::kStop);
        EXPECT_EQ(answer.tokens.size(), 40u);
    }
    if (GetParam()) {  // guesses were right and wrong
        const SchedulerStats stats = rig.loop.stats();
        EXPECT_GT(stats.drafts_accepted, 10u);
        EXPECT_LT(stats.drafts_accepted, stats.drafts_proposed);
    }
    rig.expect_idle();
}

TEST_P(EngineLoopTest, AFinishedTextNeedsNoTokenAndAnEmptyMaskFails) {
    Rig rig({}, engine_options());
    GenerateRequest request = greedy(random_tokens(30, 23), Script::tokens_max_);
    request.num_choices = 3;
    request.constraints.push_back(std::make_unique<Script>(std::vector<Tokens>{}));
    request.constraints.push_back(std::make_unique<Script>(std::vector<Tokens>{{5}, {6}}));
    request.constraints.push_back(std::make_unique<Script>(std::vector<Tokens>{{5}, {-1}}));
    const Reply& reply = rig.finish(rig.submit(std::move(request)));
    EXPECT_EQ(reply.choices[0].reason, FinishReason::kStop);
    EXPECT_TRUE(reply.choices[0].tokens.empty());
    EXPECT_EQ(reply.choices[1].reason, FinishReason::kStop);
    EXPECT_EQ(reply.choices[1].tokens, (Tokens{5, 6}));
    EXPECT_EQ(reply.choices[2].reason, FinishReason::kFailed);
    EXPECT_EQ(reply.choices[2].tokens, (Tokens{5}));
    EXPECT_NE(reply.choices[2].error.find("no token"), std::string::npos);
    rig.expect_idle();
}

// ---- speculation -------------------------------------------------------------------------------

TEST(EngineLoop, RightGuessesHalveThePasses) {
    std::vector<Tokens> only;
    for (TokenId i = 0; i < 40; ++i) only.push_back({7 + i});
    GenerateRequest request = greedy(random_tokens(30, 24), Script::tokens_max_);
    request.constraints.push_back(std::make_unique<Script>(only));
    Rig rig({}, loop_options(true));
    EXPECT_EQ(rig.finish(rig.submit(std::move(request))).only().tokens.size(), 40u);
    const SchedulerStats stats = rig.loop.stats();
    EXPECT_EQ(stats.drafts_accepted, stats.drafts_proposed);
    EXPECT_LE(stats.steps, 22u);
}

TEST(EngineLoop, SpeculationPausesWhereGuessesAreWrong) {
    Rig rig({}, loop_options(true));
    const GenerateRequest request = seeded(random_tokens(30, 25), 150, 1);  // hardly ever right
    EXPECT_EQ(rig.finish(rig.submit(copy(request))).choices, plain_answers(request));
    const SchedulerStats stats = rig.loop.stats();
    EXPECT_EQ(stats.speculation_pauses, 1u);
    EXPECT_EQ(stats.drafts_proposed, Speculation::kWindow);
}

// ---- who runs when -----------------------------------------------------------------------------

TEST_P(EngineLoopTest, ALongPrefillDoesNotStopDecoding) {
    Rig rig({.prefill_rows_busy = 16}, engine_options());
    const auto talker = rig.submit(greedy(random_tokens(20, 26), 40));
    rig.step();
    const auto long_prompt = rig.submit(greedy(random_tokens(500, 27), 2));
    size_t tokens = talker->num_tokens();
    while (!talker->ended()) {
        rig.step();
        if (talker->ended()) break;
        const size_t now = talker->num_tokens();
        ASSERT_GT(now, tokens);  // every step
        tokens = now;
    }
    long_prompt->read();
    const size_t busy_steps = 39;
    ASSERT_FALSE(long_prompt->reply.prefill_done.empty());
    EXPECT_LE(long_prompt->reply.prefill_done.back(), 16 * busy_steps);
    EXPECT_GE(long_prompt->reply.prefill_done.back(), 16 * 15u);
    const size_t left = 500 - long_prompt->reply.prefill_done.back();
    size_t steps = 0;
    while (long_prompt->num_tokens() == 0 && rig.step()) ++steps;
    EXPECT_EQ(steps, (left + 63) / 64);  // alone: whole passes
}

TEST(EngineLoop, AShortPromptOvertakesALongOne) {
    Rig rig;
    const auto long_prompt = rig.submit(greedy(random_tokens(640, 28), 1));
    rig.step();
    const auto short_prompt = rig.submit(greedy(random_tokens(50, 29), 1));
    size_t steps = 0;
    while (!short_prompt->ended()) {
        rig.step();
        ++steps;
    }
    EXPECT_LE(steps, 2u);
    EXPECT_FALSE(long_prompt->ended());
    rig.run();
    EXPECT_TRUE(long_prompt->ended());
}

TEST(EngineLoop, AStreamOfShortPromptsDoesNotStarveALongOne) {
    Rig rig;
    const auto long_prompt = rig.submit(greedy(random_tokens(640, 30), 1));
    std::vector<std::shared_ptr<Client>> shorts;
    size_t steps = 0;
    while (!long_prompt->ended() && steps < 100) {
        shorts.push_back(rig.submit(greedy(random_tokens(64, 1000 + steps), 1)));
        rig.step();
        ++steps;
    }
    EXPECT_TRUE(long_prompt->ended());
    EXPECT_LE(steps, 41u);  // ten chunks, one turn in four
    const auto ended = std::ranges::count_if(shorts, [](auto& s) { return s->ended(); });
    EXPECT_GE(ended, static_cast<long>(steps / 2));
}

TEST_P(EngineLoopTest, ASlowReaderPausesItsSequenceAlone) {
    Rig rig({.events_max = 6}, engine_options());
    const GenerateRequest request = seeded(random_tokens(30, 31), 40, 2);
    const auto slow = rig.submit(copy(request));
    const auto quick = rig.submit(greedy(random_tokens(30, 32), 40));
    for (int i = 0; i < 100; ++i) {
        quick->read();
        if (!rig.step()) break;
    }
    EXPECT_TRUE(quick->ended());
    EXPECT_FALSE(rig.step());  // nothing to run until the reader reads
    EXPECT_EQ(rig.loop.stats().running, 1u);
    size_t unread = 0;
    while (const auto event = slow->events->next(std::chrono::steady_clock::time_point::min())) {
        add_event(slow->reply, *event);
        ++unread;
    }
    EXPECT_EQ(unread, 6u);
    while (!slow->ended()) ASSERT_TRUE(rig.step() || slow->ended());
    EXPECT_EQ(slow->reply.choices, plain_answers(request));
}

// Readers that read nothing hold neither the places nor the memory that others wait for.
TEST_P(EngineLoopTest, SlowReadersDoNotKeepOthersOut) {
    for (const bool memory : {false, true}) {
        Rig rig({.running_max = memory ? 8u : 2u, .events_max = 5},
                engine_options(memory ? 5 : SIZE_MAX));
        std::vector<GenerateRequest> requests;
        std::vector<std::shared_ptr<Client>> slow;
        for (uint64_t i = 0; i < 2; ++i) {
            requests.push_back(seeded(random_tokens(200, 34 + i), 30, i));
            slow.push_back(rig.submit(copy(requests.back())));
        }
        rig.run();
        EXPECT_EQ(rig.loop.stats().running, 2u);
        const GenerateRequest late = greedy(random_tokens(250, 36), 5);
        EXPECT_EQ(rig.finish(rig.submit(copy(late))).choices, plain_answers(late));
        EXPECT_GT(rig.loop.stats().preemptions, 0u);
        rig.run();
        for (size_t i = 0; i < 2; ++i) {
            EXPECT_FALSE(slow[i]->events->ended());
            EXPECT_EQ(rig.finish(slow[i]).choices, plain_answers(requests[i]));
        }
        rig.expect_idle();
    }
}

TEST_P(EngineLoopTest, StatsAddUp) {
    Rig rig({}, engine_options());
    size_t prompt = 0, cached = 0, replayed = 0, sampled = 0;
    const Tokens base = random_tokens(700, 33);
    for (size_t i = 0; i < 6; ++i) {
        Tokens tokens(base.begin(), base.begin() + static_cast<long>(700 - 90 * i));
        tokens = join(tokens, random_tokens(5, i));
        const Reply& reply = rig.finish(rig.submit(greedy(tokens, 4)));
        prompt += reply.cache.prompt_tokens;
        cached += reply.cache.cached_tokens;
        replayed += reply.cache.replayed_tokens;
        sampled += reply.only().tokens.size();
    }
    EXPECT_GT(cached, 0u);
    EXPECT_GT(replayed, 0u);
    const SchedulerStats stats = rig.loop.stats();
    EXPECT_EQ(stats.requests, 6u);
    EXPECT_EQ(stats.prompt_tokens, prompt);
    EXPECT_EQ(stats.cached_tokens, cached);
    EXPECT_EQ(stats.sampled_tokens, sampled);
    EXPECT_EQ(stats.prefilled_tokens, prompt - cached + replayed);
    EXPECT_EQ(stats.running, 0u);
    EXPECT_EQ(stats.queued, 0u);
    EXPECT_EQ(stats.kv_bytes_in_use, rig.loop.cache().pages_held() * page_bytes());
    EXPECT_GE(stats.cache_bytes, stats.kv_bytes_in_use);
}

}  // namespace
}  // namespace baleen
