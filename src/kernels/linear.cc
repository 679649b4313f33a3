#include "kernels/linear.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/check.h"
#include "kernels/quantize.h"

namespace baleen {
namespace {

// Item boundaries are multiples of this many weight rows: tiles of eight rows never straddle a
// 128-row scale block.
constexpr size_t kRowGroup = 8;

// Weight rows of one work item: small enough that threads finish together and that decoded tiles
// stay in L2, large enough that taking an item costs nothing.
size_t rows_per_item(const LinearJob& job) {
    const size_t cols = job.weight->cols;
    const size_t rows = std::max<size_t>(kLinearTileFloats / std::max<size_t>(cols, 1), kRowGroup);
    return std::clamp<size_t>(rows / kRowGroup * kRowGroup, kRowGroup, 64);
}

size_t num_items(const LinearJob& job) {
    const size_t step = rows_per_item(job);
    return (job.row_end - job.row_begin + step - 1) / step;
}

void run_item(Impl impl, const LinearJob& job, size_t item, LinearScratch& scratch) {
    const size_t step = rows_per_item(job);
    const size_t begin = job.row_begin + item * step;
    const size_t end = std::min(begin + step, job.row_end);
    if (impl == Impl::kRef) return linear_rows_ref(job, begin, end);
    if (job.input->storage() == LinearInput::Storage::kBf16)
        return linear_rows_avx512(job, begin, end, scratch);
    linear_rows_simd(job, begin, end, scratch);
}

void check_job(const LinearJob& job) {
    CHECK(job.weight != nullptr && job.input != nullptr);
    CHECK_LE(job.row_end, job.weight->rows);
    CHECK_LE(job.input_col_begin + job.weight->cols, job.input->cols());
    if (job.weight->format != WeightFormat::kF32) CHECK_LE(job.weight->cols, kLinearColsMax);
    CHECK_GE(job.out_stride, job.row_end - job.row_begin);
}

void count(const LinearJob& job, OpCounts& counts) {
    const uint64_t rows = job.row_end - job.row_begin;
    const uint64_t macs = rows * job.weight->cols * job.num_inputs;
    switch (job.weight->format) {
        case WeightFormat::kF32: counts.f32_linear += macs; break;
        case WeightFormat::kBF16: counts.bf16_linear += macs; break;
        case WeightFormat::kFp8:
        case WeightFormat::kFp4: counts.quantised_linear += macs; break;
    }
    counts.weight_bytes += job.weight->bytes() * rows / job.weight->rows;
}

}  // namespace

LinearInput::LinearInput(size_t rows_max, size_t cols, Storage storage)
    : storage_(storage),
      rows_max_(rows_max),
      cols_(cols),
      // One more vector than needed: a group's slice may start anywhere and reads whole vectors.
      stride_((cols + 63) / 64 * 64 + 64) {
    if (storage == Storage::kF32) {
        f32_memory_ = Buffer<float>(rows_max * stride_);
        f32_ = f32_memory_.data();
    } else {
        bf16_memory_ = Buffer<Bf16>(rows_max * stride_);
    }
}

LinearInput LinearInput::borrow(const float* data, size_t rows, size_t cols) {
    LinearInput input;
    input.rows_max_ = rows;
    input.cols_ = cols;
    input.stride_ = cols;
    input.f32_ = data;
    return input;
}

void LinearInput::set_row(Impl impl, size_t r, std::span<const float> x, ActivationQuant quant) {
    CHECK_LT(r, rows_max_);
    CHECK_EQ(x.size(), cols_);
    if (storage_ == Storage::kBf16) {
        CHECK(quant != ActivationQuant::kNone);
        Bf16* out = bf16_memory_.data() + r * stride_;
        if (quant == ActivationQuant::kFp8)
            quantize_fp8_to_bf16(impl, x, {out, cols_});
        else
            round_to_bf16(impl, x, {out, cols_});
        return;
    }
    std::span<float> out{f32_memory_.data() + r * stride_, cols_};
    std::copy(x.begin(), x.end(), out.begin());
    if (quant == ActivationQuant::kFp8)
        quantize_fp8(impl, out);
    else if (quant == ActivationQuant::kBf16)
        for (float& v : out) v = round_bf16(v);
}

LinearJob linear_job(const WeightMatrix& weight, const LinearInput& input, size_t num_inputs,
                     float* out, Rounding rounding) {
    return {.weight = &weight,
            .row_begin = 0,
            .row_end = weight.rows,
            .input = &input,
            .num_inputs = num_inputs,
            .out = out,
            .out_stride = weight.rows,
            .rounding = rounding};
}

void run_linears(Impl impl, ThreadPool& pool, std::span<const LinearJob> jobs,
                 std::span<LinearScratch> scratch, OpCounts* counts) {
    CHECK_GE(scratch.size(), pool.num_threads());
    CHECK_LE(jobs.size(), kLinearJobsMax);
    std::array<size_t, kLinearJobsMax> item_ends;  // running total of items, per job
    size_t total = 0;
    for (size_t j = 0; j < jobs.size(); ++j) {
        check_job(jobs[j]);
        if (counts != nullptr) count(jobs[j], *counts);
        item_ends[j] = total += num_items(jobs[j]);
    }
    pool.parallel_for(total, [&](size_t item, size_t thread_idx) {
        const size_t* const ends = item_ends.data();
        const size_t j =
            static_cast<size_t>(std::upper_bound(ends, ends + jobs.size(), item) - ends);
        run_item(impl, jobs[j], item - (j == 0 ? 0 : ends[j - 1]), scratch[thread_idx]);
    });
}

void linear_rows_ref(const LinearJob& job, size_t row_begin, size_t row_end) {
    const WeightMatrix& w = *job.weight;
    std::vector<float> weights(w.cols);
    for (size_t row = row_begin; row < row_end; ++row) {
        decode_weight_row(w, row, weights);
        for (size_t i = 0; i < job.num_inputs; ++i) {
            const size_t input_row =
                job.input_rows != nullptr ? static_cast<size_t>(job.input_rows[i]) : i;
            const float* x = job.input->f32_row(input_row) + job.input_col_begin;
            double sum = 0;
            for (size_t k = 0; k < w.cols; ++k) sum += static_cast<double>(weights[k]) * x[k];
            const float value = static_cast<float>(sum);
            job.out[i * job.out_stride + row - job.row_begin] =
                job.rounding == Rounding::kBf16 ? round_bf16(value) : value;
        }
    }
}

}  // namespace baleen
