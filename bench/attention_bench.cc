// One decode token's core attention in one layer, one thread: 64 heads x 512 dimensions (Flash).
// 4 FLOP per head, dimension and row (two products); softmax and decoding are not counted.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/attention.h"
#include "kernels/machine_probe.h"
#include "quant/quant.h"

namespace baleen {
namespace {

constexpr KvRowFormat kFormat = {.nope_dim = 448, .rope_dim = 64};
constexpr size_t kColdRows = 400'000;  // 234 MB, beyond any cache

// Where the rows of one call lie: in L2/L3 since the last call, or spread over memory.
enum class Placement { kWarm, kCold };

class Pool {
  public:
    explicit Pool(size_t num_rows) : bytes_(num_rows * kFormat.row_bytes()) {
        Rng rng(1);
        std::vector<float> row(kFormat.dim());
        for (float& value : row) value = static_cast<float>(rng.next_double() - 0.5);
        for (size_t i = 0; i < num_rows; ++i) {
            row[i % row.size()] = static_cast<float>(rng.next_double() - 0.5);
            kFormat.encode(row, bytes_.data() + i * kFormat.row_bytes());
        }
        num_rows_ = num_rows;
    }
    std::vector<const uint8_t*> pick(size_t n, Rng& rng) const {
        std::vector<const uint8_t*> rows;
        for (size_t i = 0; i < n; ++i)
            rows.push_back(bytes_.data() + rng.next_below(num_rows_) * kFormat.row_bytes());
        return rows;
    }

  private:
    std::vector<uint8_t> bytes_;
    size_t num_rows_ = 0;
};

const Pool& pool(Placement placement) {
    static const Pool cold(kColdRows);
    static const Pool warm(1024);
    return placement == Placement::kCold ? cold : warm;
}

// FLOP/s of one thread that only multiplies and adds, best of several runs of some milliseconds.
double measure_peak(const DotLoop& loop) {
    constexpr int64_t kIterations = 1'000'000;
    double best = 0;
    for (int run = 0; run < 20; ++run) {
        const auto begin = std::chrono::steady_clock::now();
        benchmark::DoNotOptimize(loop.run(1.0f, kIterations));
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
        best = std::max(
            best, static_cast<double>(loop.flops_per_iteration * kIterations) / seconds.count());
    }
    return best;
}

// Of the instructions that the implementation is made of: vdpbf16ps, or f32 multiply-adds.
double peak(Impl impl) {
    static const double f32 = measure_peak(f32_dot_loop());
    if (impl != Impl::kAvx512) return f32;
    static const double bf16 = measure_peak(avx512_bf16_dot_loop());
    return bf16;
}

void bench_attend(benchmark::State& state, Impl impl, Placement placement) {
    const auto num_heads = static_cast<size_t>(state.range(0));
    const auto num_rows = static_cast<size_t>(state.range(1));
    Rng rng(2);
    std::vector<std::vector<const uint8_t*>> picks;
    for (size_t i = 0; i < (placement == Placement::kCold ? 256 : 1); ++i)
        picks.push_back(pool(placement).pick(num_rows, rng));
    std::vector<float> q(num_heads * kFormat.dim());
    for (float& value : q) value = round_bf16(static_cast<float>(rng.next_double() * 2 - 1));
    const std::vector<float> sink(num_heads, 0.5f);
    std::vector<float> out(q.size());
    AttentionScratch scratch;
    size_t call = 0;
    for (auto _ : state) {
        attend(impl,
               {.format = kFormat,
                .rows = picks[call++ % picks.size()],
                .num_heads = num_heads,
                .q = q.data(),
                .sink = sink.data(),
                .scale = 1.0f / std::sqrt(512.0f),
                .out = out.data()},
               scratch);
        benchmark::DoNotOptimize(out.data());
    }
    const double flops =
        4.0 * static_cast<double>(num_heads * kFormat.dim() * num_rows * state.iterations());
    state.counters["GFLOP/s"] = benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsRate);
    state.counters["of_peak"] = benchmark::Counter(flops / peak(impl), benchmark::Counter::kIsRate);
}

void register_all() {
    for (Impl impl : available_impls()) {
        for (Placement placement : {Placement::kWarm, Placement::kCold}) {
            if (impl == Impl::kRef && placement == Placement::kCold) continue;
            const std::string name = "attend/" + std::string(impl_name(impl)) +
                                     (placement == Placement::kCold ? "/cold" : "/warm");
            auto* bench = benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
                bench_attend(state, impl, placement);
            });
            bench->ArgNames({"heads", "rows"})->Unit(benchmark::kMicrosecond);
            for (int64_t rows : {128, 640, 8320}) bench->Args({64, rows});
            for (int64_t heads : {8, 16, 32}) bench->Args({heads, 640});
        }
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
