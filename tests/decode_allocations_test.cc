// decode() does not allocate (docs/architecture.md): counted by replacing operator new.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <new>

#include "model/model.h"
#include "model/synth.h"
#include "model/synth_presets.h"

namespace {

std::atomic<size_t> num_allocations{0};

}  // namespace

// Not inlined: g++ would see free() meet what operator new returned, and warn.
[[gnu::noinline]] void* operator new(size_t size) {
    ++num_allocations;
    if (void* p = std::malloc(size)) return p;
    throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept {
    std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept {
    std::free(p);
}

namespace baleen {
namespace {

TEST(Decode, AllocatesNothingBetweenPages) {
    const std::string directory = (std::filesystem::temp_directory_path() /
                                   fmt::format("baleen_allocations_test_{}", ::getpid()))
                                      .string();
    ThreadPool pool(2);
    write_synthetic_checkpoint(preset_config(SynthPreset::kTiny), {.directory = directory}, pool)
        .value();
    const auto weights = Weights::load(directory).value();
    std::filesystem::remove_all(directory);  // the mapping keeps the bytes
    for (Impl impl : available_impls()) {
        if (impl == Impl::kRef) continue;  // obvious first, and it may allocate
        Model model(weights, pool, {.impl = impl, .rows_max = 64});
        auto pages = std::make_shared<PagePool>(model.kv_layout()->page_bytes, size_t{64});
        KvCache kv(model.kv_layout(), pages);
        std::vector<float> logits(static_cast<size_t>(weights->config.vocab_size));
        const std::vector<TokenId> tokens(64, 9);
        const auto run = [&](size_t n) {
            const SequenceStep step{.kv = &kv,
                                    .tokens = std::span(tokens).first(n),
                                    .wanted = LogitsOf::kLast,
                                    .logits = logits.data()};
            model.forward({&step, 1}).value();
        };
        for (int i = 0; i < 8; ++i) run(64);  // past top-k: the indexer selects
        run(1);                               // token 512 opens a page
        const size_t before = num_allocations;
        for (int i = 0; i < 120; ++i) run(1);
        EXPECT_EQ(num_allocations - before, 0u) << impl_name(impl);
    }
}

}  // namespace
}  // namespace baleen
