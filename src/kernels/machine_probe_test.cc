#include "kernels/machine_probe.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/rng.h"
#include "kernels/cpu_features.h"

namespace baleen {
namespace {

std::vector<DotLoop> runnable_loops() {
    std::vector<DotLoop> loops = {f32_dot_loop()};
    if (cpu_has_avx512_bf16_vnni_vbmi()) loops.push_back(avx512_bf16_dot_loop());
    return loops;
}

// The FLOPs claimed are the FLOPs done: with operand 1 the sums count the multiply-adds.
TEST(MachineProbe, DotLoopsDoTheWorkTheyClaim) {
    for (const DotLoop& loop : runnable_loops())
        for (int64_t iterations : {int64_t{0}, int64_t{1}, int64_t{1000}, int64_t{1} << 20})
            EXPECT_EQ(2 * loop.run(1.0f, iterations),
                      static_cast<double>(iterations * loop.flops_per_iteration))
                << loop.instruction;
}

TEST(MachineProbe, XorReadsEveryWordOnce) {
    Rng rng(1);
    std::vector<uint64_t> words(4200);
    for (uint64_t& word : words) word = rng.next_u64();
    for (size_t count = 0; count < words.size(); count = count < 140 ? count + 1 : count * 2) {
        uint64_t expected = 0;
        for (size_t i = 0; i < count; ++i) expected ^= words[i];
        EXPECT_EQ(xor_words(std::span(words).first(count)), expected) << count;
    }
}

// Wide bounds: no machine that runs this is outside, and a wrong unit or a loop that the compiler
// removed is.
TEST(MachineProbe, FiguresArePlausible) {
    ThreadPool pool(2);
    const MachineProbe probe = probe_machine(pool, size_t{64} << 20).value();
    EXPECT_FALSE(probe.cpu_model.empty());
    EXPECT_EQ(probe.num_threads, 2u);
    EXPECT_EQ(probe.dot_instruction, best_dot_loop().instruction);
    for (double bytes_per_s : {probe.read_bytes_per_s_one_thread, probe.read_bytes_per_s}) {
        EXPECT_GT(bytes_per_s, 1e7);
        EXPECT_LT(bytes_per_s, 1e14);
    }
    for (double flops_per_s : {probe.dot_flops_per_s_one_thread, probe.dot_flops_per_s}) {
        EXPECT_GT(flops_per_s, 1e7);
        EXPECT_LT(flops_per_s, 1e13);
    }
}

}  // namespace
}  // namespace baleen
