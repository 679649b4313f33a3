// The forward pass as a whole, where engine_test.cc and the oracle do not reach: what it costs
// against the closed form of spec section 12.
#include "model/model.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "model/cost.h"
#include "model/synth.h"
#include "model/synth_presets.h"

namespace baleen {
namespace {

class TemporaryCheckpoint {
  public:
    explicit TemporaryCheckpoint(const Json& config)
        : path_((std::filesystem::temp_directory_path() /
                 fmt::format("baleen_model_test_{}", ::getpid()))
                    .string()) {
        ThreadPool pool(1);
        write_synthetic_checkpoint(config, {.directory = path_, .seed = 3}, pool).value();
    }
    ~TemporaryCheckpoint() { std::filesystem::remove_all(path_); }
    std::shared_ptr<const Weights> load() const { return Weights::load(path_).value(); }

  private:
    std::string path_;
};

double within(double a, double b) {
    return std::abs(a - b) / b;
}

TEST(ModelCost, ClosedFormMatchesCountedOperationsAndAllocatedBytes) {
    const TemporaryCheckpoint checkpoint(preset_config(SynthPreset::kTiny));
    const auto weights = checkpoint.load();
    ThreadPool pool(2);
    Model model(weights, pool, {.rows_max = 128});
    auto pages = std::make_shared<PagePool>(model.kv_layout()->page_bytes, size_t{1} << 16);
    KvCache kv(model.kv_layout(), pages);
    std::vector<TokenId> chunk(128);
    for (size_t i = 0; i < chunk.size(); ++i) chunk[i] = static_cast<TokenId>(i * 3 % 500);
    // One token at a time at the end: its context is its own position plus one.
    for (const int64_t context : {128, 1024, 2048}) {
        while (kv.length() + 128 < context) {
            const SequenceStep step{.kv = &kv, .tokens = chunk};
            model.forward({&step, 1}).value();
        }
        const std::span<const TokenId> rest =
            std::span(chunk).first(static_cast<size_t>(context - 1 - kv.length()));
        const SequenceStep fill{.kv = &kv, .tokens = rest};
        model.forward({&fill, 1}).value();
        OpCounts counts;
        model.set_op_counts(&counts);
        std::vector<float> logits(static_cast<size_t>(weights->config.vocab_size));
        const SequenceStep decode{.kv = &kv,
                                  .tokens = std::span(chunk).first(1),
                                  .wanted = LogitsOf::kLast,
                                  .logits = logits.data()};
        model.forward({&decode, 1}).value();
        model.set_op_counts(nullptr);
        ASSERT_EQ(kv.length(), context);
        const MultiplyAdds expected = decode_cost(weights->config, context).total();
        EXPECT_EQ(counts.quantised_linear, static_cast<uint64_t>(expected.fp8));
        // The closed form leaves out the final collapse of the streams (spec 12.2).
        const uint64_t bf16 = counts.bf16_linear + counts.f32_linear + counts.core_attention;
        EXPECT_LT(within(static_cast<double>(bf16), static_cast<double>(expected.bf16)), 0.01)
            << "context " << context;
        EXPECT_EQ(counts.index_score, static_cast<uint64_t>(expected.fp4));
        // The cache also holds the MTP stage's window and the f32 partial blocks.
        const size_t mtp_ring = static_cast<size_t>(weights->config.sliding_window) *
                                model.kv_layout()->spec.row.row_bytes();
        const size_t counted =
            kv.bytes() - mtp_ring - model.kv_layout()->state_floats * sizeof(float);
        EXPECT_LT(within(static_cast<double>(counted),
                         static_cast<double>(kv_bytes(weights->config, context))),
                  0.01)
            << "context " << context;
    }
}

TEST(ModelLimits, AFailedBatchChangesNoSequence) {
    const TemporaryCheckpoint checkpoint(preset_config(SynthPreset::kTiny));
    const auto weights = checkpoint.load();
    ThreadPool pool(1);
    Model model(weights, pool, {.rows_max = 300});
    auto pages = std::make_shared<PagePool>(model.kv_layout()->page_bytes, 2);
    KvCache a(model.kv_layout(), pages), b(model.kv_layout(), pages);
    const std::vector<TokenId> tokens(140, 7);
    const SequenceStep steps[] = {{.kv = &a, .tokens = std::span(tokens).first(100)},
                                  {.kv = &b, .tokens = tokens}};
    const Result<void> result = model.forward(steps);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kExhausted);
    EXPECT_EQ(a.length(), 0);
    EXPECT_EQ(b.length(), 0);
    model.forward({steps, 1}).value();
    EXPECT_EQ(a.length(), 100);
}

}  // namespace
}  // namespace baleen
