#include "quant/kv_row.h"

#include <cstring>

#include "base/check.h"
#include "quant/quant.h"

namespace baleen {

void KvRowFormat::encode(std::span<const float> row, uint8_t* out) const {
    CHECK_EQ(row.size(), dim());
    if (encoding == KvEncoding::kF32) {
        std::memcpy(out, row.data(), dim() * 4);
        return;
    }
    fp8_encode(row.first(nope_dim), kFp8KvBlock, {out, nope_dim},
               {out + scales_offset(), num_scales()});
    for (size_t i = 0; i < rope_dim; ++i) {
        const Bf16 value = bf16_from_f32(row[nope_dim + i]);
        std::memcpy(out + nope_dim + 2 * i, &value, 2);
    }
    const size_t used = scales_offset() + num_scales();
    std::memset(out + used, 0, row_bytes() - used);
}

void KvRowFormat::decode(const uint8_t* in, std::span<float> row) const {
    CHECK_EQ(row.size(), dim());
    if (encoding == KvEncoding::kF32) {
        std::memcpy(row.data(), in, dim() * 4);
        return;
    }
    fp8_decode({in, nope_dim}, kFp8KvBlock, {in + scales_offset(), num_scales()},
               row.first(nope_dim));
    for (size_t i = 0; i < rope_dim; ++i) {
        Bf16 value;
        std::memcpy(&value, in + nope_dim + 2 * i, 2);
        row[nope_dim + i] = f32_from_bf16(value);
    }
}

void IndexKeyFormat::encode(std::span<const float> key, uint8_t* values, uint8_t* scales) const {
    CHECK_EQ(key.size(), dim);
    if (encoding == KvEncoding::kF32)
        std::memcpy(values, key.data(), dim * 4);
    else
        fp4_encode(key, {values, dim / 2}, {scales, dim / 32});
}

}  // namespace baleen
