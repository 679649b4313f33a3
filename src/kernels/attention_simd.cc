// Highway version of kernels/attention.h, f32 throughout.
//
// A block of 64 rows is decoded to f32 in cache. Both products are one small matrix product with a
// register tile of 8 rows x 1 vector (8 accumulators; a step is 1 load and 8 broadcasts):
//   q.k   tile rows are KV rows, lanes are heads, steps are dimensions
//   p.k   tile rows are heads, lanes are dimensions, steps are KV rows
// Every lane belongs to one head and sees the same operations in the same order whatever the other
// lanes hold, so a head's bits do not depend on its neighbours. They do depend on the target: some
// have no fused multiply-add.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "base/check.h"
#include "kernels/attention.h"
#include "quant/quant.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_simd.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// After highway.h, as it is compiled once per target.
#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace baleen {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kLanesMax = 16;  // heads and dimensions are padded to this for every target
constexpr size_t kTileRows = 8;
constexpr size_t kCacheLine = 64;
using DF = hn::CappedTag<float, kLanesMax>;
using DU = hn::RebindToUnsigned<DF>;
using VF = hn::Vec<DF>;

struct Workspace {
    size_t heads;    // padded
    size_t dims;     // padded
    size_t stride;   // of rows: dims and 64 bytes more, so that a column does not fall into one set
    float* q;        // [heads / lanes][dims][lanes]
    float* rows;     // [kAttentionBlock][stride]
    float* scores;   // [kAttentionBlock][heads]; then the probabilities
    float* acc;      // [heads][dims]
    float* max;      // [heads]
    float* sum;      // [heads]
    float* rescale;  // [heads]
};

HWY_INLINE Workspace make_workspace(const AttentionArgs& args, AttentionScratch& scratch) {
    Workspace w{};
    w.heads = round_up(args.num_heads, kLanesMax);
    w.dims = round_up(args.format.dim(), kLanesMax);
    w.stride = w.dims + kLanesMax;
    const size_t total =
        w.heads * w.dims * 2 + kAttentionBlock * (w.stride + w.heads) + 3 * w.heads;
    float* next = reinterpret_cast<float*>(scratch.reserve(total * sizeof(float)));
    const auto take = [&next](size_t size) { return std::exchange(next, next + size); };
    w.q = take(w.heads * w.dims);
    w.rows = take(kAttentionBlock * w.stride);
    w.scores = take(kAttentionBlock * w.heads);
    w.acc = take(w.heads * w.dims);
    w.max = take(w.heads);
    w.sum = take(w.heads);
    w.rescale = take(w.heads);
    return w;
}

// c [8][lanes] += sum over steps k of a[i * row_stride + k * step_stride] * b[k][lanes].
struct TileInput {
    const float* a;
    size_t row_stride;
    size_t step_stride;
    const float* b;
    size_t b_stride;
    size_t steps;
};
HWY_INLINE void add_tile(const TileInput& in, float* c, size_t c_stride) {
    const DF df;
    // Named one by one: vectors of scalable targets cannot be array elements.
    VF c0 = hn::Load(df, c), c1 = hn::Load(df, c + c_stride);
    VF c2 = hn::Load(df, c + 2 * c_stride), c3 = hn::Load(df, c + 3 * c_stride);
    VF c4 = hn::Load(df, c + 4 * c_stride), c5 = hn::Load(df, c + 5 * c_stride);
    VF c6 = hn::Load(df, c + 6 * c_stride), c7 = hn::Load(df, c + 7 * c_stride);
    const size_t s = in.row_stride;
    const float* a = in.a;
    const float* b = in.b;
    for (size_t k = 0; k < in.steps; ++k) {
        const VF bk = hn::Load(df, b);
        c0 = hn::MulAdd(hn::Set(df, a[0]), bk, c0);
        c1 = hn::MulAdd(hn::Set(df, a[s]), bk, c1);
        c2 = hn::MulAdd(hn::Set(df, a[2 * s]), bk, c2);
        c3 = hn::MulAdd(hn::Set(df, a[3 * s]), bk, c3);
        c4 = hn::MulAdd(hn::Set(df, a[4 * s]), bk, c4);
        c5 = hn::MulAdd(hn::Set(df, a[5 * s]), bk, c5);
        c6 = hn::MulAdd(hn::Set(df, a[6 * s]), bk, c6);
        c7 = hn::MulAdd(hn::Set(df, a[7 * s]), bk, c7);
        a += in.step_stride;
        b += in.b_stride;
    }
    hn::Store(c0, df, c);
    hn::Store(c1, df, c + c_stride);
    hn::Store(c2, df, c + 2 * c_stride);
    hn::Store(c3, df, c + 3 * c_stride);
    hn::Store(c4, df, c + 4 * c_stride);
    hn::Store(c5, df, c + 5 * c_stride);
    hn::Store(c6, df, c + 6 * c_stride);
    hn::Store(c7, df, c + 7 * c_stride);
}

