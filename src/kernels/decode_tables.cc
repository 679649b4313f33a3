#include "kernels/decode_tables.h"

namespace baleen {
namespace {

// Tables live as long as the program.
template <typename Table, typename Fill>
const std::array<Table, 256>& make_tables(const Fill& fill) {
    auto* tables = new std::array<Table, 256>;
    for (size_t scale = 0; scale < 256; ++scale)
        fill((*tables)[scale], f32_from_ue8m0(static_cast<uint8_t>(scale)));
    return *tables;
}

}  // namespace

const std::array<Fp8ToBf16Table, 256>& fp8_to_bf16_tables() {
    static const auto& tables = make_tables<Fp8ToBf16Table>([](Fp8ToBf16Table& t, float factor) {
        for (size_t code = 0; code < 128; ++code) {
            const Bf16 bits = bf16_from_f32(f32_from_e4m3(static_cast<uint8_t>(code)) * factor);
            t.high[code] = static_cast<uint8_t>(bits >> 8);
            t.low[code] = static_cast<uint8_t>(bits & 0xFF);
        }
    });
    return tables;
}

const std::array<Fp4ToBf16Table, 256>& fp4_to_bf16_tables() {
    static const auto& tables = make_tables<Fp4ToBf16Table>([](Fp4ToBf16Table& t, float factor) {
        for (size_t code = 0; code < 32; ++code)
            t.values[code] = bf16_from_f32(kE2m1Values[code % 16] * factor);
    });
    return tables;
}

}  // namespace baleen
