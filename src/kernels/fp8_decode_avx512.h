// e4m3 codes with a ue8m0 scale to bf16, 64 at a time, for the *_avx512.cc files only.
//
// Every code under every scale is in a table (64 KB, of which a call touches 256 B per scale it
// meets), split into high and low bytes so that VBMI byte lookups fetch 64 at once: 1 quadword
// permute, 2 two-register lookups, 1 sign merge, 2 unpacks.
#pragma once

#include <immintrin.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "quant/quant.h"

namespace baleen {

// bf16 of |code| * 2^(scale - 127). Exact wherever the product is a normal bf16; NaN, overflow and
// subnormals are as the scalar decode and bf16_from_f32 give them.
struct alignas(64) Fp8ToBf16Table {
    std::array<uint8_t, 128> high;
    std::array<uint8_t, 128> low;
};

// By scale byte. Built on first use.
inline const std::array<Fp8ToBf16Table, 256>& fp8_to_bf16_tables() {
    static const std::array<Fp8ToBf16Table, 256>& tables = *[] {
        auto* all = new std::array<Fp8ToBf16Table, 256>;  // lives as long as the program
        for (size_t scale = 0; scale < 256; ++scale) {
            const float factor = f32_from_ue8m0(static_cast<uint8_t>(scale));
            for (size_t code = 0; code < 128; ++code) {
                const float value = f32_from_e4m3(static_cast<uint8_t>(code)) * factor;
                const Bf16 bits = bf16_from_f32(value);
                (*all)[scale].high[code] = static_cast<uint8_t>(bits >> 8);
                (*all)[scale].low[code] = static_cast<uint8_t>(bits & 0xFF);
            }
        }
        return all;
    }();
    return tables;
}

// Columns 0..31 and 32..63 of a group of 64, bf16 in natural order.
struct Bf16Columns {
    __m512i first;
    __m512i second;
};

inline Bf16Columns decode_fp8(const uint8_t* codes_64, const Fp8ToBf16Table& table) {
    // Unpacking works within 128-bit lanes: put the eight columns of each half lane there first.
    const __m512i order = _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0);
    const __m512i codes = _mm512_permutexvar_epi64(order, _mm512_loadu_si512(codes_64));
    const __m512i low = _mm512_permutex2var_epi8(_mm512_load_si512(table.low.data()), codes,
                                                 _mm512_load_si512(table.low.data() + 64));
    __m512i high = _mm512_permutex2var_epi8(_mm512_load_si512(table.high.data()), codes,
                                            _mm512_load_si512(table.high.data() + 64));
    const __m512i sign_bit = _mm512_set1_epi8(static_cast<char>(0x80));
    high = _mm512_ternarylogic_epi32(high, codes, sign_bit, 0xF8);  // high | (codes & sign_bit)
    return {_mm512_unpacklo_epi8(low, high), _mm512_unpackhi_epi8(low, high)};
}

}  // namespace baleen