void pack_q(const AttentionArgs& args, const Workspace& w) {
    const size_t dim = args.format.dim();
    const size_t lanes = hn::Lanes(DF());
    std::fill_n(w.q, w.heads * w.dims, 0.0f);
    for (size_t head = 0; head < args.num_heads; ++head) {
        float* panel = w.q + head / lanes * w.dims * lanes + head % lanes;
        for (size_t d = 0; d < dim; ++d) panel[d * lanes] = args.q[head * dim + d];
    }
}

// 64 e4m3 codes times 2^(scale - 127) to f32.
HWY_INLINE void decode_fp8(const uint8_t* codes, uint8_t scale, float* out) {
    const DF df;
    const DU du;
    const hn::Rebind<uint8_t, DF> du8;
    const VF factor = hn::Set(df, f32_from_ue8m0(scale));
    for (size_t i = 0; i < kFp8KvBlock; i += hn::Lanes(df)) {
        const auto code = hn::PromoteTo(du, hn::LoadU(du8, codes + i));
        const auto magnitude = hn::And(code, hn::Set(du, 0x7Fu));
        const auto sign = hn::ShiftLeft<24>(hn::And(code, hn::Set(du, 0x80u)));
        // The exponent field lands 120 too low (bias 7 in a field of bias 127), subnormals too.
        const auto small = hn::BitCast(df, hn::Or(sign, hn::ShiftLeft<20>(magnitude)));
        const auto value = hn::Mul(hn::Mul(small, hn::Set(df, 0x1p120f)), factor);
        const auto is_nan = hn::RebindMask(df, hn::Eq(magnitude, hn::Set(du, 0x7Fu)));
        const auto nan = hn::Set(df, std::numeric_limits<float>::quiet_NaN());
        hn::StoreU(hn::IfThenElse(is_nan, nan, value), df, out + i);
    }
}

// out [dims] f32, zero beyond dim.
void decode_row(const KvRowFormat& format, const uint8_t* row, size_t dims, float* out) {
    std::fill(out + format.dim(), out + dims, 0.0f);
    if (format.encoding == KvEncoding::kF32) {
        std::memcpy(out, row, format.dim() * sizeof(float));
        return;
    }
    for (size_t d = 0; d < format.nope_dim; d += kFp8KvBlock)
        decode_fp8(row + d, row[format.scales_offset() + d / kFp8KvBlock], out + d);
    const uint8_t* rope = row + format.nope_dim;
    for (size_t i = 0; i < format.rope_dim; ++i) {
        Bf16 value;
        std::memcpy(&value, rope + 2 * i, sizeof(value));
        out[format.nope_dim + i] = f32_from_bf16(value);
    }
}

HWY_INLINE VF round_to_bf16(VF v) {
    const DU du;
    const auto bits = hn::BitCast(du, v);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
    const auto sum = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFFu)));
    const auto rounded = hn::BitCast(DF(), hn::And(sum, hn::Set(du, 0xFFFF0000u)));
    return hn::IfThenElse(hn::IsNaN(v), v, rounded);
}

// Asks for the encoded rows [begin, end), as far as there are any: they lie anywhere in memory.
HWY_INLINE void prefetch_rows(const AttentionArgs& args, size_t begin, size_t end) {
    const size_t row_bytes = args.format.row_bytes();
    for (size_t j = begin; j < std::min(end, args.rows.size()); ++j)
        for (size_t i = 0; i < row_bytes + kCacheLine; i += kCacheLine)
            hwy::Prefetch(args.rows[j] + std::min(i, row_bytes - 1));
}

// scores [round_up(n, 8)][heads] of the decoded rows, unscaled; fetches the block after, at next,
// meanwhile.
void score_block(const AttentionArgs& args, const Workspace& w, size_t n, size_t next) {
    const size_t dim = args.format.dim();
    const size_t lanes = hn::Lanes(DF());
    std::fill_n(w.scores, round_up(n, kTileRows) * w.heads, 0.0f);
    for (size_t head = 0; head < w.heads; head += lanes)
        for (size_t j = 0; j < n; j += kTileRows) {
            if (head == 0) prefetch_rows(args, next + j, next + j + kTileRows);
            add_tile({.a = w.rows + j * w.stride,
                      .row_stride = w.stride,
                      .step_stride = 1,
                      .b = w.q + head * w.dims,
                      .b_stride = lanes,
                      .steps = dim},
                     w.scores + j * w.heads + head, w.heads);
        }
}

// Highway's Exp takes no NaN and would hide it; it must stay visible.
HWY_INLINE VF exp_lanes(VF x) {
    const auto is_nan = hn::IsNaN(x);
    return hn::IfThenElse(is_nan, x, hn::Exp(DF(), hn::IfThenZeroElse(is_nan, x)));
}

