// The elementwise part of hyper-connections (spec section 3) on a CPU, forward and backward.
//
// A compiler of graphs makes of it many passes over the streams, the largest tensors of a step; here
// every token's streams are read once. Rows are independent; one thread, as a rank of the trainer has.
// Shapes: N tokens, S = 4 streams, D hidden; all contiguous fp32. model.py has the same in PyTorch.

#include <torch/library.h>
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

namespace {

using at::Tensor;

constexpr int S = 4;
constexpr int LANES = 16;  // tokens that the Sinkhorn iterations of one pass handle

struct Lane {
    float at[LANES];
};
using Matrix = Lane[S][S];

float dot(const float* a, const float* b, int64_t n) {
    float sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
    return sum;
}

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

// Divides by the sums over the source (axis 0) or destination (axis 1) streams.
void normalise(Matrix& c, int axis, float eps) {
    for (int k = 0; k < S; ++k) {
        for (int n = 0; n < LANES; ++n) {
            float sum = eps;
            for (int j = 0; j < S; ++j) sum += axis ? c[k][j].at[n] : c[j][k].at[n];
            const float scale = 1.0f / sum;
            for (int j = 0; j < S; ++j) (axis ? c[k][j] : c[j][k]).at[n] *= scale;
        }
    }
}

// d: gradient of the result, then of the input `before`.
void normalise_backward(const Matrix& before, Matrix& d, int axis, float eps) {
    for (int k = 0; k < S; ++k) {
        for (int n = 0; n < LANES; ++n) {
            float sum = eps;
            float weighted = 0;
            for (int j = 0; j < S; ++j) {
                const float b = axis ? before[k][j].at[n] : before[j][k].at[n];
                sum += b;
                weighted += b * (axis ? d[k][j] : d[j][k]).at[n];
            }
            const float scale = 1.0f / sum;
            const float shift = weighted * scale * scale;
            for (int j = 0; j < S; ++j) {
                float& g = (axis ? d[k][j] : d[j][k]).at[n];
                g = g * scale - shift;
            }
        }
    }
}

struct Sinkhorn {
    explicit Sinkhorn(int64_t iterations, float eps) : eps(eps), states(2 * iterations) {}

    // Of logits in `c`; leaves the mapping there. states[i] is what step i began with.
    void forward(Matrix& c) {
        for (int k = 0; k < S; ++k) {
            for (int n = 0; n < LANES; ++n) {
                float top = c[k][0].at[n];
                for (int j = 1; j < S; ++j) top = std::max(top, c[k][j].at[n]);
                float sum = 0;
                for (int j = 0; j < S; ++j) sum += c[k][j].at[n] = std::exp(c[k][j].at[n] - top);
                for (int j = 0; j < S; ++j) c[k][j].at[n] /= sum;
            }
        }
        keep(c, 0);
        for (auto& row : c)
            for (auto& lane : row)
                for (float& v : lane.at) v += eps;
        for (size_t i = 1; i < states.size(); ++i) {
            keep(c, i);
            normalise(c, axis(i), eps);
        }
    }

    // d: gradient of the mapping, then of the logits.
    void backward(Matrix& d) {
        for (size_t i = states.size() - 1; i > 0; --i) normalise_backward(states[i].c, d, axis(i), eps);
        const Matrix& p = states[0].c;
        for (int k = 0; k < S; ++k) {
            for (int n = 0; n < LANES; ++n) {
                float sum = 0;
                for (int j = 0; j < S; ++j) sum += p[k][j].at[n] * d[k][j].at[n];
                for (int j = 0; j < S; ++j) d[k][j].at[n] = p[k][j].at[n] * (d[k][j].at[n] - sum);
            }
        }
    }

    struct State {
        Matrix c;
    };
    float eps;
    std::vector<State> states;

private:
    static int axis(size_t i) { return i % 2 ? 0 : 1; }
    void keep(const Matrix& c, size_t i) { std::copy(&c[0][0], &c[0][0] + S * S, &states[i].c[0][0]); }
};

// What the rows of m = [pre | post | comb] become, of up to LANES tokens.
struct Mappings {
    Lane factor;  // rsqrt of the streams' mean square
    Lane pre[S];
    Lane post[S];
    Matrix comb;
};

struct Reader {
    const float *X, *m, *base, *scale;
    int64_t D, iterations;
    float norm_eps, eps;

