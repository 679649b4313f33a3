// What this processor can execute, asked once of CPUID and of the operating system (XGETBV). The
// *_avx512.cc files are entered only after this check; everything else dispatches through Highway.
#pragma once

namespace baleen {

// True when every instruction set that *_avx512.cc is compiled for is there and the operating
// system saves the 512-bit registers: AVX-512 F, BW, VL, DQ, VBMI, BF16, VNNI, and FMA. Any thread.
bool cpu_has_avx512_bf16_vnni_vbmi();

}  // namespace baleen
