// What the engine promises whatever the kernels: the same bits however a sequence came to be
// (principle 8), on a tiny checkpoint that has every layer kind and an indexer that drops entries.
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "engine/engine_fixture.h"
#include "model/kv_spec.h"

namespace baleen {
namespace {

using test::random_tokens;
using test::tiny_checkpoint;
using test::tiny_weights;

using Logits = std::vector<float>;

Logits logits_of(const Session& session) {
    return {session.logits().begin(), session.logits().end()};
}

Logits one_shot(std::span<const TokenId> tokens, const EngineOptions& options = {}) {
    Engine engine(tiny_weights(), options);
    Session session = engine.new_session();
    session.extend(tokens).value();
    return logits_of(session);
}

// Long enough that the indexer drops entries and every window has wrapped several times.
constexpr size_t kLength = 700;

class EngineTest : public testing::TestWithParam<std::tuple<Impl, Numerics>> {
  protected:
    EngineOptions options(size_t threads = 1) const {
        EngineOptions o;
        o.num_threads = threads;
        o.model.impl = std::get<0>(GetParam());
        o.model.numerics = std::get<1>(GetParam());
        return o;
    }
};

TEST_P(EngineTest, AnyChunkingAndThreadCountGiveTheSameBits) {
    const std::vector<TokenId> tokens = random_tokens(kLength, 1);
    const Logits expected = one_shot(tokens, options());
    for (float v : expected) ASSERT_TRUE(std::isfinite(v));
    for (size_t threads : {1u, 2u, 3u})
        for (size_t chunk : {1u, 3u, 64u, 128u, 511u}) {
            if (chunk == 1 && threads != 2) continue;  // slow, and the same code path
            Engine engine(tiny_weights(), options(threads));
            Session session = engine.new_session();
            session.extend(tokens, nullptr, chunk).value();
            ASSERT_EQ(logits_of(session), expected) << "threads " << threads << " chunk " << chunk;
        }
}

TEST_P(EngineTest, AllLogitsAreThoseOfEveryPrefix) {
    const std::vector<TokenId> tokens = random_tokens(140, 2);
    Engine engine(tiny_weights(), options(2));
    Session session = engine.new_session();
    Logits all;
    session
        .extend_all_logits(tokens,
                           [&](std::span<const float> rows) -> Result<void> {
                               all.insert(all.end(), rows.begin(), rows.end());
                               return {};
                           })
        .value();
    const size_t vocab = engine.vocab_size();
    ASSERT_EQ(all.size(), tokens.size() * vocab);
    Session stepwise = engine.new_session();
    for (size_t i = 0; i < tokens.size(); ++i) {
        stepwise.extend(std::span(tokens).subspan(i, 1)).value();
        ASSERT_EQ(logits_of(stepwise), Logits(all.begin() + static_cast<long>(i * vocab),
                                              all.begin() + static_cast<long>((i + 1) * vocab)))
            << "position " << i;
    }
}

TEST_P(EngineTest, SessionsInOneBatchDoNotTouchEachOther) {
    const std::vector<TokenId> a = random_tokens(330, 3), b = random_tokens(410, 4),
                               c = random_tokens(7, 5);
    Engine engine(tiny_weights(), options(2));
    Session sa = engine.new_session(), sb = engine.new_session(), sc = engine.new_session();
    sa.extend(std::span(a).first(300)).value();
    sb.extend(std::span(b).first(380)).value();
    for (size_t i = 0; i < 30; ++i) {
        std::vector<Engine::Extension> batch = {{&sa, std::span(a).subspan(300 + i, 1)},
                                                {&sb, std::span(b).subspan(380 + i, 1)}};
        if (i == 12) batch.push_back({&sc, c});
        engine.extend_batch(batch).value();
    }
    EXPECT_EQ(logits_of(sa), one_shot(a, options()));
    EXPECT_EQ(logits_of(sb), one_shot(b, options()));
    EXPECT_EQ(logits_of(sc), one_shot(c, options()));
}

TEST_P(EngineTest, ForksAreIndependent) {
    const std::vector<TokenId> prefix = random_tokens(437, 6), left = random_tokens(150, 7),
                               right = random_tokens(90, 8);
    Engine engine(tiny_weights(), options(2));
    Session parent = engine.new_session();
    parent.extend(prefix).value();
    const Logits parent_logits = logits_of(parent);
    Session child = parent.fork();
    EXPECT_EQ(logits_of(child), parent_logits);
    // Interleaved, so that each writes while the other shares pages.
    for (size_t i = 0; i < 90; ++i) {
        parent.extend(std::span(left).subspan(i, 1)).value();
        child.extend(std::span(right).subspan(i, 1)).value();
    }
    parent.extend(std::span(left).subspan(90)).value();
    std::vector<TokenId> all_left = prefix, all_right = prefix;
    all_left.insert(all_left.end(), left.begin(), left.end());
    all_right.insert(all_right.end(), right.begin(), right.end());
    EXPECT_EQ(logits_of(parent), one_shot(all_left, options()));
    EXPECT_EQ(logits_of(child), one_shot(all_right, options()));
    EXPECT_TRUE(std::ranges::equal(child.tokens(), all_right));
}

TEST_P(EngineTest, SnapshotsRestoreAtAnyPosition) {
    const std::vector<TokenId> tokens = random_tokens(600, 9);
    Engine engine(tiny_weights(), options(2));
    Session session = engine.new_session();
    std::vector<Snapshot> snapshots;
    std::vector<Logits> logits;
    size_t done = 0;
    for (size_t position : {1u, 3u, 4u, 5u, 127u, 128u, 129u, 255u, 300u, 513u}) {
        session.extend(std::span(tokens).subspan(done, position - done)).value();
        done = position;
        snapshots.push_back(session.snapshot());
        logits.push_back(logits_of(session));
    }
    session.extend(std::span(tokens).subspan(done)).value();
    const Logits expected = logits_of(session);
    for (size_t i = 0; i < snapshots.size(); ++i) {
        session.restore(snapshots[i]);
        ASSERT_EQ(logits_of(session), logits[i]);
        session.extend(std::span(tokens).subspan(static_cast<size_t>(session.length()))).value();
        ASSERT_EQ(logits_of(session), expected) << "from " << snapshots[i].position();
    }
}

TEST_P(EngineTest, RewindGivesTheBitsOfNeverHavingGoneOn) {
    const std::vector<TokenId> tokens = random_tokens(2600, 10);
    const std::vector<TokenId> other = random_tokens(140, 11);
    Engine engine(tiny_weights(), options(2));
    Session session = engine.new_session();
    session.extend(tokens).value();
    // 2435: beyond the receptive field, so that the replay starts in the middle.
    for (int64_t position : {2599, 2435, 1500, 129, 128, 5, 1, 0}) {
        Session back = session.fork();
        back.rewind(position).value();
        ASSERT_EQ(back.length(), position);
        std::vector<TokenId> expected(tokens.begin(), tokens.begin() + position);
        if (position > 0) {
            ASSERT_EQ(logits_of(back), one_shot(expected, options(2))) << position;
        }
        back.extend(other).value();
        expected.insert(expected.end(), other.begin(), other.end());
        ASSERT_EQ(logits_of(back), one_shot(expected, options(2))) << "rewound to " << position;
    }
    EXPECT_EQ(logits_of(session), one_shot(tokens, options(2)));  // forks left it alone
}

TEST_P(EngineTest, MtpDraftsAreTheSameHoweverThePromptCame) {
    const std::vector<TokenId> tokens = random_tokens(300, 12);
    EngineOptions o = options(2);
    o.mtp = true;
    Engine engine(tiny_weights(), o);
    std::vector<Logits> drafts;
    for (size_t chunk : {1u, 7u, 128u, 300u}) {
        Session session = engine.new_session();
        session.extend(tokens, nullptr, chunk).value();
        EXPECT_EQ(logits_of(session), one_shot(tokens, options()));
        Logits draft(engine.vocab_size());
        session.draft_logits(5, draft).value();  // a wrong guess must leave no trace
        session.draft_logits(17, draft).value();
        drafts.push_back(draft);
    }
    for (const Logits& draft : drafts) ASSERT_EQ(draft, drafts.front());
    Session rewound = engine.new_session();
    rewound.extend(tokens).value();
    rewound.extend(random_tokens(40, 13)).value();
    rewound.rewind(300).value();
    Logits draft(engine.vocab_size());
    rewound.draft_logits(17, draft).value();
    EXPECT_EQ(draft, drafts.front());
}

std::vector<std::tuple<Impl, Numerics>> variants() {
    std::vector<std::tuple<Impl, Numerics>> all;
    for (Impl impl : available_impls())
        if (impl != Impl::kRef) all.emplace_back(impl, Numerics::kOfficial);
    all.emplace_back(Impl::kSimd, Numerics::kExact);
    return all;
}

INSTANTIATE_TEST_SUITE_P(, EngineTest, testing::ValuesIn(variants()), [](const auto& variant) {
    return std::string(impl_name(std::get<0>(variant.param))) +
           (std::get<1>(variant.param) == Numerics::kExact ? "_exact" : "_official");
});

// ---- the reference against the fast kernels ----------------------------------------------------

// Without roundings the implementations differ by the order of f32 sums only.
TEST(EngineImpls, ReferenceAndFastKernelsAgreeInExactNumerics) {
    const std::vector<TokenId> tokens = random_tokens(300, 14);
    std::vector<Logits> logits;
    for (Impl impl : available_impls()) {
        EngineOptions o;
        o.model.impl = impl;
        o.model.numerics = Numerics::kExact;
        logits.push_back(one_shot(tokens, o));
    }
    for (const Logits& l : logits)
        for (size_t i = 0; i < l.size(); ++i) ASSERT_NEAR(l[i], logits[0][i], 1e-4f);
}

// With them a sum that lands on the other side of a rounding boundary moves a whole bf16 step and
// may flip a top-k; the bound is on the mean, and greedy tokens must agree where the gap is wide.
TEST(EngineImpls, ReferenceAndFastKernelsAgreeWithinRoundingNoiseInOfficialNumerics) {
    const std::vector<TokenId> tokens = random_tokens(40, 15);
    const size_t vocab = static_cast<size_t>(tiny_weights()->config.vocab_size);
    std::vector<Logits> all;
    for (Impl impl : available_impls()) {
        EngineOptions o;
        o.model.impl = impl;
        Engine engine(tiny_weights(), o);
        Session session = engine.new_session();
        Logits& logits = all.emplace_back();
        session
            .extend_all_logits(tokens,
                               [&](std::span<const float> rows) -> Result<void> {
                                   logits.insert(logits.end(), rows.begin(), rows.end());
                                   return {};
                               })
            .value();
    }
    for (const Logits& l : all)
        for (size_t t = 0; t < tokens.size(); ++t) {
            const auto row = std::span(l).subspan(t * vocab, vocab);
            const auto ref = std::span(all[0]).subspan(t * vocab, vocab);
            double difference = 0;
            float worst = 0;
            for (size_t i = 0; i < vocab; ++i) {
                difference += std::abs(row[i] - ref[i]);
                worst = std::max(worst, std::abs(row[i] - ref[i]));
            }
            ASSERT_LT(difference / static_cast<double>(vocab), 0.2) << "position " << t;
            Logits sorted(ref.begin(), ref.end());
            std::ranges::sort(sorted, std::greater());
            if (sorted[0] - sorted[1] > 2 * worst) {
                ASSERT_EQ(std::ranges::max_element(row) - row.begin(),
                          std::ranges::max_element(ref) - ref.begin());
            }
        }
}

// ---- other shapes
// --------------------------------------------------------------------------------

// Nothing is hard-coded to Flash: odd widths, partial scale tiles, other schedules.
struct Shape {
    const char* name;
    std::vector<std::pair<const char*, Json>> changes;
};

std::vector<Shape> shapes() {
    return {
        {"fp8_experts", {{"expert_dtype", "fp8"}}},
        {"narrow_heads",
         {{"head_dim", 96}, {"qk_rope_head_dim", 32}, {"num_attention_heads", 4}, {"o_groups", 2}}},
        {"wide_heads",
         {{"head_dim", 160},
          {"qk_rope_head_dim", 32},
          {"num_attention_heads", 8},
          {"o_groups", 4}}},
        {"partial_tiles",
         {{"hidden_size", 160}, {"q_lora_rank", 72}, {"moe_intermediate_size", 96}}},
        {"two_streams_no_yarn", {{"hc_mult", 2}, {"rope_scaling", nullptr}}},
        {"window_only", {{"compress_ratios", {0, 0, 0, 0, 0, 0}}}},
        {"other_ratios", {{"compress_ratios", {4, 32, 4, 2, 128, 64, 0}}, {"num_hash_layers", 0}}},
        {"short_window_small_topk", {{"sliding_window", 17}, {"index_topk", 3}}},
    };
}

TEST(EngineShapes, ReferenceAndFastKernelsAgreeAndChunkingKeepsTheBits) {
    const std::string directory = tiny_checkpoint() + "_shape";
    const std::vector<TokenId> tokens = random_tokens(290, 19);
    for (const Shape& shape : shapes()) {
        Json config = preset_config(SynthPreset::kTiny);
        for (const auto& [key, value] : shape.changes) config[key] = value;
        ThreadPool pool(1);
        const Result<SynthSummary> written = write_synthetic_checkpoint(
            config, {.directory = directory, .seed = 5, .overwrite = Overwrite::kReplace}, pool);
        ASSERT_TRUE(written) << shape.name << ": " << written.error().message;
        const auto weights = Weights::load(directory).value();
        Logits exact;
        for (Impl impl : available_impls()) {
            EngineOptions o;
            o.model.impl = impl;
            o.model.numerics = Numerics::kExact;
            Engine engine(weights, o);
            Session session = engine.new_session();
            session.extend(tokens).value();
            const Logits logits = logits_of(session);
            if (exact.empty()) exact = logits;
            for (size_t i = 0; i < logits.size(); ++i)
                ASSERT_NEAR(logits[i], exact[i], 1e-4f) << shape.name << " " << impl_name(impl);
        }
        Logits whole;
        for (size_t chunk : {290u, 50u}) {
            Engine engine(weights, {.num_threads = 2});
            Session session = engine.new_session();
            session.extend(tokens, nullptr, chunk).value();
            if (whole.empty()) whole = logits_of(session);
            ASSERT_EQ(logits_of(session), whole) << shape.name;
            for (float v : whole) ASSERT_TRUE(std::isfinite(v)) << shape.name;
            session.rewind(200).value();
            session.extend(std::span(tokens).subspan(200)).value();
            ASSERT_EQ(logits_of(session), whole) << shape.name << " rewound";
        }
    }
    std::filesystem::remove_all(directory);
}

// ---- limits and errors
// ---------------------------------------------------------------------------

TEST(EngineLimits, TokensOutsideTheVocabularyAreNamed) {
    Engine engine(tiny_weights(), {});
    Session session = engine.new_session();
    const TokenId bad[] = {1, 2, static_cast<TokenId>(engine.vocab_size())};
    const Result<void> result = session.extend(bad);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(result.error().message.find("position 2"), std::string::npos);
    EXPECT_EQ(session.length(), 0);
    const TokenId negative[] = {-1};
    EXPECT_FALSE(session.extend(negative));
}

TEST(EngineLimits, FullKvMemoryLeavesTheSessionUsable) {
    EngineOptions o;
    const KvLayout layout(kv_spec(tiny_weights()->config, KvEncoding::kPacked));
    o.kv_bytes_max = 3 * layout.page_bytes;
    Engine engine(tiny_weights(), o);
    Session session = engine.new_session();
    const std::vector<TokenId> tokens = random_tokens(500, 16);
    const Result<void> result = session.extend(tokens, nullptr, 100);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kExhausted);
    EXPECT_EQ(session.length(), 300);
    EXPECT_EQ(session.tokens().size(), 300u);
    session.extend(std::span(tokens).subspan(300, 84)).value();  // what still fits
    const std::vector<TokenId> first(tokens.begin(), tokens.begin() + 384);
    EXPECT_EQ(logits_of(session), one_shot(first));
}

TEST(EngineLimits, CancelStopsAtAChunkAndKeepsIt) {
    Engine engine(tiny_weights(), {});
    Session session = engine.new_session();
    const std::vector<TokenId> tokens = random_tokens(300, 17);
    const Result<void> result = session.extend(
        tokens, [](size_t done, size_t) { return done < 128; }, 64);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kCancelled);
    EXPECT_EQ(session.length(), 128);
    session.extend(std::span(tokens).subspan(128)).value();
    EXPECT_EQ(logits_of(session), one_shot(tokens));
}

TEST(EngineLimits, PagesComeBackWhenSessionsEnd) {
    EngineOptions o;
    const KvLayout layout(kv_spec(tiny_weights()->config, KvEncoding::kPacked));
    o.kv_bytes_max = 4 * layout.page_bytes;
    Engine engine(tiny_weights(), o);
    const std::vector<TokenId> tokens = random_tokens(400, 18);
    for (int i = 0; i < 5; ++i) {
        Session session = engine.new_session();
        session.extend(tokens).value();
    }
}

}  // namespace
}  // namespace baleen