    void compute(int64_t first, int64_t count, Mappings& out, Sinkhorn& sinkhorn) const {
        const int64_t width = S * D;
        for (int n = 0; n < LANES; ++n) {
            const int64_t row = first + std::min<int64_t>(n, count - 1);
            const float* x = X + row * width;
            const float factor = 1.0f / std::sqrt(dot(x, x, width) / static_cast<float>(width) + norm_eps);
            const float* v = m + row * S * (S + 2);
            out.factor.at[n] = factor;
            for (int j = 0; j < S; ++j) {
                out.pre[j].at[n] = sigmoid(v[j] * factor * scale[0] + base[j]) + eps;
                out.post[j].at[n] = 2 * sigmoid(v[S + j] * factor * scale[1] + base[S + j]);
                for (int k = 0; k < S; ++k) {
                    const int at = 2 * S + j * S + k;
                    out.comb[j][k].at[n] = v[at] * factor * scale[2] + base[at];
                }
            }
        }
        sinkhorn.forward(out.comb);
    }
};

Reader reader(const Tensor& X, const Tensor& m, const Tensor& base, const Tensor& scale, int64_t iterations,
              double norm_eps, double eps) {
    for (const Tensor* t : {&X, &m, &base, &scale}) {
        TORCH_CHECK(t->is_contiguous() && t->scalar_type() == at::kFloat, "contiguous fp32 tensors expected");
    }
    TORCH_CHECK(X.dim() == 3 && X.size(1) == S && m.size(1) == S * (S + 2), "X [N, 4, D], m [N, 24] expected");
    return {X.const_data_ptr<float>(),    m.const_data_ptr<float>(), base.const_data_ptr<float>(),
            scale.const_data_ptr<float>(), X.size(2), iterations, static_cast<float>(norm_eps),
            static_cast<float>(eps)};
}

// X [N, S, D], m [N, S*(S+2)] -> u [N, D], post [N, S], comb [N, S, S]
std::tuple<Tensor, Tensor, Tensor> read_streams(const Tensor& X, const Tensor& m, const Tensor& base,
                                                const Tensor& scale, int64_t iterations, double norm_eps, double eps) {
    const Reader r = reader(X, m, base, scale, iterations, norm_eps, eps);
    const int64_t N = X.size(0), D = r.D;
    Tensor u = at::empty({N, D}, X.options());
    Tensor post = at::empty({N, S}, X.options());
    Tensor comb = at::empty({N, S, S}, X.options());
    float* pu = u.mutable_data_ptr<float>();
    float* ppost = post.mutable_data_ptr<float>();
    float* pcomb = comb.mutable_data_ptr<float>();
    Sinkhorn sinkhorn(iterations, r.eps);
    Mappings map;
    for (int64_t first = 0; first < N; first += LANES) {
        const int64_t count = std::min<int64_t>(LANES, N - first);
        r.compute(first, count, map, sinkhorn);
        for (int64_t n = 0; n < count; ++n) {
            const int64_t row = first + n;
            const float* x = r.X + row * S * D;
            float* out = pu + row * D;
            for (int64_t i = 0; i < D; ++i) {
                float sum = 0;
                for (int j = 0; j < S; ++j) sum += map.pre[j].at[n] * x[j * D + i];
                out[i] = sum;
            }
            for (int j = 0; j < S; ++j) {
                ppost[row * S + j] = map.post[j].at[n];
                for (int k = 0; k < S; ++k) pcomb[(row * S + j) * S + k] = map.comb[j][k].at[n];
            }
        }
    }
    return {u, post, comb};
}

// -> gradients of X, m, base, scale
std::tuple<Tensor, Tensor, Tensor, Tensor> read_streams_backward(
    const Tensor& du, const Tensor& dpost, const Tensor& dcomb, const Tensor& X, const Tensor& m, const Tensor& base,
    const Tensor& scale, int64_t iterations, double norm_eps, double eps) {
    const Reader r = reader(X, m, base, scale, iterations, norm_eps, eps);
    const int64_t N = X.size(0), D = r.D, width = S * D;
    const Tensor gu = du.contiguous(), gpost = dpost.contiguous(), gcomb = dcomb.contiguous();
    Tensor dX = at::empty_like(X), dm = at::empty_like(m);
    Tensor dbase = at::zeros_like(base), dscale = at::zeros_like(scale);
    float* pbase = dbase.mutable_data_ptr<float>();
    float* pscale = dscale.mutable_data_ptr<float>();
    Sinkhorn sinkhorn(iterations, r.eps);
    Mappings map;
    Matrix d;
    for (int64_t first = 0; first < N; first += LANES) {
        const int64_t count = std::min<int64_t>(LANES, N - first);
        r.compute(first, count, map, sinkhorn);
        for (int j = 0; j < S; ++j)
            for (int k = 0; k < S; ++k)
                for (int n = 0; n < LANES; ++n)
                    d[j][k].at[n] =
                        n < count ? gcomb.const_data_ptr<float>()[((first + n) * S + j) * S + k] : 0.0f;
        sinkhorn.backward(d);
        for (int64_t n = 0; n < count; ++n) {
            const int64_t row = first + n;
            const float* x = r.X + row * width;
            const float* g = gu.const_data_ptr<float>() + row * D;
            const float* v = r.m + row * S * (S + 2);
            float* out = dm.mutable_data_ptr<float>() + row * S * (S + 2);
            float logits[S * (S + 2)];  // gradients before base and scale
            for (int j = 0; j < S; ++j) {
                const float pre = map.pre[j].at[n] - r.eps, half = 0.5f * map.post[j].at[n];
                logits[j] = dot(g, x + j * D, D) * pre * (1 - pre);
                logits[S + j] = gpost.const_data_ptr<float>()[row * S + j] * 2 * half * (1 - half);
                for (int k = 0; k < S; ++k) logits[2 * S + j * S + k] = d[j][k].at[n];
            }
            const float factor = map.factor.at[n];
            float dfactor = 0;
            for (int at = 0; at < S * (S + 2); ++at) {
                const int part = at < S ? 0 : at < 2 * S ? 1 : 2;
                pbase[at] += logits[at];
                pscale[part] += logits[at] * v[at] * factor;
                out[at] = logits[at] * r.scale[part] * factor;
                dfactor += logits[at] * r.scale[part] * v[at];
            }
            const float shrink = -dfactor * factor * factor * factor / static_cast<float>(width);
            float* dx = dX.mutable_data_ptr<float>() + row * width;
            for (int j = 0; j < S; ++j)
                for (int64_t i = 0; i < D; ++i)
                    dx[j * D + i] = map.pre[j].at[n] * g[i] + shrink * x[j * D + i];
        }
    }
    return {dX, dm, dbase, dscale};
}

// y [N, D], X [N, S, D], post [N, S], comb [N, S(source), S(destination)] -> [N, S, D]
Tensor write_streams(const Tensor& y, const Tensor& X, const Tensor& post, const Tensor& comb) {
    const int64_t N = X.size(0), D = X.size(2);
    Tensor out = at::empty_like(X);
    for (int64_t row = 0; row < N; ++row) {
        const float* x = X.const_data_ptr<float>() + row * S * D;
        const float* v = y.const_data_ptr<float>() + row * D;
        const float* p = post.const_data_ptr<float>() + row * S;
        const float* c = comb.const_data_ptr<float>() + row * S * S;
        float* o = out.mutable_data_ptr<float>() + row * S * D;
        for (int k = 0; k < S; ++k)
            for (int64_t i = 0; i < D; ++i) {
                float sum = p[k] * v[i];
                for (int j = 0; j < S; ++j) sum += c[j * S + k] * x[j * D + i];
                o[k * D + i] = sum;
            }
    }
    return out;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> write_streams_backward(const Tensor& dout, const Tensor& y, const Tensor& X,
                                                                  const Tensor& post, const Tensor& comb) {
    const int64_t N = X.size(0), D = X.size(2);
    const Tensor gout = dout.contiguous();
    Tensor dy = at::empty_like(y), dX = at::empty_like(X);
    Tensor dpost = at::empty_like(post), dcomb = at::empty_like(comb);
    for (int64_t row = 0; row < N; ++row) {
        const float* x = X.const_data_ptr<float>() + row * S * D;
        const float* v = y.const_data_ptr<float>() + row * D;
        const float* p = post.const_data_ptr<float>() + row * S;
        const float* c = comb.const_data_ptr<float>() + row * S * S;
        const float* g = gout.const_data_ptr<float>() + row * S * D;
        float* gv = dy.mutable_data_ptr<float>() + row * D;
        float* gx = dX.mutable_data_ptr<float>() + row * S * D;
        for (int64_t i = 0; i < D; ++i) {
            float sum = 0;
            for (int k = 0; k < S; ++k) sum += p[k] * g[k * D + i];
            gv[i] = sum;
        }
        for (int j = 0; j < S; ++j)
            for (int64_t i = 0; i < D; ++i) {
                float sum = 0;
                for (int k = 0; k < S; ++k) sum += c[j * S + k] * g[k * D + i];
                gx[j * D + i] = sum;
            }
        for (int k = 0; k < S; ++k) {
            dpost.mutable_data_ptr<float>()[row * S + k] = dot(v, g + k * D, D);
            for (int j = 0; j < S; ++j)
                dcomb.mutable_data_ptr<float>()[(row * S + j) * S + k] = dot(x + j * D, g + k * D, D);
        }
    }
    return {dy, dX, dpost, dcomb};
}

}  // namespace

TORCH_LIBRARY(pocket, m) {
    m.def("read_streams", &read_streams);
    m.def("read_streams_backward", &read_streams_backward);
    m.def("write_streams", &write_streams);
    m.def("write_streams_backward", &write_streams_backward);
}
