// The ceiling of every int8 kernel on this processor.
#pragma once

namespace baleen {

// Multiply-adds a second of one thread that does nothing but independent vpdpbusd on 512-bit
// registers (64 each), best of several runs of a few milliseconds.
// REQUIRES: cpu_has_avx512_bf16_vnni_vbmi().
double measure_vnni_peak();

}  // namespace baleen
