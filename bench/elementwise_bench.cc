// Norms, hyper-connections, SwiGLU and compressor pooling at Flash's widths, one thread. Bytes are
// those of the inputs and outputs, each once: compare with the copy, which is the memory's speed.
// _warm works on one token (in cache), _cold on tokens spread over 256 MB.
#include <benchmark/benchmark.h>

#include <cstring>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/compress.h"
#include "kernels/hyper_connection.h"
#include "kernels/norm.h"
#include "kernels/swiglu.h"

namespace baleen {
namespace {

constexpr size_t kWidth = 4096;  // hidden size
constexpr size_t kStreams = 4;
constexpr size_t kHeadDim = 512;
constexpr size_t kExpertWidth = 2048;
constexpr size_t kWindow = 128;
constexpr float kEps = 1e-6f;

enum class Placement { kWarm, kCold };

// Consecutive rows of random values; the next row is another one until the end, then the first.
class Rows {
  public:
    Rows(Placement placement, size_t width)
        : width_(width),
          count_(placement == Placement::kWarm ? 1 : (size_t{256} << 20) / (4 * width)),
          values_(count_ * width) {
        Rng rng(1);
        for (float& v : values_) v = static_cast<float>(rng.next_double() * 2 - 1);
    }
    std::span<float> next() {
        next_ = (next_ + 1) % count_;
        return {values_.data() + next_ * width_, width_};
    }

  private:
    size_t width_;
    size_t count_;
    size_t next_ = 0;
    std::vector<float> values_;
};

void set_bytes(benchmark::State& state, size_t floats) {
    state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(floats * sizeof(float)));
}

void copy(benchmark::State& state, Impl, Placement placement) {
    Rows in(placement, kStreams * kWidth), out(placement, kStreams * kWidth);
    for (auto _ : state) {
        std::memcpy(out.next().data(), in.next().data(), kStreams * kWidth * sizeof(float));
        benchmark::ClobberMemory();
    }
    set_bytes(state, 2 * kStreams * kWidth);
}

void mean_square_of_streams(benchmark::State& state, Impl impl, Placement placement) {
    Rows streams(placement, kStreams * kWidth);
    for (auto _ : state) benchmark::DoNotOptimize(mean_square(impl, streams.next()));
    set_bytes(state, kStreams * kWidth);
}

void rms_norm_of_hidden(benchmark::State& state, Impl impl, Placement placement) {
    Rows x(placement, kWidth), weight(Placement::kWarm, kWidth), out(Placement::kWarm, kWidth);
    for (auto _ : state) rms_norm(impl, x.next(), weight.next(), kEps, Rounding::kBf16, out.next());
    set_bytes(state, 3 * kWidth);
}

void head_norm_of_query(benchmark::State& state, Impl impl, Placement placement) {
    Rows q(placement, kHeadDim);
    for (auto _ : state) head_norm(impl, q.next(), kEps, Rounding::kBf16);
    set_bytes(state, 2 * kHeadDim);
}

void collapse(benchmark::State& state, Impl impl, Placement placement) {
    Rows streams(placement, kStreams * kWidth), u(Placement::kWarm, kWidth);
    const std::vector<float> pre(kStreams, 0.25f);
    for (auto _ : state) hc_collapse(impl, streams.next(), pre, Rounding::kBf16, u.next());
    set_bytes(state, (kStreams + 1) * kWidth);
}

void update(benchmark::State& state, Impl impl, Placement placement) {
    Rows streams(placement, kStreams * kWidth), y(Placement::kWarm, kWidth);
    const std::vector<float> post(kStreams, 0.5f), comb(kStreams * kStreams, 0.25f);
    for (auto _ : state) hc_update(impl, y.next(), post, comb, Rounding::kBf16, streams.next());
    set_bytes(state, (2 * kStreams + 1) * kWidth);
}

void swiglu_of_expert(benchmark::State& state, Impl impl, Placement placement) {
    Rows gate(placement, kExpertWidth), up(placement, kExpertWidth);
    Rows out(Placement::kWarm, kExpertWidth);
    for (auto _ : state)
        swiglu(impl, gate.next(), up.next(), 10.0f, 0.3f, Rounding::kBf16, out.next());
    set_bytes(state, 3 * kExpertWidth);
}

void compress_hca_window(benchmark::State& state, Impl impl, Placement placement) {
    Rows kv(placement, kWindow * kHeadDim), gate(placement, kWindow * kHeadDim);
    std::vector<float> entry(kHeadDim);
    std::vector<const float*> kv_rows(kWindow), gate_rows(kWindow);
    for (auto _ : state) {
        const float* values = kv.next().data();
        const float* gates = gate.next().data();
        for (size_t j = 0; j < kWindow; ++j) {
            kv_rows[j] = values + j * kHeadDim;
            gate_rows[j] = gates + j * kHeadDim;
        }
        compress_window(impl, kv_rows, gate_rows, entry);
    }
    set_bytes(state, (2 * kWindow + 1) * kHeadDim);
}

using Body = void (*)(benchmark::State&, Impl, Placement);

void add(const std::string& name, Impl impl, Body body) {
    const std::string prefix = name + "/" + std::string(impl_name(impl));
    benchmark::RegisterBenchmark((prefix + "_warm").c_str(), body, impl, Placement::kWarm);
    benchmark::RegisterBenchmark((prefix + "_cold").c_str(), body, impl, Placement::kCold);
}

}  // namespace
}  // namespace baleen

int main(int argc, char** argv) {
    using namespace baleen;
    benchmark::Initialize(&argc, argv);
    add("copy", Impl::kRef, copy);
    for (Impl impl : {Impl::kRef, Impl::kSimd}) {
        add("mean_square", impl, mean_square_of_streams);
        add("rms_norm", impl, rms_norm_of_hidden);
        add("head_norm", impl, head_norm_of_query);
        add("hc_collapse", impl, collapse);
        add("hc_update", impl, update);
        add("swiglu", impl, swiglu_of_expert);
        add("compress_window", impl, compress_hca_window);
    }
    benchmark::RunSpecifiedBenchmarks();
}
