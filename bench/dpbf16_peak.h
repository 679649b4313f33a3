// The ceiling of every bf16 kernel on this processor.
#pragma once

namespace baleen {

// FLOP/s of one thread that does nothing but independent vdpbf16ps (64 FLOP each), best of several
// runs of a few milliseconds. REQUIRES: cpu_has_avx512_bf16_vnni_vbmi().
double measure_dpbf16_peak();

}  // namespace baleen
