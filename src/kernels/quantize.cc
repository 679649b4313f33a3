#include "kernels/quantize.h"

#include <cstring>

#include "base/check.h"
#include "kernels/quantize_simd.h"

namespace baleen {

void quantize_fp8(Impl impl, std::span<float> x) {
    if (impl == Impl::kRef)
        fp8_roundtrip(x, kFp8ActivationBlock);
    else
        quantize_fp8_simd(x, x);
}

void quantize_fp8_to_bf16(Impl impl, std::span<const float> x, std::span<Bf16> out) {
    CHECK_EQ(x.size(), out.size());
    CHECK(impl != Impl::kRef);  // the reference keeps activations in f32
    quantize_fp8_to_bf16_simd(x, out);
}

void round_to_bf16(Impl impl, std::span<const float> x, std::span<Bf16> out) {
    CHECK_EQ(x.size(), out.size());
    CHECK(impl != Impl::kRef);
    round_to_bf16_simd(x, out);
}

void decode_weight_row(const WeightMatrix& w, size_t r, std::span<float> out) {
    CHECK_LT(r, w.rows);
    CHECK_EQ(out.size(), w.cols);
    const uint8_t* row = w.row(r);
    switch (w.format) {
        case WeightFormat::kF32: std::memcpy(out.data(), row, w.cols * 4); break;
        case WeightFormat::kBF16:
            for (size_t i = 0; i < w.cols; ++i) {
                Bf16 value;
                std::memcpy(&value, row + 2 * i, 2);
                out[i] = f32_from_bf16(value);
            }
            break;
        case WeightFormat::kFp8:
            fp8_decode({row, w.cols}, kFp8WeightBlock, {w.scale_row(r), w.scale_row_bytes()}, out);
            break;
        case WeightFormat::kFp4:
            fp4_decode({row, w.cols / 2}, {w.scale_row(r), w.scale_row_bytes()}, out);
            break;
    }
}

}  // namespace baleen
