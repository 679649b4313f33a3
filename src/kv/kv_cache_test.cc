#include "kv/kv_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

namespace baleen {
namespace {

// V4-Flash's schedule and widths (spec 1.1, 1.2), MTP stage included.
KvSpec flash_spec(KvEncoding encoding = KvEncoding::kPacked) {
    std::vector<int64_t> ratios = {0, 0};
    for (int i = 0; i < 20; ++i) ratios.insert(ratios.end(), {4, 128});
    ratios.insert(ratios.end(), {4, 0});
    return {.compress_ratios = ratios,
            .sliding_window = 128,
            .row = {.encoding = encoding, .nope_dim = 448, .rope_dim = 64},
            .index_key = {.encoding = encoding, .dim = 128}};
}

KvSpec small_spec() {
    return {.compress_ratios = {0, 4, 128},
            .sliding_window = 128,
            .row = {.nope_dim = 64, .rope_dim = 32},
            .index_key = {.dim = 64}};
}

struct Rig {
    explicit Rig(KvSpec spec, size_t pages_max = 1 << 20)
        : layout(std::make_shared<KvLayout>(std::move(spec))),
          pool(std::make_shared<PagePool>(layout->page_bytes, pages_max)) {}
    KvCache cache() const { return KvCache(layout, pool); }
    std::shared_ptr<const KvLayout> layout;
    std::shared_ptr<PagePool> pool;
};

void extend(KvCache& cache, int64_t tokens) {
    cache.prepare(tokens).value();
    cache.advance(tokens);
}

size_t resident_bytes() {
    std::ifstream statm("/proc/self/statm");
    size_t total = 0, resident = 0;
    statm >> total >> resident;
    return resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

TEST(KvLayout, FlashRowsAndPagesHaveTheSizesOfTheReport) {
    const KvLayout layout(flash_spec());
    EXPECT_EQ(layout.spec.row.row_bytes(), 584u);
    EXPECT_EQ(layout.spec.index_key.key_bytes(), 68u);
    // 21 CSA layers x 32 x (584 + 68) + 20 HCA layers x 584 = 128 tokens x 3514.25 bytes.
    EXPECT_EQ(layout.page_bytes, round_up(449824, 64));
    EXPECT_EQ(layout.ring_bytes, size_t{44} * 128 * 584);
    // f32 state: CSA 48 KiB main and 12 KiB indexer, HCA 512 KiB.
    EXPECT_EQ(layout.state_floats * 4, (21u * 60 + 20u * 512) * 1024);
}

TEST(KvLayout, PartsOfAPageDoNotOverlap) {
    for (const KvSpec& spec : {small_spec(), flash_spec(), flash_spec(KvEncoding::kF32)}) {
        const KvLayout layout(spec);
        std::vector<std::pair<size_t, size_t>> parts;
        for (const LayerKvLayout& layer : layout.layers) {
            if (layer.ratio == 0) continue;
            parts.emplace_back(layer.rows_offset, layer.entries_per_page * spec.row.row_bytes());
            if (layer.ratio != 4) continue;
            parts.emplace_back(layer.key_values_offset,
                               layer.entries_per_page * spec.index_key.value_bytes());
            parts.emplace_back(layer.key_scales_offset,
                               layer.entries_per_page * spec.index_key.scale_bytes());
        }
        std::ranges::sort(parts);
        size_t end = 0;
        for (const auto& [begin, bytes] : parts) {
            EXPECT_GE(begin, end);
            end = begin + bytes;
        }
        EXPECT_LE(end, layout.page_bytes);
    }
}

// The promise of the report, measured: a whole session of 1,048,576 tokens, every byte written.
TEST(KvCache, AMillionTokensOfFlashTakeTheBytesOfTheReport) {
    constexpr int64_t kTokens = 1 << 20;
    const Rig rig(flash_spec());
    const size_t before = resident_bytes();
    KvCache cache = rig.cache();
    cache.fill_synthetic(kTokens, 1).value();
    const double fixed = static_cast<double>(rig.layout->hot_bytes());
    const double expected = 3514.25 * kTokens + fixed;
    EXPECT_NEAR(static_cast<double>(cache.bytes()), expected, 0.03 * expected);
    const double resident = static_cast<double>(resident_bytes() - before);
    EXPECT_NEAR(resident, expected, 0.03 * expected);
    EXPECT_EQ(cache.bytes(), rig.layout->session_bytes(kTokens));
}

TEST(KvCache, CopiesShareUntilOneIsExtended) {
    const Rig rig(small_spec());
    KvCache parent = rig.cache();
    extend(parent, 300);
    std::memset(parent.row(1, 70), 7, rig.layout->spec.row.row_bytes());
    EXPECT_EQ(rig.pool->pages_in_use(), 3u);
    KvCache child = parent;
    EXPECT_EQ(rig.pool->pages_in_use(), 3u);
    extend(child, 1);  // token 300 lies in the third page
    EXPECT_EQ(rig.pool->pages_in_use(), 4u);
    EXPECT_NE(child.row(1, 70), parent.row(1, 70));
    EXPECT_EQ(*child.row(1, 70), 7);
    EXPECT_EQ(child.row(1, 0), parent.row(1, 0));  // full pages stay shared
    std::memset(child.row(1, 71), 9, rig.layout->spec.row.row_bytes());
    std::memset(child.ring_row(0, 5), 9, rig.layout->spec.row.row_bytes());
    EXPECT_NE(*parent.row(1, 71), 9);
    EXPECT_NE(*parent.ring_row(0, 5), 9);
}

TEST(KvCache, AFullPoolLeavesTheCacheAsItWas) {
    const Rig rig(small_spec(), 3);
    KvCache cache = rig.cache();
    extend(cache, 200);
    const Result<void> result = cache.prepare(300);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kExhausted);
    EXPECT_EQ(rig.pool->pages_in_use(), 2u);
    EXPECT_EQ(cache.length(), 200);
    KvCache copy = cache;
    extend(cache, 1);  // a copy of the shared tail page is the third
    EXPECT_FALSE(copy.prepare(100));
    EXPECT_EQ(rig.pool->pages_in_use(), 3u);
}

TEST(KvCache, ReplayKeepsEntriesAndForgetsThePartialBlocks) {
    const Rig rig(small_spec());
    KvCache cache = rig.cache();
    extend(cache, 500);
    std::memset(cache.row(1, 40), 3, rig.layout->spec.row.row_bytes());
    cache.begin_replay(128, 260);
    EXPECT_EQ(cache.length(), 128);
    EXPECT_TRUE(cache.is_frozen(260));
    EXPECT_FALSE(cache.is_frozen(264));
    EXPECT_EQ(*cache.row(1, 40), 3);
    EXPECT_EQ(rig.pool->pages_in_use(), 3u);
    const CompressorLayout& hca = rig.layout->layers[2].compressor;
    EXPECT_EQ(*cache.state_at(hca.current_gate), -std::numeric_limits<float>::infinity());
}

TEST(PagePool, PagesAreReusedAndCounted) {
    PagePool pool(1 << 20, 40);
    std::vector<PageRef> pages;
    for (int i = 0; i < 40; ++i) pages.push_back(pool.allocate().value());
    EXPECT_FALSE(pool.allocate());
    for (size_t i = 0; i < pages.size(); ++i)  // distinct memory
        std::memset(pages[i].data(), static_cast<int>(i), pool.page_bytes());
    for (size_t i = 0; i < pages.size(); ++i) {
        EXPECT_EQ(pages[i].data()[0], i);
        EXPECT_EQ(pages[i].data()[pool.page_bytes() - 1], i);
    }
    PageRef shared = pages[3];
    EXPECT_TRUE(shared.is_shared());
    pages.clear();
    EXPECT_FALSE(shared.is_shared());
    EXPECT_EQ(pool.pages_in_use(), 1u);
    EXPECT_EQ(shared.data()[9], 3);
}

}  // namespace
}  // namespace baleen
