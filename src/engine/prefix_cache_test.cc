// The radix tree against a list of all that was put in, looked through one by one.
#include "engine/prefix_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "engine/engine_fixture.h"

namespace baleen {
namespace {

using test::random_tokens;
using test::small_weights;

using Tokens = std::vector<TokenId>;

class PrefixCacheTest : public testing::Test {
  protected:
    PrefixCacheTest() : engine_(small_weights(), {.num_threads = 1}) {}

    // A point of that length whose pages are its own. It cannot drop its last token.
    RestorePoint point(size_t length) {
        Session session = engine_.new_session();
        session.fill_synthetic(static_cast<int64_t>(length), length).value();
        return session.restore_point();
    }
    size_t page_bytes() const { return engine_.pages().page_bytes(); }

    Engine engine_;
};

struct Stored {
    Tokens tokens;
    RestorePoint point;
};

size_t shared(const Tokens& a, const Tokens& b) {
    return static_cast<size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

void expect_like(const PrefixCache& cache, const std::vector<Stored>& stored,
                 const Tokens& prompt) {
    size_t matched = 0, resumed = 0;
    for (const Stored& s : stored) matched = std::max(matched, shared(s.tokens, prompt));
    bool diverged = false;
    for (const Stored& s : stored) {
        const size_t common = shared(s.tokens, prompt);
        if (common == matched && common < s.tokens.size() && common < prompt.size())
            diverged = true;
        const size_t usable = std::min({common, prompt.size() - 1, s.tokens.size()});
        resumed = std::max(resumed, static_cast<size_t>(Session::resumed_length(
                                        s.point, static_cast<int64_t>(usable))));
    }
    const PrefixCache::Match match = cache.lookup(prompt);
    ASSERT_EQ(match.matched_tokens, matched);
    ASSERT_EQ(match.diverged, matched > 0 && diverged);
    ASSERT_EQ(match.resumed_tokens, resumed);
    ASSERT_EQ(match.point != nullptr, resumed > 0);
    if (match.point == nullptr) return;
    ASSERT_LT(match.prefix_tokens, prompt.size());
    ASSERT_LE(match.prefix_tokens, matched);
    ASSERT_LE(static_cast<int64_t>(match.prefix_tokens), match.point->position());
    ASSERT_EQ(Session::resumed_length(*match.point, static_cast<int64_t>(match.prefix_tokens)),
              static_cast<int64_t>(resumed));
}

// Sequences over few symbols, each symbol many tokens long, so that they share, part, end within
// and go beyond one another, at lengths where replays pay and where they do not.
Tokens random_sequence(Rng& rng) {
    Tokens tokens;
    const size_t symbols = 1 + rng.next_below(9);
    for (size_t i = 0; i < symbols; ++i) {
        const auto symbol = static_cast<TokenId>(rng.next_below(2));
        tokens.insert(tokens.end(), 60 + 37 * static_cast<size_t>(symbol), symbol);
    }
    return tokens;
}

TEST_F(PrefixCacheTest, FindsWhatASearchOfEverythingFinds) {
    for (uint64_t seed = 1; seed <= 6; ++seed) {
        Rng rng(seed);
        PrefixCache cache(page_bytes(), SIZE_MAX);
        std::vector<Stored> stored;  // least recently used first
        for (int round = 0; round < 60; ++round) {
            const Tokens tokens = random_sequence(rng);
            if (rng.next_below(4) == 0 && !stored.empty()) {
                ASSERT_TRUE(cache.evict());
                stored.erase(stored.begin());
            } else {
                RestorePoint p = point(tokens.size());
                cache.insert(tokens, p);
                const auto same = std::ranges::find(stored, tokens, &Stored::tokens);
                if (same != stored.end())
                    std::rotate(same, same + 1, stored.end());
                else
                    stored.push_back({tokens, std::move(p)});
            }
            ASSERT_EQ(cache.entries(), stored.size());
            for (const Stored& s : stored) ASSERT_TRUE(cache.contains(s.tokens));
            for (int i = 0; i < 6; ++i) {
                Tokens prompt = random_sequence(rng);
                prompt.resize(prompt.size() - rng.next_below(3), 0);
                expect_like(cache, stored, prompt);
            }
            for (const Stored& s : stored) expect_like(cache, stored, s.tokens);
        }
        while (cache.evict()) {
        }
        stored.clear();
        EXPECT_EQ(cache.entries(), 0u);
        EXPECT_EQ(cache.bytes(), 0u);
        EXPECT_EQ(cache.lookup(random_sequence(rng)).matched_tokens, 0u);
        EXPECT_EQ(engine_.pages().pages_in_use(), 0u);
    }
}

TEST_F(PrefixCacheTest, PagesThatPointsShareCountOnce) {
    PrefixCache cache(page_bytes(), SIZE_MAX);
    const Tokens tokens = random_tokens(600, 1);
    Session session = engine_.new_session();
    size_t hot = 0;
    for (size_t length : {130u, 256u, 300u, 600u}) {
        session
            .extend(std::span(tokens).subspan(static_cast<size_t>(session.length()),
                                              length - static_cast<size_t>(session.length())))
            .value();
        cache.insert(std::span(tokens).first(length), session.restore_point());
        hot += session.restore_point().hot_bytes();
    }
    // 0-127 of all, 128-255 up to 130 and of the rest, 256-383 up to 300 and on, 384-511, 512-599.
    EXPECT_EQ(cache.pages_held(), 7u);
    EXPECT_EQ(engine_.pages().pages_in_use(), 7u);
    EXPECT_EQ(cache.bytes(), 7 * page_bytes() + hot + 600 * sizeof(TokenId));
    // The session is not one of the cache's; its pages are shared with the last point.
    session = engine_.new_session();
    EXPECT_EQ(cache.pages_held(), 7u);
    ASSERT_TRUE(cache.evict());  // 130
    EXPECT_EQ(cache.pages_held(), 6u);
    EXPECT_EQ(engine_.pages().pages_in_use(), 6u);
    EXPECT_EQ(cache.bytes(), 6 * page_bytes() + hot / 4 * 3 + 600 * sizeof(TokenId));
}

TEST_F(PrefixCacheTest, UsedPointsStayLonger) {
    PrefixCache cache(page_bytes(), SIZE_MAX);
    const Tokens a = random_tokens(140, 1), b = random_tokens(140, 2), c = random_tokens(140, 3);
    for (const Tokens& tokens : {a, b, c}) cache.insert(tokens, point(tokens.size()));
    Tokens prompt = a;
    prompt.push_back(5);
    cache.touch(cache.lookup(prompt));
    cache.insert(b, point(b.size()));  // is there: counts as used
    EXPECT_EQ(cache.entries(), 3u);
    ASSERT_TRUE(cache.evict());
    EXPECT_TRUE(cache.contains(a));
    EXPECT_TRUE(cache.contains(b));
    EXPECT_FALSE(cache.contains(c));
    ASSERT_TRUE(cache.evict());
    EXPECT_FALSE(cache.contains(a));
    EXPECT_EQ(cache.evictions(), 2u);
}

TEST_F(PrefixCacheTest, TheBudgetHoldsAfterEveryInsert) {
    const size_t one = point(200).hot_bytes() + 2 * page_bytes() + 200 * sizeof(TokenId);
    PrefixCache cache(page_bytes(), 3 * one);
    for (uint64_t seed = 1; seed < 9; ++seed) {
        const Tokens tokens = random_tokens(200, seed);
        cache.insert(tokens, point(tokens.size()));
        EXPECT_LE(cache.bytes(), 3 * one);
        EXPECT_EQ(cache.entries(), std::min<size_t>(seed, 3));
        EXPECT_TRUE(cache.contains(tokens));
    }
    EXPECT_EQ(cache.evictions(), 5u);
    PrefixCache none(page_bytes(), one - 1);  // room for not even one
    none.insert(random_tokens(200, 1), point(200));
    EXPECT_EQ(none.entries(), 0u);
    EXPECT_EQ(none.bytes(), 0u);
}

TEST_F(PrefixCacheTest, MemoryIsTakenFromThosePointsThatAreAloneInHoldingIt) {
    PrefixCache cache(page_bytes(), SIZE_MAX);
    const Tokens running = random_tokens(256, 1), idle = random_tokens(256, 2);
    Session session = engine_.new_session();
    session.extend(running).value();
    cache.insert(running, session.restore_point());  // older, but its pages would not come free
    cache.insert(idle, point(idle.size()));
    ASSERT_TRUE(cache.evict_for_pages());
    EXPECT_TRUE(cache.contains(running));
    EXPECT_FALSE(cache.contains(idle));
    ASSERT_TRUE(cache.evict_for_pages());
    EXPECT_FALSE(cache.evict_for_pages());
    EXPECT_EQ(engine_.pages().pages_in_use(), 2u);
}

// A whole prompt that is stored leaves its last token to run, for the logits: it is dropped, not
// replayed, where the point allows it.
TEST_F(PrefixCacheTest, AStoredPromptRunsOneToken) {
    PrefixCache cache(page_bytes(), SIZE_MAX);
    const Tokens prompt = random_tokens(40, 1);
    Session session = engine_.new_session();
    session.extend(prompt).value();
    cache.insert(prompt, session.restore_point());
    const PrefixCache::Match match = cache.lookup(prompt);
    EXPECT_EQ(match.matched_tokens, 40u);
    EXPECT_FALSE(match.diverged);
    EXPECT_EQ(match.prefix_tokens, 39u);
    EXPECT_EQ(match.resumed_tokens, 39u);
    Tokens other = prompt;  // parts from it at the last token
    other.back() ^= 1;
    EXPECT_EQ(cache.lookup(other).resumed_tokens, 39u);
    EXPECT_TRUE(cache.lookup(other).diverged);
    EXPECT_EQ(cache.lookup(Tokens{prompt[0]}).point, nullptr);
}

TEST_F(PrefixCacheTest, ThousandsOfNodesInOneLineComeAndGo) {
    PrefixCache cache(page_bytes(), SIZE_MAX);
    const Tokens tokens(5000, 7);
    const RestorePoint p = point(5000);
    for (size_t length = 1; length < 120; ++length)
        cache.insert(std::span(tokens).first(length), point(length));
    EXPECT_EQ(cache.entries(), 119u);
    cache.clear();
    EXPECT_EQ(cache.entries(), 0u);
    EXPECT_EQ(cache.pages_held(), 0u);
    cache.insert(tokens, p);
    EXPECT_EQ(cache.lookup(Tokens(6000, 7)).resumed_tokens, 5000u);
}

}  // namespace
}  // namespace baleen
