// Core attention of one query token over a list of rows that are key and value at once (spec 4.5).
//   s_j = scale * (q . k_j);  m = max_j s_j;  l = sum_j exp(s_j - m) + exp(sink - m)
//   o   = sum_j exp(s_j - m) * k_j / l
// Rows are taken in the given order in blocks of kAttentionBlock with an online softmax whose
// running maximum starts at the first block's; under Rounding::kBf16 the probabilities are rounded
// to bf16 before the product with the rows (relative to the running maximum of their block), the
// denominator sums them unrounded, and o is rounded to bf16. A head's bits depend on its q, the
// rows and their order only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/impl.h"
#include "quant/kv_row.h"

namespace baleen {

inline constexpr size_t kAttentionBlock = 64;

struct AttentionArgs {
    KvRowFormat format;
    std::span<const uint8_t* const> rows;  // encoded rows, at least one
    size_t num_heads = 0;
    const float* q = nullptr;  // [num_heads, format.dim()] f32; exact in bf16 if rounding says so
    const float* sink = nullptr;  // [num_heads] f32, unscaled logits
    float scale = 1;              // head_dim^-0.5
    Rounding rounding = Rounding::kBf16;
    float* out = nullptr;  // [num_heads, format.dim()] f32
};

// Reusable memory of one running call; grows on first use, then stays.
class AttentionScratch {
  public:
    // 64-byte aligned, contents unspecified; the last call's bytes are lost.
    uint8_t* reserve(size_t num_bytes);

  private:
    std::vector<uint8_t> bytes_;
};

// Error against an f64 evaluation: a few bf16 ulp of max |k| under kBf16, 1e-5 relative otherwise.
void attend(Impl impl, const AttentionArgs& args, AttentionScratch& scratch);

void attend_ref(const AttentionArgs& args, AttentionScratch& scratch);
void attend_simd(const AttentionArgs& args, AttentionScratch& scratch);
// Only packed rows under kBf16 (else attend_simd); num_heads padded to 16 inside.
void attend_avx512(const AttentionArgs& args, AttentionScratch& scratch);

}  // namespace baleen
