#include "kernels/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"
#include "kernels/quantize.h"

namespace baleen {
namespace {

float uniform(Rng& rng) {
    return static_cast<float>(rng.next_double() * 2 - 1);
}

// A random matrix with its own storage.
struct StoredMatrix {
    WeightMatrix view;
    std::vector<uint8_t> data;
    std::vector<uint8_t> scales;
};

StoredMatrix random_matrix(WeightFormat format, size_t rows, size_t cols, Rng& rng) {
    StoredMatrix m;
    m.view = {.format = format, .rows = rows, .cols = cols, .data = nullptr, .scales = nullptr};
    m.data.resize(rows * m.view.row_bytes());
    for (uint8_t& byte : m.data) byte = static_cast<uint8_t>(rng.next_u64());
    if (format == WeightFormat::kFp8)
        for (uint8_t& byte : m.data)
            if ((byte & 0x7F) == 0x7F) byte = 0x2A;  // no NaN codes
    if (format == WeightFormat::kF32)
        for (size_t i = 0; i < rows * cols; ++i)
            reinterpret_cast<float*>(m.data.data())[i] = uniform(rng);
    if (format == WeightFormat::kBF16)
        for (size_t i = 0; i < rows * cols; ++i)
            reinterpret_cast<Bf16*>(m.data.data())[i] = bf16_from_f32(uniform(rng));
    m.scales.resize(m.view.bytes() - m.data.size());
    for (uint8_t& scale : m.scales) scale = static_cast<uint8_t>(118 + rng.next_below(8));
    m.view.data = m.data.data();
    m.view.scales = m.scales.data();
    return m;
}

struct Case {
    WeightFormat format;
    size_t rows;
    size_t cols;
    size_t inputs;
};

class Linear {
  public:
    Linear(Impl impl, size_t threads) : impl_(impl), pool_(threads), scratch_(threads) {
        for (LinearScratch& s : scratch_) s.tile = Buffer<float>(kLinearTileFloats);
    }
    // [inputs, rows]
    std::vector<float> run(const WeightMatrix& w, const std::vector<float>& x, size_t inputs,
                           const int32_t* gather = nullptr) {
        const ActivationQuant quant =
            w.format == WeightFormat::kF32 ? ActivationQuant::kNone : ActivationQuant::kFp8;
        const size_t stored = x.size() / w.cols;
        LinearInput input(stored, w.cols, LinearInput::storage_for(impl_, quant));
        for (size_t i = 0; i < stored; ++i)
            input.set_row(impl_, i, {x.data() + i * w.cols, w.cols}, quant);
        std::vector<float> out(inputs * w.rows, -1.0f);
        LinearJob job = linear_job(w, input, inputs, out.data(), Rounding::kNone);
        job.input_rows = gather;
        run_linears(impl_, pool_, {&job, 1}, scratch_, nullptr);
        return out;
    }

