// Guessed tokens that are dropped again leave no trace, at any phase of any block.
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/engine_fixture.h"

namespace baleen {
namespace {

using test::random_tokens;
using test::tiny_weights;

using Logits = std::vector<float>;

// What follows from tokens in the plainest way: logits of every position, and MTP drafts where the
// next token is the true one.
struct Expected {
    std::vector<Logits> logits;
    std::vector<Logits> drafts;
};

Expected expected_of(Engine& engine, std::span<const TokenId> tokens) {
    Expected expected;
    Session session = engine.new_session();
    for (size_t i = 0; i < tokens.size(); ++i) {
        session.extend(tokens.subspan(i, 1)).value();
        expected.logits.emplace_back(session.logits().begin(), session.logits().end());
        Logits& draft = expected.drafts.emplace_back(engine.vocab_size());
        if (i + 1 < tokens.size()) session.draft_logits(tokens[i + 1], draft).value();
    }
    return expected;
}

Logits at(const Session& session, int64_t position) {
    const std::span<const float> logits = session.logits_at(position);
    return {logits.begin(), logits.end()};
}

EngineOptions mtp_options() {
    EngineOptions options;
    options.num_threads = 2;
    options.model.rows_max = 64;
    options.mtp = true;
    return options;
}

enum class Step { kPlain, kHit, kMiss };

// Runs tokens from where session is, with guesses as `next_step` wants them.
template <typename NextStep>
void run_pattern(Engine& engine, Session& session, std::span<const TokenId> tokens,
                 const Expected& expected, const NextStep& next_step) {
    Logits draft(engine.vocab_size());
    while (session.length() + 2 < static_cast<int64_t>(tokens.size())) {
        const size_t at_token = static_cast<size_t>(session.length());
        const int64_t position = session.length();
        const TokenId token = tokens[at_token];
        const Step step = next_step();
        const TokenId right = tokens[at_token + 1];
        const TokenId guess = step == Step::kHit
                                  ? right
                                  : static_cast<TokenId>((right + 1 + position % 7) %
                                                         static_cast<int64_t>(engine.vocab_size()));
        const TokenId both[] = {token, guess};
        const Engine::Extension extension{
            .session = &session,
            .tokens = std::span(both).first(step == Step::kPlain ? 1 : 2),
            .wanted = LogitsOf::kAll,
            .last = step == Step::kPlain ? Engine::LastToken::kCertain : Engine::LastToken::kGuess};
        engine.extend_batch({&extension, 1}).value();
        ASSERT_EQ(at(session, position), expected.logits[at_token]) << "position " << position;
        if (step == Step::kMiss) session.drop_last();
        const size_t last = static_cast<size_t>(session.length()) - 1;
        ASSERT_EQ(at(session, static_cast<int64_t>(last)), expected.logits[last]);
        const Engine::Draft drafted{.session = &session, .next = tokens[last + 1], .logits = draft};
        engine.draft_batch({&drafted, 1});
        ASSERT_EQ(draft, expected.drafts[last]) << "draft after " << last;
    }
}

TEST(Speculation, AWrongGuessAtAnyPhaseLeavesNoTrace) {
    const std::vector<TokenId> tokens = random_tokens(272, 31);
    Engine engine(tiny_weights(), mtp_options());
    const Expected expected = expected_of(engine, tokens);
    for (const auto& [first, last] : {std::pair<size_t, size_t>{1, 12}, {118, 134}, {248, 262}}) {
        Session session = engine.new_session();
        session.extend(std::span(tokens).first(first)).value();
        for (size_t begin = first; begin <= last; ++begin) {
            Session branch = engine.new_session();
            branch.resume(session.restore_point(), std::span(tokens).first(begin));
            size_t steps = 0;
            run_pattern(engine, branch, std::span(tokens).first(begin + 10), expected,
                        [&] { return steps++ == 0 ? Step::kMiss : Step::kPlain; });
            session.extend(std::span(tokens).subspan(begin, 1)).value();
        }
    }
}

TEST(Speculation, AnyPatternOfGuessesGivesTheSameBits) {
    const std::vector<TokenId> tokens = random_tokens(170, 32);
    Engine engine(tiny_weights(), mtp_options());
    const Expected expected = expected_of(engine, tokens);
    for (uint64_t seed : {1u, 2u}) {
        Rng rng(seed);
        Session session = engine.new_session();
        session.extend(std::span(tokens).first(1 + rng.next_below(5))).value();
        run_pattern(engine, session, tokens, expected,
                    [&] { return static_cast<Step>(rng.next_below(3)); });
    }
    // Only misses, only hits.
    for (const Step step : {Step::kMiss, Step::kHit}) {
        Session session = engine.new_session();
        session.extend(std::span(tokens).first(3)).value();
        run_pattern(engine, session, tokens, expected, [&] { return step; });
    }
}

TEST(Speculation, OtherRatiosAndShortWindowsToo) {
    Json config = preset_config(SynthPreset::kTiny);
    config["compress_ratios"] = {4, 32, 4, 2, 128, 64, 0};
    config["num_hash_layers"] = 0;
    config["sliding_window"] = 17;
    config["index_topk"] = 3;
    Engine engine(test::make_weights(config, "baleen_speculation_"), mtp_options());
    const std::vector<TokenId> tokens = random_tokens(150, 33);
    const Expected expected = expected_of(engine, tokens);
    Rng rng(4);
    Session session = engine.new_session();
    session.extend(std::span(tokens).first(2)).value();
    run_pattern(engine, session, tokens, expected,
                [&] { return static_cast<Step>(rng.next_below(3)); });
}

// Snapshots taken while a guess is in are sequences of their own, and stay what they are.
TEST(Speculation, RestorePointsAroundAGuessAreExact) {
    const std::vector<TokenId> tokens = random_tokens(262, 34);
    Engine engine(tiny_weights(), mtp_options());
    const Expected expected = expected_of(engine, tokens);
    for (size_t begin : {3u, 126u, 127u, 254u}) {
        Session session = engine.new_session();
        session.extend(std::span(tokens).first(begin)).value();
        const TokenId both[] = {tokens[begin], static_cast<TokenId>(tokens[begin + 1] ^ 1)};
        const Engine::Extension extension{.session = &session,
                                          .tokens = both,
                                          .wanted = LogitsOf::kAll,
                                          .last = Engine::LastToken::kGuess};
        engine.extend_batch({&extension, 1}).value();
        const RestorePoint with_guess = session.restore_point();
        session.drop_last();
        EXPECT_FALSE(session.can_drop_last());
        const RestorePoint without = session.restore_point();
        session.extend(random_tokens(5, 35)).value();  // writes where the points share
        for (const RestorePoint* point : {&with_guess, &without}) {
            Session back = engine.new_session();
            back.resume(*point, std::span(tokens).first(begin + 1));
            ASSERT_EQ(back.length(), static_cast<int64_t>(begin + 1));
            run_pattern(engine, back, std::span(tokens).first(begin + 8), expected,
                        [] { return Step::kPlain; });
        }
    }
}

// A replay keeps the entries before its end as they are; dropping the token that closed the last
// one of them means that it is written again.
TEST(Speculation, DroppingTheLastTokenOfARewindReopensItsBlocks) {
    const std::vector<TokenId> tokens = random_tokens(700, 38);
    Engine engine(test::small_weights(), mtp_options());
    for (const int64_t position : {640, 600, 4}) {
        Session session = engine.new_session();
        session.extend(tokens).value();
        session.rewind(position).value();
        session.drop_last();
        std::vector<TokenId> all(tokens.begin(), tokens.begin() + position - 1);
        const std::vector<TokenId> other = random_tokens(30, 39);
        all.insert(all.end(), other.begin(), other.end());
        session.extend(other).value();
        Session plain = engine.new_session();
        plain.extend(all).value();
        EXPECT_EQ(at(session, session.length() - 1), at(plain, plain.length() - 1)) << position;
    }
}

// Prefixes of what a point holds: the whole, less one token, and much less.
TEST(Speculation, ResumingAnyPrefixOfAPointIsExact) {
    const std::vector<TokenId> tokens = random_tokens(900, 36);
    Engine engine(test::small_weights(), mtp_options());
    Session session = engine.new_session();
    session.extend(tokens).value();
    const RestorePoint point = session.restore_point();
    for (size_t prefix : {900u, 899u, 898u, 700u, 513u, 512u, 300u, 5u, 1u}) {
        Session back = engine.new_session();
        const std::span<const TokenId> kept = std::span(tokens).first(prefix);
        back.resume(point, kept);
        ASSERT_EQ(back.length(), Session::resumed_length(point, static_cast<int64_t>(prefix)));
        ASSERT_EQ(back.is_replaying(), prefix < 899);
        const std::vector<TokenId> other = random_tokens(30, 37 + prefix);
        std::vector<TokenId> all(kept.begin(), kept.end());
        all.insert(all.end(), other.begin(), other.end());
        back.extend(std::span(all).subspan(static_cast<size_t>(back.length()))).value();
        Session plain = engine.new_session();
        plain.extend(all).value();
        ASSERT_EQ(at(back, back.length() - 1), at(plain, plain.length() - 1)) << prefix;
    }
}

}  // namespace
}  // namespace baleen
