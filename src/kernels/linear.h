// y = W x for weights as stored (f32, bf16, FP8 128x128 tiles, FP4 rows) and one or many
// activation rows (spec 10.2).
//
// Activations are quantised once (LinearInput), then used by every matrix that reads them. All
// block scales are powers of two, and e4m3 or e2m1 times such a scale is exact in bf16, so every
// product is exact in f32 and only the order of the sum distinguishes implementations. Within one
// implementation that order depends on the number of columns alone: one row or many, whatever
// thread and tile: the same bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "kernels/impl.h"
#include "kernels/op_counts.h"
#include "quant/quant.h"
#include "tensor/buffer.h"
#include "tensor/weight_matrix.h"

namespace baleen {

// What happens to an activation on its way into a linear (spec 10.1).
enum class ActivationQuant : uint8_t {
    kNone,  // stays f32
    kBf16,  // rounded to bf16
    kFp8,   // e4m3 in blocks of 128 with a power-of-two scale, and back
};

// Activation rows as the kernels want them. Either f32 or bf16 is in use, by the constructor.
class LinearInput {
  public:
    enum class Storage : uint8_t { kF32, kBf16 };

    LinearInput() = default;
    // Room for rows_max x cols. Columns are zero-padded to a multiple of 64.
    LinearInput(size_t rows_max, size_t cols, Storage storage);

    // A view of f32 rows that lie elsewhere, densely packed [rows, cols]; for f32 weights.
    static LinearInput borrow(const float* data, size_t rows, size_t cols);

    // Which storage a linear of this implementation reads when activations are exact in bf16.
    static Storage storage_for(Impl impl, ActivationQuant quant) {
        return impl == Impl::kAvx512 && quant != ActivationQuant::kNone ? Storage::kBf16
                                                                        : Storage::kF32;
    }

    // Quantises x [cols] into row r. Different rows may be set from different threads.
    // REQUIRES: quant != kNone when the storage is bf16.
    void set_row(Impl impl, size_t r, std::span<const float> x, ActivationQuant quant);

    Storage storage() const { return storage_; }
    size_t cols() const { return cols_; }
    size_t rows_max() const { return rows_max_; }
    const float* f32_row(size_t r) const { return f32_ + r * stride_; }
    const Bf16* bf16_row(size_t r) const { return bf16_memory_.data() + r * stride_; }

  private:
    Storage storage_ = Storage::kF32;
    size_t rows_max_ = 0;
    size_t cols_ = 0;
    size_t stride_ = 0;
    const float* f32_ = nullptr;  // [rows_max, stride], own memory or borrowed
    Buffer<float> f32_memory_;
    Buffer<Bf16> bf16_memory_;  // [rows_max, stride]
};

// out[i][n] = W[row_begin + n] . x[i], for n in [0, row_end - row_begin) and every input row i.
struct LinearJob {
    const WeightMatrix* weight = nullptr;
    size_t row_begin = 0;
    size_t row_end = 0;
    const LinearInput* input = nullptr;
    size_t input_col_begin = 0;  // the matrix reads input columns [begin, begin + weight->cols)
    size_t num_inputs = 0;       // activation rows
    // Activation row of output row i: input_rows[i], or i when null (routed experts gather).
    const int32_t* input_rows = nullptr;
    float* out = nullptr;  // [num_inputs, out_stride] f32
    size_t out_stride = 0;
    Rounding rounding = Rounding::kNone;
};

// A job over the whole matrix and rows [0, num_inputs) of the input.
LinearJob linear_job(const WeightMatrix& weight, const LinearInput& input, size_t num_inputs,
                     float* out, Rounding rounding);

// Per-thread memory for decoded weight tiles.
struct LinearScratch {
    Buffer<float> tile;  // kLinearTileFloats
};
inline constexpr size_t kLinearTileFloats = 128 * 1024;
// Widest matrix: a tile holds six rows of it in bf16. f32 weights are read in place and may be
// wider.
inline constexpr size_t kLinearColsMax = kLinearTileFloats / 4;

// Most jobs of one call: two matrices for each of 1024 routed experts, and a few more.
inline constexpr size_t kLinearJobsMax = 2064;

// Runs all jobs, split over the pool by weight rows. scratch has one entry per thread.
void run_linears(Impl impl, ThreadPool& pool, std::span<const LinearJob> jobs,
                 std::span<LinearScratch> scratch, OpCounts* counts);

// The leaves: weight rows [row_begin, row_end) of the job, single-threaded.
void linear_rows_ref(const LinearJob& job, size_t row_begin, size_t row_end);
void linear_rows_simd(const LinearJob& job, size_t row_begin, size_t row_end,
                      LinearScratch& scratch);
void linear_rows_avx512(const LinearJob& job, size_t row_begin, size_t row_end,
                        LinearScratch& scratch);

}  // namespace baleen
