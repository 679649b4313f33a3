// What this machine can do at most: bytes read per second from memory and bf16 dot-product FLOPs
// per second, by one thread and by all of a pool. `baleen bench` prints its rates as fractions of
// these. Takes about a second and buffer_bytes of memory; run it on an idle machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "base/thread_pool.h"

namespace baleen {

struct MachineProbe {
    std::string cpu_model;  // of /proc/cpuinfo, "unknown" without one
    size_t num_threads = 0;
    // Best of several passes over a buffer that no cache holds; 1 GB/s = 1e9.
    double read_bytes_per_s_one_thread = 0;
    double read_bytes_per_s = 0;
    // 2 per multiply-add, operands in registers, best of several runs. bf16 operands where the CPU
    // multiplies them (dot_instruction says), else f32, which is what bf16 is widened to.
    std::string dot_instruction;
    double dot_flops_per_s_one_thread = 0;
    double dot_flops_per_s = 0;
};

// Large enough for any L3 of today, several times over for most.
inline constexpr size_t kProbeBufferBytes = size_t{512} << 20;

// kExhausted when the buffer cannot be had. REQUIRES: buffer_bytes >= 64 MiB.
Result<MachineProbe> probe_machine(ThreadPool& pool, size_t buffer_bytes = kProbeBufferBytes);

// ---- the loops that are timed, here for their test ---------------------------------------------

struct DotLoop {
    const char* instruction;
    int64_t flops_per_iteration;
    // Multiplies operand by operand and accumulates in independent sums, `iterations` times over;
    // returns the sum of all of them: with operand 1, the multiply-adds done (exact below 2^22
    // iterations).
    double (*run)(float operand, int64_t iterations);
};

// The fastest loop that this CPU executes.
DotLoop best_dot_loop();
// f32 fused multiply-add through Highway, on every CPU.
DotLoop f32_dot_loop();
// vdpbf16ps. REQUIRES: cpu_has_avx512_bf16_vnni_vbmi() before run is called.
DotLoop avx512_bf16_dot_loop();

// The exclusive or of all words: touches every byte once, four streams side by side.
uint64_t xor_words(std::span<const uint64_t> words);

}  // namespace baleen