  private:
    Impl impl_;
    ThreadPool pool_;
    std::vector<LinearScratch> scratch_;
};

std::vector<float> random_inputs(size_t n, Rng& rng) {
    std::vector<float> x(n);
    for (float& v : x) v = uniform(rng) * (rng.next_below(50) == 0 ? 30.0f : 1.0f);
    return x;
}

constexpr WeightFormat kFormats[] = {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kFp8,
                                     WeightFormat::kFp4};

// Every product is exact, so an f32 sum of n terms is within n * 2^-24 of the sum of magnitudes.
TEST(Linear, MatchesF64WithinSummationError) {
    Rng rng(1);
    for (WeightFormat format : kFormats)
        for (size_t cols : {32u, 64u, 96u, 128u, 160u, 320u, 1024u})
            for (size_t rows : {1u, 7u, 8u, 33u, 130u})
                for (size_t inputs : {1u, 2u, 3u, 4u, 5u, 8u, 11u}) {
                    const StoredMatrix m = random_matrix(format, rows, cols, rng);
                    const std::vector<float> x = random_inputs(inputs * cols, rng);
                    std::vector<float> w(cols);
                    for (Impl impl : available_impls()) {
                        const std::vector<float> out = Linear(impl, 2).run(m.view, x, inputs);
                        for (size_t i = 0; i < inputs; ++i) {
                            std::vector<float> xq(x.begin() + static_cast<long>(i * cols),
                                                  x.begin() + static_cast<long>((i + 1) * cols));
                            if (format != WeightFormat::kF32)
                                fp8_roundtrip(xq, kFp8ActivationBlock);
                            for (size_t r = 0; r < rows; ++r) {
                                decode_weight_row(m.view, r, w);
                                double sum = 0, magnitude = 0;
                                for (size_t k = 0; k < cols; ++k) {
                                    sum += static_cast<double>(w[k]) * xq[k];
                                    magnitude += std::abs(static_cast<double>(w[k]) * xq[k]);
                                }
                                ASSERT_NEAR(out[i * rows + r], sum,
                                            magnitude * static_cast<double>(cols) * 0x1p-24 + 1e-30)
                                    << impl_name(impl) << " format " << static_cast<int>(format)
                                    << " rows " << rows << " cols " << cols << " inputs " << inputs
                                    << " row " << r;
                            }
                        }
                    }
                }
}

TEST(Linear, SameBitsForAnyBatchThreadsAndGather) {
    Rng rng(2);
    constexpr size_t kInputs = 13;
    for (WeightFormat format : kFormats)
        for (size_t cols : {64u, 160u, 512u}) {
            const size_t rows = 197;
            const StoredMatrix m = random_matrix(format, rows, cols, rng);
            const std::vector<float> x = random_inputs(kInputs * cols, rng);
            for (Impl impl : available_impls()) {
                const std::vector<float> all = Linear(impl, 1).run(m.view, x, kInputs);
                EXPECT_EQ(all, Linear(impl, 3).run(m.view, x, kInputs)) << impl_name(impl);
                for (size_t batch : {1u, 2u, 3u, 4u, 6u}) {
                    Linear linear(impl, 2);
                    for (size_t begin = 0; begin < kInputs; begin += batch) {
                        const size_t n = std::min<size_t>(batch, kInputs - begin);
                        std::vector<int32_t> gather;
                        for (size_t i = 0; i < n; ++i)
                            gather.push_back(static_cast<int32_t>(begin + i));
                        const std::vector<float> part = linear.run(m.view, x, n, gather.data());
                        const std::vector<float> expected(
                            all.begin() + static_cast<long>(begin * rows),
                            all.begin() + static_cast<long>((begin + n) * rows));
                        ASSERT_EQ(part, expected) << impl_name(impl) << " batch " << batch;
                    }
                }
            }
        }
}

TEST(Linear, RowRangeAndColumnOffsetMatchTheWhole) {
    Rng rng(3);
    const StoredMatrix m = random_matrix(WeightFormat::kFp8, 320, 192, rng);
    for (Impl impl : available_impls()) {
        ThreadPool pool(2);
        std::vector<LinearScratch> scratch(2);
        for (LinearScratch& s : scratch) s.tile = Buffer<float>(kLinearTileFloats);
        LinearInput wide(6, 384, LinearInput::storage_for(impl, ActivationQuant::kBf16));
        LinearInput narrow(6, 192, LinearInput::storage_for(impl, ActivationQuant::kBf16));
        const std::vector<float> x = random_inputs(6 * 384, rng);
        for (size_t i = 0; i < 6; ++i) {
            wide.set_row(impl, i, {x.data() + i * 384, 384}, ActivationQuant::kBf16);
            narrow.set_row(impl, i, {x.data() + i * 384 + 192, 192}, ActivationQuant::kBf16);
        }
        std::vector<float> whole(6 * 320), part(6 * 64);
        const LinearJob all = linear_job(m.view, narrow, 6, whole.data(), Rounding::kBf16);
        run_linears(impl, pool, {&all, 1}, scratch, nullptr);
        LinearJob slice = linear_job(m.view, wide, 6, part.data(), Rounding::kBf16);
        slice.row_begin = 64;
        slice.row_end = 128;
        slice.out_stride = 64;
        slice.input_col_begin = 192;
        run_linears(impl, pool, {&slice, 1}, scratch, nullptr);
        for (size_t i = 0; i < 6; ++i)
            for (size_t r = 0; r < 64; ++r)
                ASSERT_EQ(part[i * 64 + r], whole[i * 320 + 64 + r]) << impl_name(impl);
    }
}

TEST(Quantize, EveryImplementationGivesTheBitsOfTheReference) {
    Rng rng(4);
    for (size_t n : {1u, 31u, 64u, 127u, 128u, 129u, 300u, 1024u}) {
        for (int kind = 0; kind < 5; ++kind) {
            std::vector<float> x(n);
            for (float& v : x) {
                v = uniform(rng);
                if (kind == 1) v *= 1e-6f;
                if (kind == 2) v = std::ldexp(v, static_cast<int>(rng.next_below(60)) - 30);
                if (kind == 3) v = 0;
                if (kind == 4) v = std::ldexp(std::round(v * 32), -5);  // many ties
            }
            if (kind == 2) x[n / 2] = std::nanf("");
            std::vector<float> expected = x;
            fp8_roundtrip(expected, kFp8ActivationBlock);
            std::vector<float> fast = x;
            quantize_fp8(Impl::kSimd, fast);
            std::vector<Bf16> stored(n), rounded(n);
            quantize_fp8_to_bf16(Impl::kSimd, x, stored);
            round_to_bf16(Impl::kSimd, x, rounded);
            for (size_t i = 0; i < n; ++i) {
                ASSERT_EQ(std::bit_cast<uint32_t>(fast[i]), std::bit_cast<uint32_t>(expected[i]))
                    << "n " << n << " kind " << kind << " i " << i << " x " << x[i];
                ASSERT_EQ(stored[i], bf16_from_f32(expected[i]));
                ASSERT_EQ(rounded[i], bf16_from_f32(x[i]));
            }
        }
    }
}

}  // namespace
}  // namespace baleen
