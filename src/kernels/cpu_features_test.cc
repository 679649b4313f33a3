#include "kernels/cpu_features.h"

#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <sstream>
#include <string>

namespace baleen {
namespace {

// The kernel lists a flag only when the CPU has it and its registers are saved: an independent
// reading of the same two facts.
bool kernel_lists_every_flag() {
    std::ifstream file("/proc/cpuinfo");
    std::string line;
    while (std::getline(file, line) && !line.starts_with("flags")) {
    }
    std::istringstream words(line);
    constexpr std::array kNeeded = {"avx512f",    "avx512bw",    "avx512vl",    "avx512dq",
                                    "avx512vbmi", "avx512_bf16", "avx512_vnni", "fma"};
    size_t found = 0;
    for (std::string word; words >> word;)
        for (const char* needed : kNeeded) found += word == needed ? 1u : 0u;
    return found == kNeeded.size();
}

TEST(CpuFeatures, AgreesWithTheKernel) {
    EXPECT_EQ(cpu_has_avx512_bf16_vnni_vbmi(), kernel_lists_every_flag());
}

}  // namespace
}  // namespace baleen
