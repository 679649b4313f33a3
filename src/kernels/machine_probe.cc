#include "kernels/machine_probe.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "kernels/cpu_features.h"

namespace baleen {
namespace {

constexpr size_t kChunkBytes = size_t{4} << 20;  // one item of a parallel pass
constexpr int kPasses = 5;
constexpr double kCalibrationSeconds = 0.01;

double seconds_of(const std::function<void()>& work) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double best_seconds_of(const std::function<void()>& work) {
    double best = seconds_of(work);
    for (int pass = 1; pass < kPasses; ++pass) best = std::min(best, seconds_of(work));
    return best;
}

// Anonymous memory in huge pages where the system gives them, so that page walks cost nothing.
class HugeBuffer {
  public:
    static Result<HugeBuffer> create(size_t bytes) {
        void* address =
            mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (address == MAP_FAILED)
            return make_error(ErrorCode::kExhausted,
                              "cannot map {} bytes to measure memory bandwidth: {}", bytes,
                              std::strerror(errno));
        madvise(address, bytes, MADV_HUGEPAGE);  // advice: refusal costs speed only
        return HugeBuffer(static_cast<uint8_t*>(address), bytes);
    }
    HugeBuffer(HugeBuffer&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
    HugeBuffer& operator=(HugeBuffer&&) = delete;
    ~HugeBuffer() {
        if (data_ != nullptr) munmap(data_, bytes_);
    }

    size_t num_chunks() const { return bytes_ / kChunkBytes; }
    std::span<uint8_t> chunk(size_t idx) { return {data_ + idx * kChunkBytes, kChunkBytes}; }
    uint64_t read_chunk(size_t idx) const {
        return xor_words({reinterpret_cast<const uint64_t*>(data_ + idx * kChunkBytes),
                          kChunkBytes / sizeof(uint64_t)});
    }

  private:
    HugeBuffer(uint8_t* data, size_t bytes) : data_(data), bytes_(bytes) {}
    uint8_t* data_;
    size_t bytes_;
};

Result<void> measure_reads(ThreadPool& pool, size_t buffer_bytes, MachineProbe& probe) {
    HugeBuffer buffer = TRY(HugeBuffer::create(buffer_bytes));
    // Untouched pages all are the one zero page, which sits in cache; and memory belongs to the
    // NUMA node of the thread that touches it first.
    pool.parallel_for(buffer.num_chunks(), [&](size_t idx, size_t) {
        std::memset(buffer.chunk(idx).data(), static_cast<int>(idx % 251 + 1), kChunkBytes);
    });
    const double bytes = static_cast<double>(buffer.num_chunks() * kChunkBytes);
    probe.read_bytes_per_s_one_thread = bytes / best_seconds_of([&] {
                                            for (size_t idx = 0; idx < buffer.num_chunks(); ++idx)
                                                buffer.read_chunk(idx);
                                        });
    probe.read_bytes_per_s = bytes / best_seconds_of([&] {
                                 pool.parallel_for(buffer.num_chunks(), [&](size_t idx, size_t) {
                                     buffer.read_chunk(idx);
                                 });
                             });
    return {};
}

void measure_dots(ThreadPool& pool, MachineProbe& probe) {
    const DotLoop loop = best_dot_loop();
    constexpr float kOperand = 0.75f;  // never overflows, never a denormal
    int64_t iterations = 1 << 12;
    while (seconds_of([&] { loop.run(kOperand, iterations); }) < kCalibrationSeconds)
        iterations *= 2;
    const auto flops = [&](int64_t count) {
        return static_cast<double>(count) * static_cast<double>(loop.flops_per_iteration);
    };
    probe.dot_instruction = loop.instruction;
    probe.dot_flops_per_s_one_thread =
        flops(iterations) / best_seconds_of([&] { loop.run(kOperand, iterations); });
    // Eight items per thread: a thread that wakes late costs an eighth, not a half.
    const size_t num_items = 8 * pool.num_threads();
    probe.dot_flops_per_s =
        flops(static_cast<int64_t>(num_items) * (iterations / 4)) / best_seconds_of([&] {
            pool.parallel_for(num_items,
                              [&](size_t, size_t) { loop.run(kOperand, iterations / 4); });
        });
}

std::string cpu_model() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
        const size_t value = line.find(": ");
        if (line.starts_with("model name") && value != std::string::npos)
            return line.substr(value + 2);
    }
    return "unknown";
}

}  // namespace

DotLoop best_dot_loop() {
    return cpu_has_avx512_bf16_vnni_vbmi() ? avx512_bf16_dot_loop() : f32_dot_loop();
}

Result<MachineProbe> probe_machine(ThreadPool& pool, size_t buffer_bytes) {
    CHECK_GE(buffer_bytes, size_t{64} << 20);
    MachineProbe probe;
    probe.cpu_model = cpu_model();
    probe.num_threads = pool.num_threads();
    TRY(measure_reads(pool, buffer_bytes, probe));
    measure_dots(pool, probe);
    return probe;
}

}  // namespace baleen
