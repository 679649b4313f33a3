#include "kernels/impl.h"

#include "kernels/cpu_features.h"

namespace baleen {

std::vector<Impl> available_impls() {
    std::vector<Impl> impls = {Impl::kRef, Impl::kSimd};
    if (cpu_has_avx512_bf16_vnni_vbmi()) impls.push_back(Impl::kAvx512);
    return impls;
}

Impl best_impl() {
    return available_impls().back();
}

}  // namespace baleen