// One block of the online softmax: scores become probabilities.
void softmax_block(const Workspace& w, size_t n, const AttentionArgs& args) {
    const DF df;
    const VF scale = hn::Set(df, args.scale);
    for (size_t head = 0; head < w.heads; head += hn::Lanes(df)) {
        const VF old_max = hn::Load(df, w.max + head);
        VF max = old_max;
        for (size_t j = 0; j < n; ++j)
            max = hn::Max(hn::Mul(scale, hn::Load(df, w.scores + j * w.heads + head)), max);
        const VF rescale = exp_lanes(hn::Sub(old_max, max));  // 0 for the first block
        VF sum = hn::Mul(hn::Load(df, w.sum + head), rescale);
        for (size_t j = 0; j < n; ++j) {
            float* score = w.scores + j * w.heads + head;
            const VF p = exp_lanes(hn::Sub(hn::Mul(scale, hn::Load(df, score)), max));
            sum = hn::Add(sum, p);
            hn::Store(args.rounding == Rounding::kBf16 ? round_to_bf16(p) : p, df, score);
        }
        hn::Store(max, df, w.max + head);
        hn::Store(sum, df, w.sum + head);
        hn::Store(rescale, df, w.rescale + head);
    }
}

void add_values(const Workspace& w, size_t num_heads, size_t n) {
    const DF df;
    for (size_t head = 0; head < num_heads; ++head) {
        if (w.rescale[head] == 1.0f) continue;  // changes no bit
        const VF factor = hn::Set(df, w.rescale[head]);
        float* acc = w.acc + head * w.dims;
        for (size_t d = 0; d < w.dims; d += hn::Lanes(df))
            hn::Store(hn::Mul(hn::Load(df, acc + d), factor), df, acc + d);
    }
    for (size_t d = 0; d < w.dims; d += hn::Lanes(df))
        for (size_t head = 0; head < num_heads; head += kTileRows)
            add_tile({.a = w.scores + head,
                      .row_stride = 1,
                      .step_stride = w.heads,
                      .b = w.rows + d,
                      .b_stride = w.stride,
                      .steps = n},
                     w.acc + head * w.dims + d, w.dims);
}

void write_out(const AttentionArgs& args, const Workspace& w) {
    const DF df;
    const size_t dim = args.format.dim();
    for (size_t head = 0; head < args.num_heads; ++head) {
        const VF sum = hn::Set(df, w.sum[head] + std::exp(args.sink[head] - w.max[head]));
        float* acc = w.acc + head * w.dims;
        for (size_t d = 0; d < w.dims; d += hn::Lanes(df)) {
            const VF value = hn::Div(hn::Load(df, acc + d), sum);
            hn::Store(args.rounding == Rounding::kBf16 ? round_to_bf16(value) : value, df, acc + d);
        }
        std::memcpy(args.out + head * dim, acc, dim * sizeof(float));
    }
}

void Attend(const AttentionArgs& args, AttentionScratch& scratch) {
    const Workspace w = make_workspace(args, scratch);
    prefetch_rows(args, 0, kAttentionBlock);
    pack_q(args, w);
    std::fill_n(w.acc, w.heads * w.dims, 0.0f);
    std::fill_n(w.max, w.heads, -std::numeric_limits<float>::infinity());
    std::fill_n(w.sum, w.heads, 0.0f);
    for (size_t begin = 0; begin < args.rows.size(); begin += kAttentionBlock) {
        const size_t n = std::min(kAttentionBlock, args.rows.size() - begin);
        for (size_t j = 0; j < n; ++j)
            decode_row(args.format, args.rows[begin + j], w.dims, w.rows + j * w.stride);
        // The last tile may cover rows beyond n: their scores are never read.
        std::fill(w.rows + n * w.stride, w.rows + round_up(n, kTileRows) * w.stride, 0.0f);
        score_block(args, w, n, begin + n);
        softmax_block(w, n, args);
        add_values(w, args.num_heads, n);
    }
    write_out(args, w);
}

}  // namespace HWY_NAMESPACE
}  // namespace baleen
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baleen {
HWY_EXPORT(Attend);

void attend_simd(const AttentionArgs& args, AttentionScratch& scratch) {
    CHECK(!args.rows.empty());
    CHECK_GT(args.num_heads, size_t{0});
    if (args.format.encoding == KvEncoding::kPacked) {
        CHECK_EQ(args.format.nope_dim % kFp8KvBlock, size_t{0});
        CHECK_EQ(args.format.rope_dim % 2, size_t{0});
    }
    HWY_DYNAMIC_DISPATCH(Attend)(args, scratch);
}

}  // namespace baleen
#endif
