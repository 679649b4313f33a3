// bf16 values of every e4m3 and e2m1 code under every ue8m0 scale, arranged for the AVX-512 byte
// and word lookups. Plain code, so that nothing the linker may share is compiled for AVX-512.
// Private to this folder. Built on first use; any thread.
#pragma once

#include <array>
#include <cstdint>

#include "quant/quant.h"

namespace baleen {

// |code| * 2^(scale - 127), split into bytes. Exact wherever the product is a normal bf16; NaN,
// overflow and subnormals are as the scalar decode and bf16_from_f32 give them.
struct alignas(64) Fp8ToBf16Table {
    std::array<uint8_t, 128> high;
    std::array<uint8_t, 128> low;
};

// code * 2^(scale - 127), twice: bit 4 of an index is noise.
struct alignas(64) Fp4ToBf16Table {
    std::array<Bf16, 32> values;
};

// By scale byte: 64 KB and 16 KB, of which a call touches one entry per scale it meets.
const std::array<Fp8ToBf16Table, 256>& fp8_to_bf16_tables();
const std::array<Fp4ToBf16Table, 256>& fp4_to_bf16_tables();

}  // namespace baleen
