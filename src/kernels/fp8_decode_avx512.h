// e4m3 codes to bf16, 64 at a time, with the power-of-two block scale folded in: 1 quadword
// permute, 2 two-register byte lookups (high and low byte of the bf16), 1 sign merge, 2 unpacks.
// Private to the *_avx512.cc files.
#pragma once

#include <immintrin.h>

#include "kernels/decode_tables.h"

namespace baleen {

// Columns 0..31 and 32..63 of a group of 64, bf16 in natural order.
struct Bf16Columns {
    __m512i first;
    __m512i second;
};

// One table in registers.
struct Fp8Lookup {
    __m512i high0, high1, low0, low1;

    __attribute__((always_inline)) explicit Fp8Lookup(const Fp8ToBf16Table& table)
        : high0(_mm512_load_si512(table.high.data())),
          high1(_mm512_load_si512(table.high.data() + 64)),
          low0(_mm512_load_si512(table.low.data())),
          low1(_mm512_load_si512(table.low.data() + 64)) {}

    __attribute__((always_inline)) Bf16Columns decode(__m512i codes) const {
        // Unpacking works within 128-bit lanes: put the eight columns of each half lane there
        // first.
        const __m512i order = _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0);
        codes = _mm512_permutexvar_epi64(order, codes);
        const __m512i low = _mm512_permutex2var_epi8(low0, codes, low1);
        __m512i high = _mm512_permutex2var_epi8(high0, codes, high1);
        const __m512i sign_bit = _mm512_set1_epi8(static_cast<char>(0x80));
        high = _mm512_ternarylogic_epi32(high, codes, sign_bit, 0xF8);  // high | (codes & sign_bit)
        return {_mm512_unpacklo_epi8(low, high), _mm512_unpackhi_epi8(low, high)};
    }
};

}  // namespace baleen
