// The lightning indexer of one layer, one thread: preparing a query, scoring keys (64 heads x 128
// dims, Flash and Pro) and choosing the best. Scoring works through pages of 32 keys as the model
// does; its keys are in cache ("warm") or 68 MB of them are read from memory ("cold").
#include <benchmark/benchmark.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/cpu_features.h"
#include "kernels/index_score.h"
#include "kernels/topk.h"
#include "quant/quant.h"
#include "vnni_peak.h"

namespace baleen {
namespace {

constexpr IndexShape kShape = {.format = {.encoding = KvEncoding::kPacked, .dim = 128},
                               .num_heads = 64,
                               .rounding = Rounding::kBf16};
constexpr size_t kPageKeys = 32;
constexpr size_t kWarmKeys = 1024;
constexpr size_t kColdKeys = 1'000'000;

std::vector<float> random_values(size_t n, Rng& rng) {
    std::vector<float> values(n);
    for (float& v : values) v = round_bf16(static_cast<float>(rng.next_double() * 2 - 1));
    return values;
}

// Any bytes are valid codes; scales stay near 1.
class Keys {
  public:
    explicit Keys(size_t count) : count_(count) {
        Rng rng(1);
        values_.resize(count * kShape.format.value_bytes());
        scales_.resize(count * kShape.format.scale_bytes());
        for (uint8_t& byte : values_) byte = static_cast<uint8_t>(rng.next_u64());
        for (uint8_t& code : scales_) code = static_cast<uint8_t>(120 + rng.next_below(8));
    }
    IndexKeyBlock page(size_t idx) const {
        const size_t key = idx * kPageKeys;
        return {.values = values_.data() + key * kShape.format.value_bytes(),
                .scales = scales_.data() + key * kShape.format.scale_bytes(),
                .count = kPageKeys};
    }
    size_t num_pages() const { return count_ / kPageKeys; }

  private:
    size_t count_;
    std::vector<uint8_t> values_;
    std::vector<uint8_t> scales_;
};

void bench_score(benchmark::State& state, Impl impl, size_t num_keys) {
    const Keys keys(num_keys);
    const auto num_queries = static_cast<size_t>(state.range(0));
    Rng rng(2);
    std::vector<IndexQuery> queries(num_queries);
    std::vector<std::vector<float>> scores(num_queries, std::vector<float>(kPageKeys));
    std::vector<float*> pointers;
    for (size_t i = 0; i < num_queries; ++i) {
        prepare_index_query(impl, kShape, random_values(kShape.num_heads * kShape.format.dim, rng),
                            random_values(kShape.num_heads, rng), queries[i]);
        pointers.push_back(scores[i].data());
    }
    size_t page = 0;
    for (auto _ : state) {
        score_index_keys(impl, kShape, queries, keys.page(page), pointers);
        page = (page + 1) % keys.num_pages();
        benchmark::DoNotOptimize(scores[0].data());
        benchmark::ClobberMemory();
    }
    const double scored = static_cast<double>(kPageKeys * num_queries * state.iterations());
    state.counters["s/key/query"] =
        benchmark::Counter(scored, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
    const double products = scored * static_cast<double>(kShape.num_heads * kShape.format.dim);
    state.counters["product/s"] = benchmark::Counter(products, benchmark::Counter::kIsRate);
    if (impl == Impl::kAvx512) {
        static const double peak = measure_vnni_peak();
        state.counters["of_peak"] =
            benchmark::Counter(products / peak, benchmark::Counter::kIsRate);
    }
}

void bench_prepare(benchmark::State& state, Impl impl) {
    Rng rng(3);
    const std::vector<float> q = random_values(kShape.num_heads * kShape.format.dim, rng);
    const std::vector<float> w = random_values(kShape.num_heads, rng);
    IndexQuery query;
    for (auto _ : state) {
        prepare_index_query(impl, kShape, q, w, query);
        benchmark::DoNotOptimize(query.values2.data());
        benchmark::ClobberMemory();
    }
}

enum class Order { kRandom, kAscending, kMostlyZero };

std::vector<float> scores_in_order(size_t n, Order order) {
    Rng rng(4);
    std::vector<float> scores = random_values(n, rng);
    for (float& score : scores) score = round_bf16(score * score * score);
    if (order == Order::kAscending) std::sort(scores.begin(), scores.end());
    if (order == Order::kMostlyZero)
        for (float& score : scores) score = rng.next_below(1000) == 0 ? score : 0.0f;
    return scores;
}

void bench_topk(benchmark::State& state, Order order) {
    const std::vector<float> scores = scores_in_order(static_cast<size_t>(state.range(0)), order);
    TopkScratch scratch;
    std::vector<int32_t> out;
    for (auto _ : state) {
        select_topk(scores, static_cast<size_t>(state.range(1)), scratch, out);
        benchmark::DoNotOptimize(out.data());
        benchmark::ClobberMemory();
    }
}

void register_all() {
    for (Impl impl : available_impls()) {
        const std::string name(impl_name(impl));
        for (const bool is_cold : {false, true}) {
            if (is_cold && impl == Impl::kRef) continue;
            auto* bench = benchmark::RegisterBenchmark(
                ("score/" + name + (is_cold ? "/cold" : "/warm")).c_str(),
                [=](benchmark::State& state) {
                    bench_score(state, impl, is_cold ? kColdKeys : kWarmKeys);
                });
            bench->ArgName("queries");
            for (int64_t queries : {1, 4, 8}) bench->Arg(queries);
        }
        benchmark::RegisterBenchmark(("prepare/" + name).c_str(),
                                     [=](benchmark::State& state) { bench_prepare(state, impl); });
    }
    for (const auto& [name, order] :
         std::vector<std::pair<const char*, Order>>{{"topk/random", Order::kRandom},
                                                    {"topk/ascending", Order::kAscending},
                                                    {"topk/mostly_zero", Order::kMostlyZero}}) {
        auto* bench = benchmark::RegisterBenchmark(
            name, [order = order](benchmark::State& state) { bench_topk(state, order); });
        bench->ArgNames({"n", "k"});
        for (int64_t n : {16384, 262144})
            for (int64_t k : {512, 1024}) bench->Args({n, k});
    }
}

}  // namespace
}  // namespace baleen

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    baleen::register_all();
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
