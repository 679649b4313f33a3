#include "model/synth_fill.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/rng.h"
#include "quant/quant.h"

namespace baleen {
namespace {

// Standard deviation of the e4m3 codes: the largest of 256 quantiles, 2.9 times this, stays under
// the format's 448 while few fall among its subnormals.
constexpr double kE4m3Std = 112;
// Uniform nibbles: the root mean square of 0, 0.5, 1, 1.5, 2, 3, 4, 6. As it happens these are
// close to evenly spaced quantiles of a normal distribution with this deviation.
constexpr double kE2m1Std = 2.9262;

// Inverse of the normal distribution function by bisection on its tail integral (erfc): slow,
// plain, and only run 65536 times.
double normal_quantile(double p) {
    double low = -6;
    double high = 6;
    for (int i = 0; i < 40; ++i) {
        const double middle = (low + high) / 2;
        (0.5 * std::erfc(-middle / std::sqrt(2.0)) < p ? low : high) = middle;
    }
    return (low + high) / 2;
}

// Word number idx of the stream that starts at seed: SplitMix64, entered anywhere.
uint64_t word_at(uint64_t seed, uint64_t idx) {
    uint64_t state = seed + idx * 0x9E3779B97F4A7C15u;
    return split_mix64(state);
}

uint64_t seed_of(uint64_t seed, std::string_view name) {
    uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a
    for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3u;
    uint64_t state = split_mix64(seed) ^ hash;
    return split_mix64(state);
}

// Calls make(word, bytes) with kBytes places for every word of the range; the last may be cut
// short.
template <size_t kBytes, typename Make>
void fill_words(uint64_t seed, uint64_t offset, std::span<uint8_t> out, const Make& make) {
    const uint64_t first = offset / kBytes;
    const size_t num_whole = out.size() / kBytes;
    for (size_t i = 0; i < num_whole; ++i) make(word_at(seed, first + i), out.data() + i * kBytes);
    if (const size_t rest = out.size() % kBytes; rest != 0) {
        std::array<uint8_t, kBytes> last;
        make(word_at(seed, first + num_whole), last.data());
        std::memcpy(out.data() + num_whole * kBytes, last.data(), rest);
    }
}

// The power of two nearest to 1 / (sqrt(fan_in) * code_std): keeps a linear's outputs at the size
// of its inputs.
int scale_exponent(uint64_t fan_in, double code_std) {
    return static_cast<int>(
        std::lround(-0.5 * std::log2(static_cast<double>(fan_in)) - std::log2(code_std)));
}

struct Distribution {
    float mean;
    float std;
};

Distribution float_distribution(const TensorSpec& spec) {
    switch (spec.role) {
        case TensorRole::kNorm: return {1.0f, 0.1f};
        case TensorRole::kRouterBias: return {0.0f, 0.05f};
        case TensorRole::kAttnSink: return {0.0f, 0.5f};
        case TensorRole::kPositionBias: return {0.0f, 0.5f};
        case TensorRole::kHcFn: return {0.0f, std::ldexp(1.0f, scale_exponent(spec.fan_in, 1))};
        case TensorRole::kHcBase: return {0.0f, 0.5f};
        case TensorRole::kHcScale: return {0.8f, 0.1f};
        default: break;
    }
    check_failed(__FILE__, __LINE__, "a small float tensor", std::string(spec.name));
}

}  // namespace

TensorFiller::TensorFiller(const Config& config)
    : num_experts_(static_cast<uint64_t>(config.n_routed_experts)),
      num_experts_per_tok_(static_cast<size_t>(config.num_experts_per_tok)),
      normal_(65536),
      normal_bf16_(65536) {
    for (size_t i = 0; i < normal_.size(); ++i) {
        normal_[i] = static_cast<float>(normal_quantile((static_cast<double>(i) + 0.5) / 65536));
        normal_bf16_[i] = bf16_from_f32(normal_[i]);
    }
    for (size_t i = 0; i < normal_e4m3_.size(); ++i)
        normal_e4m3_[i] = e4m3_from_f32(
            static_cast<float>(kE4m3Std * normal_quantile((static_cast<double>(i) + 0.5) / 256)));
}

void TensorFiller::fill(const TensorSpec& spec, uint64_t seed, uint64_t offset,
                        std::span<uint8_t> out) const {
    CHECK_EQ(offset % kFillAlignment, 0u);
    CHECK_LE(offset + out.size(), spec.bytes());
    const uint64_t own_seed = seed_of(seed, spec.name);
    if (spec.role == TensorRole::kHashTable) return fill_hash_table(own_seed, offset, out);
    if (spec.dtype == DType::kI8)
        return fill_words<8>(own_seed, offset, out,
                             [](uint64_t word, uint8_t* at) { std::memcpy(at, &word, 8); });
    if (spec.dtype == DType::kF8E4M3)
        return fill_words<8>(own_seed, offset, out, [&](uint64_t word, uint8_t* at) {
            for (int i = 0; i < 8; ++i) at[i] = normal_e4m3_[(word >> (8 * i)) & 255];
        });
    if (spec.role == TensorRole::kBlockScale) {
        // Every fourth scale or so is half the others: neighbouring blocks differ, as real ones do.
        const int exponent = scale_exponent(spec.fan_in, spec.scales_fp4 ? kE2m1Std : kE4m3Std);
        const auto code = static_cast<uint8_t>(kUe8m0Bias + exponent);
        return fill_words<8>(own_seed, offset, out, [code](uint64_t word, uint8_t* at) {
            for (int i = 0; i < 8; ++i)
                at[i] = static_cast<uint8_t>(code - (((word >> (8 * i)) & 3) == 0));
        });
    }
    if (spec.role == TensorRole::kLinear || spec.role == TensorRole::kEmbedding) {
        CHECK(spec.dtype == DType::kBF16);
        const int exponent =
            spec.role == TensorRole::kEmbedding ? 0 : scale_exponent(spec.fan_in, 1);
        // Adding to the exponent field multiplies by a power of two; the smallest quantile is
        // 2^-16, far from the subnormals.
        const auto shift = static_cast<uint16_t>(exponent * 128);
        return fill_words<8>(own_seed, offset, out, [&](uint64_t word, uint8_t* at) {
            for (int i = 0; i < 4; ++i) {
                const auto code =
                    static_cast<uint16_t>(normal_bf16_[(word >> (16 * i)) & 65535] + shift);
                std::memcpy(at + 2 * i, &code, 2);
            }
        });
    }
    fill_floats(spec, own_seed, offset, out);
}

void TensorFiller::fill_floats(const TensorSpec& spec, uint64_t seed, uint64_t offset,
                               std::span<uint8_t> out) const {
    const Distribution d = float_distribution(spec);
    const auto value = [&](uint64_t word, int i) {
        return d.mean + d.std * normal_[(word >> (16 * i)) & 65535];
    };
    if (spec.dtype == DType::kBF16)
        return fill_words<8>(seed, offset, out, [&](uint64_t word, uint8_t* at) {
            for (int i = 0; i < 4; ++i) {
                const Bf16 code = bf16_from_f32(value(word, i));
                std::memcpy(at + 2 * i, &code, 2);
            }
        });
    CHECK(spec.dtype == DType::kF32);
    fill_words<16>(seed, offset, out, [&](uint64_t word, uint8_t* at) {
        for (int i = 0; i < 4; ++i) {
            const float x = value(word, i);
            std::memcpy(at + 4 * i, &x, 4);
        }
    });
}

// Distinct expert ids per token, each row from its own generator.
void TensorFiller::fill_hash_table(uint64_t seed, uint64_t offset, std::span<uint8_t> out) const {
    const size_t row_bytes = 8 * num_experts_per_tok_;
    std::vector<int64_t> row(num_experts_per_tok_);
    size_t done = 0;
    while (done < out.size()) {
        const uint64_t at = offset + done;
        Rng rng(word_at(seed, at / row_bytes));
        for (size_t k = 0; k < row.size();) {
            const auto id = static_cast<int64_t>(rng.next_below(num_experts_));
            const auto end = row.begin() + static_cast<std::ptrdiff_t>(k);
            if (std::find(row.begin(), end, id) == end) row[k++] = id;
        }
        const size_t skip = at % row_bytes;
        const size_t count = std::min(row_bytes - skip, out.size() - done);
        std::memcpy(out.data() + done, reinterpret_cast<const uint8_t*>(row.data()) + skip, count);
        done += count;
    }
}

}  // namespace baleen
