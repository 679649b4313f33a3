"""The forward pass of DeepSeek-V4 in plain numpy: the spec's sections 3 to 10, one function each.

This is an oracle, written from the specification alone and sharing nothing with the engine. Shapes:
T tokens, D hidden, H heads, d head_dim, S = hc_mult streams, E experts, R q_lora_rank, C blocks.

Two numerics (section 10):
  official  every bf16 rounding and FP8/FP4 activation quantisation of the official code. Values are
            float32 arrays; sums run in `accumulate` (float64 unless a test asks for float32) and are
            rounded once.
  exact     nothing is rounded or quantised after the weights are decoded: float64 throughout.

`Model.prefill` takes all tokens at once; `Session.step` takes one at a time with the state of 5.5.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import formats

FP8_ACT_BLOCK = 128  # activations of every FP8 and FP4 linear
KV_BLOCK = 64  # window and compressed rows, non-rope dims
INDEX_BLOCK = 32  # indexer queries and keys
ATTENTION_BLOCK = 64  # rows per step of the online softmax

Trace = dict[str, np.ndarray]


class Numerics:
    """Where values are rounded. `exact` turns every method into the identity."""

    def __init__(self, name: str, accumulate: type = np.float64):
        assert name in ("official", "exact"), name
        self.name = name
        self.official = name == "official"
        self.accumulate = accumulate
        self.dtype = np.float32 if self.official else accumulate

    def bf16(self, x: np.ndarray) -> np.ndarray:
        return formats.round_bf16(x) if self.official else x

    def fp8(self, x: np.ndarray, block: int) -> np.ndarray:
        return formats.fp8_roundtrip(x, block) if self.official else x

    def fp4(self, x: np.ndarray) -> np.ndarray:
        return formats.fp4_roundtrip(x, INDEX_BLOCK) if self.official else x

    def matmul(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        """x [..., in] . w [out, in]^T, accumulated wide and rounded to dtype once."""
        wide = x.astype(self.accumulate, copy=False) @ w.astype(self.accumulate, copy=False).T
        return wide.astype(self.dtype, copy=False)

    def linear(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        """A bf16 linear (wo_a, weights_proj): nothing quantised, bf16 out."""
        return self.bf16(self.matmul(x, w))

    def linear_q(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        """An FP8 or FP4 linear: input quantised per 128 along K, bf16 out (10.1, 10.2)."""
        return self.linear(self.fp8(x, FP8_ACT_BLOCK), w)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softplus(x: np.ndarray) -> np.ndarray:
    return np.where(x > 20, x, np.log1p(np.exp(np.minimum(x, 20))))


def router_score(logits: np.ndarray) -> np.ndarray:
    return np.sqrt(softplus(logits))


# ---------------------------------------------------------------- weights


@dataclass
class HyperConnection:
    fn: np.ndarray  # [S*(S+2), S*D]; hc_head: [S, S*D]
    base: np.ndarray
    scale: np.ndarray


@dataclass
class Compressor:
    ratio: int
    width: int  # c: head_dim, or index_head_dim
    wkv: np.ndarray  # [n*c, D], n = 2 for ratio 4
    wgate: np.ndarray
    ape: np.ndarray  # [ratio, n*c]
    norm: np.ndarray

    @property
    def overlap(self) -> bool:
        return self.ratio == 4


@dataclass
class Expert:
    w1: np.ndarray
    w2: np.ndarray
    w3: np.ndarray


@dataclass
class Layer:
    name: str  # "layers.N" or "mtp.0"
    ratio: int
    freq: np.ndarray  # [rd/2] fp32
    hc_attn: HyperConnection
    hc_ffn: HyperConnection
    vectors: dict[str, np.ndarray]  # norms, sinks
    linears: dict[str, np.ndarray]
    compressor: Compressor | None
    index_compressor: Compressor | None
    gate: np.ndarray
    gate_bias: np.ndarray | None  # None in hash layers
    tid2eid: np.ndarray | None
    experts: list[Expert]
    shared: Expert


def inverse_frequencies(config: dict, ratio: int) -> np.ndarray:
    """Section 4.3: plain for ratio 0, YaRN on the compressed base otherwise. fp32 [rd/2].

    base^(2i/rd) is rounded to fp32 once, then inverted in fp32: the bits that torch computes. One
    ulp of a frequency is one ulp of the angle, so it grows with the position (see docs/model.md).
    """
    rd = config["qk_rope_head_dim"]
    base = config["compress_rope_theta"] if ratio else config["rope_theta"]
    power = (np.float64(base) ** (np.arange(0, rd, 2) / rd)).astype(np.float32)
    freq = np.float32(1) / power
    yarn = config["rope_scaling"]
    if ratio == 0 or not yarn:
        return freq

    def correction(rotations: float) -> float:
        length = yarn["original_max_position_embeddings"]
        return rd * np.log(length / (rotations * 2 * np.pi)) / (2 * np.log(base))

    low = max(np.floor(correction(yarn["beta_fast"])), 0)
    high = min(np.ceil(correction(yarn["beta_slow"])), rd - 1)
    if low == high:
        high += 0.001
    ramp = np.clip((np.arange(rd // 2, dtype=np.float32) - np.float32(low))
                   / np.float32(high - low), 0, 1).astype(np.float32)
    return freq / np.float32(yarn["factor"]) * ramp + freq * (1 - ramp)


def rotate(x: np.ndarray, positions: np.ndarray, freq: np.ndarray, *, inverse: bool = False):
    """Interleaved RoPE on the last 2*len(freq) dims of x [T, ..., d]; not yet rounded.

    The angle is the fp32 product of float(t) and the fp32 frequency (4.3).
    """
    angle = (np.asarray(positions).astype(np.float32)[:, None] * freq).astype(np.float64)
    angle = angle.reshape(angle.shape[0], *([1] * (x.ndim - 2)), -1)
    cos, sin = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype)
    if inverse:
        sin = -sin
    rd = 2 * len(freq)
    even, odd = x[..., -rd::2], x[..., -rd + 1 :: 2]
    out = x.copy()
    out[..., -rd::2] = even * cos - odd * sin
    out[..., -rd + 1 :: 2] = even * sin + odd * cos
    return out


def hadamard(n: int) -> np.ndarray:
    """Sylvester order, scaled by n^-0.5."""
    index = np.arange(n)
    ones = np.array([bin(v).count("1") for v in range(n)])
    return np.where(ones[index[:, None] & index[None, :]] % 2, -1.0, 1.0) * n**-0.5


def sinkhorn(c: np.ndarray, iterations: int, eps: float) -> np.ndarray:
    """Section 3.3 on [..., S, S] (row = source stream, column = destination)."""
    c = np.exp(c - c.max(axis=-1, keepdims=True))
    c = c / c.sum(axis=-1, keepdims=True) + c.dtype.type(eps)
    c = c / (c.sum(axis=-2, keepdims=True) + c.dtype.type(eps))
    for _ in range(iterations - 1):
        c = c / (c.sum(axis=-1, keepdims=True) + c.dtype.type(eps))
        c = c / (c.sum(axis=-2, keepdims=True) + c.dtype.type(eps))
    return c


def hc_weights(mixes: np.ndarray, hc: HyperConnection, streams: int, iterations: int, eps: float):
    """mixes [T, S*(S+2)] -> pre [T, S], post [T, S], comb [T, S, S]."""
    n, real = streams, mixes.dtype.type
    scale, base = hc.scale.astype(real), hc.base.astype(real)
    pre = sigmoid(mixes[:, :n] * scale[0] + base[:n]) + real(eps)
    post = 2 * sigmoid(mixes[:, n : 2 * n] * scale[1] + base[n : 2 * n])
    c = (mixes[:, 2 * n :] * scale[2] + base[2 * n :]).reshape(-1, n, n)
    return pre, post, sinkhorn(c, iterations, eps)


def top_rows(scores: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k largest per row, ascending; ties go to the lowest index."""
    order = np.argsort(-scores, axis=-1, kind="stable")[..., :k]
    return np.sort(order, axis=-1)


def margin(scores: np.ndarray, k: int) -> np.ndarray:
    """Gap between the k-th and the (k+1)-th largest per row; inf if there are no more than k."""
    if scores.shape[-1] <= k:
        return np.full(scores.shape[:-1], np.inf)
    ordered = -np.sort(-scores, axis=-1)
    with np.errstate(invalid="ignore"):
        gap = ordered[..., k - 1] - ordered[..., k]
    return np.where(np.isfinite(gap), gap, np.inf)


# ---------------------------------------------------------------- the model


class Model:
    def __init__(self, folder: Path | str, numerics: Numerics | str):
        self.num = Numerics(numerics) if isinstance(numerics, str) else numerics
        self.checkpoint = formats.Checkpoint(folder)
        self.config = self.checkpoint.config
        c = self.config
        self.num_layers = c["num_hidden_layers"]
        self.streams = c["hc_mult"]
        self.hadamard = hadamard(c["index_head_dim"])
        self.embed = self.checkpoint.tensor("embed.weight")
        self.head = self.checkpoint.tensor("head.weight")
        self.norm = self.checkpoint.tensor("norm.weight")
        self.hc_head = self._hyper_connection("hc_head")
        self.layers = [self._layer(f"layers.{i}", i) for i in range(self.num_layers)]
        self.mtp = None
        if len(c["compress_ratios"]) > self.num_layers:
            self.mtp = self._layer("mtp.0", self.num_layers)
            for name in ("enorm", "hnorm", "norm"):
                self.mtp.vectors[name] = self.checkpoint.tensor(f"mtp.0.{name}.weight")
            for name in ("e_proj", "h_proj"):
                self.mtp.linears[name] = self.checkpoint.matrix(f"mtp.0.{name}")
            self.mtp_hc_head = self._hyper_connection("mtp.0.hc_head")

    def _hyper_connection(self, prefix: str) -> HyperConnection:
        return HyperConnection(*(self.checkpoint.tensor(f"{prefix}_{part}")
                                 for part in ("fn", "base", "scale")))

    def _compressor(self, prefix: str, ratio: int, width: int) -> Compressor:
        ck = self.checkpoint
        return Compressor(ratio, width, ck.tensor(prefix + ".wkv.weight"),
                          ck.tensor(prefix + ".wgate.weight"), ck.tensor(prefix + ".ape"),
                          ck.tensor(prefix + ".norm.weight"))

    def _expert(self, prefix: str) -> Expert:
        return Expert(*(self.checkpoint.matrix(f"{prefix}.{w}") for w in ("w1", "w2", "w3")))

    def _layer(self, name: str, index: int) -> Layer:
        ck, c = self.checkpoint, self.config
        ratio = c["compress_ratios"][index]
        vectors = {v: ck.tensor(f"{name}.{v}.weight")
                   for v in ("attn_norm", "ffn_norm", "attn.q_norm", "attn.kv_norm")}
        vectors["attn.attn_sink"] = ck.tensor(f"{name}.attn.attn_sink")
        linear_names = ["wq_a", "wq_b", "wkv", "wo_a", "wo_b"]
        linears = {w: ck.matrix(f"{name}.attn.{w}") for w in linear_names}
        compressor = index_compressor = None
        if ratio:
            compressor = self._compressor(f"{name}.attn.compressor", ratio, c["head_dim"])
        if ratio == 4:
            index_compressor = self._compressor(f"{name}.attn.indexer.compressor", ratio,
                                                c["index_head_dim"])
            for w in ("wq_b", "weights_proj"):
                linears["indexer." + w] = ck.matrix(f"{name}.attn.indexer.{w}")
        hashed = index < c["num_hash_layers"]
        return Layer(
            name=name, ratio=ratio, freq=inverse_frequencies(c, ratio),
            hc_attn=self._hyper_connection(f"{name}.hc_attn"),
            hc_ffn=self._hyper_connection(f"{name}.hc_ffn"),
            vectors=vectors, linears=linears,
            compressor=compressor, index_compressor=index_compressor,
            gate=ck.tensor(f"{name}.ffn.gate.weight"),
            gate_bias=None if hashed else ck.tensor(f"{name}.ffn.gate.bias"),
            tid2eid=ck.tensor(f"{name}.ffn.gate.tid2eid") if hashed else None,
            experts=[self._expert(f"{name}.ffn.experts.{e}")
                     for e in range(c["n_routed_experts"])],
            shared=self._expert(f"{name}.ffn.shared_experts"))

    # ------------------------------------------------------------ 3: skeleton

    def rms_norm(self, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        x = x.astype(self.num.dtype, copy=False)
        eps = x.dtype.type(self.config["rms_norm_eps"])
        rstd = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
        return self.num.bf16(weight.astype(x.dtype) * (x * rstd))

    def _mixes(self, X: np.ndarray, hc: HyperConnection) -> np.ndarray:
        v = X.reshape(X.shape[0], -1)  # stream-major
        rstd = 1 / np.sqrt((v * v).mean(axis=-1, keepdims=True)
                           + v.dtype.type(self.config["rms_norm_eps"]))
        return self.num.matmul(v, hc.fn) * rstd

    def hc_pre(self, X: np.ndarray, hc: HyperConnection):
        pre, post, comb = hc_weights(self._mixes(X, hc), hc, self.streams,
                                     self.config["hc_sinkhorn_iters"], self.config["hc_eps"])
        return self.num.bf16(np.einsum("tj,tjd->td", pre, X)), post, comb

    def hc_post(self, y: np.ndarray, X: np.ndarray, post: np.ndarray, comb: np.ndarray):
        # comb[j][k]: j is the source stream, k the destination.
        return self.num.bf16(post[:, :, None] * y[:, None, :]
                             + np.einsum("tjk,tjd->tkd", comb, X))

    def hc_collapse(self, X: np.ndarray, hc: HyperConnection) -> np.ndarray:
        mixes = self._mixes(X, hc)
        scale, base = hc.scale.astype(mixes.dtype), hc.base.astype(mixes.dtype)
        w = sigmoid(mixes * scale[0] + base) + mixes.dtype.type(self.config["hc_eps"])
        return self.num.bf16(np.einsum("tj,tjd->td", w, X))

    def logits(self, X: np.ndarray, hc: HyperConnection, norm: np.ndarray) -> np.ndarray:
        return self.num.matmul(self.rms_norm(self.hc_collapse(X, hc), norm), self.head)

    def embed_tokens(self, tokens: np.ndarray) -> np.ndarray:
        row = self.embed[tokens].astype(self.num.dtype)
        return np.repeat(row[:, None, :], self.streams, axis=1)

    def attention_half(self, layer: Layer, X: np.ndarray, attend) -> np.ndarray:
        """X after the attention sub-block; `attend` maps the normed input [T, D] to [T, D]."""
        u, post, comb = self.hc_pre(X, layer.hc_attn)
        return self.hc_post(attend(self.rms_norm(u, layer.vectors["attn_norm"])), X, post, comb)

    def ffn_half(self, layer: Layer, X: np.ndarray, tokens: np.ndarray, trace: Trace):
        u, post, comb = self.hc_pre(X, layer.hc_ffn)
        y = self.moe(layer, self.rms_norm(u, layer.vectors["ffn_norm"]), tokens, trace)
        return self.hc_post(y, X, post, comb)

    def block(self, layer: Layer, X: np.ndarray, tokens, attend, trace: Trace) -> np.ndarray:
        X = self.attention_half(layer, X, attend)
        trace[f"{layer.name}.attn_out_streams"] = X
        X = self.ffn_half(layer, X, tokens, trace)
        trace[f"{layer.name}.ffn_out_streams"] = X
        return X

    def prefill(self, tokens, trace: Trace | None = None) -> np.ndarray:
        """Logits [T, V] of all positions."""
        trace = {} if trace is None else trace
        tokens = np.asarray(tokens)
        X = self.embed_tokens(tokens)
        for layer in self.layers:
            X = self.block(layer, X, tokens,
                           lambda x, layer=layer: self.attention(layer, x, trace), trace)
        trace["final.logits"] = self.logits(X, self.hc_head, self.norm)
        return trace["final.logits"]

    # ------------------------------------------------------------ 9: MTP

    def mtp_input(self, X_main: np.ndarray, next_tokens: np.ndarray) -> np.ndarray:
        e = self.rms_norm(self.embed[next_tokens], self.mtp.vectors["enorm"])
        h = self.rms_norm(X_main, self.mtp.vectors["hnorm"])  # per stream
        e = self.num.linear_q(e, self.mtp.linears["e_proj"])
        return self.num.bf16(e[:, None, :] + self.num.linear_q(h, self.mtp.linears["h_proj"]))

    def mtp_prefill(self, X_main: np.ndarray, next_tokens, trace: Trace | None = None):
        """X_main: [T, S, D] after the last main layer; next_tokens[t] is the token at t + 1."""
        trace = {} if trace is None else trace
        next_tokens = np.asarray(next_tokens)
        X = self.mtp_input(X_main, next_tokens)
        X = self.block(self.mtp, X, next_tokens,
                       lambda x: self.attention(self.mtp, x, trace), trace)
        trace["mtp.0.logits"] = self.logits(X, self.mtp_hc_head, self.mtp.vectors["norm"])
        return trace["mtp.0.logits"]

    # ------------------------------------------------------------ 4: attention

    def rope(self, x: np.ndarray, positions, freq: np.ndarray, *, inverse: bool = False):
        return self.num.bf16(rotate(x, positions, freq, inverse=inverse))

    def head_norm(self, q: np.ndarray) -> np.ndarray:
        """Per-head q norm without weight: four bf16 roundings in the official code (4.1)."""
        bf16, eps = self.num.bf16, q.dtype.type(1e-6)
        mean = bf16(bf16(q * q).mean(axis=-1, keepdims=True, dtype=self.num.accumulate)
                    .astype(q.dtype))
        return bf16(q * bf16(1 / np.sqrt(mean + eps)))

    def queries(self, layer: Layer, x: np.ndarray, positions):
        """qr [T, R] and rotated q [T, H, d]."""
        qr = self.rms_norm(self.num.linear_q(x, layer.linears["wq_a"]),
                           layer.vectors["attn.q_norm"])
        q = self.num.linear_q(qr, layer.linears["wq_b"])
        q = self.head_norm(q.reshape(len(x), -1, self.config["head_dim"]))
        return qr, self.rope(q, positions, layer.freq)

    def quantise_kv(self, row: np.ndarray) -> np.ndarray:
        nope = self.config["head_dim"] - self.config["qk_rope_head_dim"]
        return np.concatenate([self.num.fp8(row[:, :nope], KV_BLOCK), row[:, nope:]], axis=1)

    def window_rows(self, layer: Layer, x: np.ndarray, positions) -> np.ndarray:
        kv = self.rms_norm(self.num.linear_q(x, layer.linears["wkv"]),
                           layer.vectors["attn.kv_norm"])
        return self.quantise_kv(self.rope(kv, positions, layer.freq))

    def attention(self, layer: Layer, x: np.ndarray, trace: Trace) -> np.ndarray:
        """One-shot over positions 0..T-1."""
        T, W = len(x), self.config["sliding_window"]
        positions = np.arange(T)
        qr, q = self.queries(layer, x, positions)
        kv = self.window_rows(layer, x, positions)
        trace[f"{layer.name}.attn.q"], trace[f"{layer.name}.attn.kv_row"] = q, kv

        oldest = np.maximum(positions - W + 1, 0)
        window = oldest[:, None] + np.arange(W)
        rows = [np.where(window <= positions[:, None], window, -1)]
        table = [kv]
        if layer.ratio:
            compressed = self.quantise_kv(self.compress_all(layer.compressor, x, layer.freq))
            selected = self.visible_rows(layer, x, qr, len(compressed), trace)
            rows.append(np.where(selected >= 0, selected + T, -1))
            table.append(compressed)
            trace[f"{layer.name}.attn.compressed"] = compressed
        o = self.attend(q, np.concatenate(table), np.concatenate(rows, axis=1),
                        layer.vectors["attn.attn_sink"])
        return self.project_output(layer, o, positions)

    def visible_rows(self, layer: Layer, x, qr, num_blocks: int, trace: Trace) -> np.ndarray:
        """Compressed block indices per query, ascending, -1 where there are fewer (4.4)."""
        positions = np.arange(len(x))
        visible = (positions + 1) // layer.ratio
        if layer.ratio != 4:
            blocks = np.arange(num_blocks)
            return np.where(blocks < visible[:, None], blocks, -1)
        keys = self.transform_index(self.compress_all(layer.index_compressor, x, layer.freq))
        queries, weights = self.index_queries(layer, x, qr, positions)
        selected, gap = self.select_blocks(self.index_scores(queries, weights, keys), visible)
        trace[f"{layer.name}.attn.topk"] = selected
        trace[f"{layer.name}.attn.topk_margin"] = gap
        return selected

    def attend(self, q: np.ndarray, table: np.ndarray, rows: np.ndarray, sink: np.ndarray):
        """Section 4.5. q [T, H, d], table [N, d], rows [T, n] of row numbers or -1 -> [T, H, d].

        Rows keep their order with the empty slots moved behind them, so that the blocks of the
        online softmax depend on the rows alone.
        """
        rows = np.take_along_axis(rows, np.argsort(rows < 0, axis=1, kind="stable"), axis=1)
        core = self._attend_online if self.num.official else self._attend_plain
        out = [core(q[t : t + 256], table[rows[t : t + 256]], rows[t : t + 256] >= 0, sink)
               for t in range(0, len(q), 256)]
        return self.num.bf16(np.concatenate(out))

    def _scores(self, q: np.ndarray, k: np.ndarray, valid: np.ndarray) -> np.ndarray:
        wide = q.astype(self.num.accumulate) @ k.astype(self.num.accumulate).transpose(0, 2, 1)
        s = wide.astype(self.num.dtype) * self.num.dtype(self.config["head_dim"] ** -0.5)
        return np.where(valid[:, None, :], s, -np.inf)

    def _attend_plain(self, q, k, valid, sink):
        s = self._scores(q, k, valid)
        m = s.max(axis=-1, keepdims=True)
        p = np.exp(s - m)
        denominator = p.sum(axis=-1, keepdims=True) + np.exp(sink.astype(s.dtype)[:, None] - m)
        return (p @ k) / denominator

    def _attend_online(self, q, k, valid, sink):
        """Blocks of 64 rows; probabilities are bf16 for P.V, the denominator sums fp32."""
        s = self._scores(q, k, valid)
        m = np.full(s.shape[:2] + (1,), -np.inf, np.float32)
        denominator, acc = np.zeros_like(m), np.zeros(q.shape, np.float32)
        for begin in range(0, s.shape[-1], ATTENTION_BLOCK):
            block = slice(begin, begin + ATTENTION_BLOCK)
            m_new = np.maximum(m, s[..., block].max(axis=-1, keepdims=True))
            rescale = np.exp(m - m_new)
            p = np.exp(s[..., block] - m_new)
            denominator = denominator * rescale + p.sum(axis=-1, keepdims=True)
            pv = self.num.bf16(p).astype(self.num.accumulate) @ k[:, block]
            acc = acc * rescale + pv.astype(np.float32)
            m = m_new
        with np.errstate(over="ignore"):
            return acc / (denominator + np.exp(sink[:, None] - m))

    def project_output(self, layer: Layer, o: np.ndarray, positions) -> np.ndarray:
        """Section 4.6: inverse rotation, block-diagonal wo_a, wo_b."""
        G, rank = self.config["o_groups"], self.config["o_lora_rank"]
        o = self.rope(o, positions, layer.freq, inverse=True).reshape(len(o), G, -1)
        wo_a = layer.linears["wo_a"].reshape(G, rank, -1)
        z = [self.num.linear(o[:, g], wo_a[g]) for g in range(G)]
        return self.num.linear_q(np.concatenate(z, axis=1), layer.linears["wo_b"])

    # ------------------------------------------------------------ 5: compressor

    def compressor_inputs(self, comp: Compressor, x: np.ndarray, positions):
        """a and biased gate g, [T, n*c]."""
        a = self.num.matmul(x, comp.wkv)
        return a, self.num.matmul(x, comp.wgate) + comp.ape[positions % comp.ratio].astype(a.dtype)

    def pool(self, values: np.ndarray, gates: np.ndarray) -> np.ndarray:
        """Per-channel softmax over axis 1. [B, items, c] -> [B, c]."""
        p = np.exp(gates - gates.max(axis=1, keepdims=True))
        return (p * values).sum(axis=1) / p.sum(axis=1)

    def finish_rows(self, comp: Compressor, pooled: np.ndarray, blocks, freq) -> np.ndarray:
        """bf16, norm and rope at the block's first token (5.4); quantisation is the caller's."""
        row = self.rms_norm(self.num.bf16(pooled), comp.norm)
        return self.rope(row, np.asarray(blocks) * comp.ratio, freq)

    def _pool_all(self, comp: Compressor, x: np.ndarray, num_blocks: int) -> np.ndarray:
        x = x[: num_blocks * comp.ratio]
        a, g = self.compressor_inputs(comp, x, np.arange(len(x)))
        a = a.reshape(num_blocks, comp.ratio, -1)
        g = g.reshape(num_blocks, comp.ratio, -1)
        if comp.overlap:  # lower half: the previous block's tokens; upper half: this block's
            c = comp.width
            no_value, no_gate = np.zeros_like(a[:1, :, :c]), np.full_like(g[:1, :, :c], -np.inf)
            a = np.concatenate([np.concatenate([no_value, a[:-1, :, :c]]), a[..., c:]], axis=1)
            g = np.concatenate([np.concatenate([no_gate, g[:-1, :, :c]]), g[..., c:]], axis=1)
        return self.pool(a, g)

    def compress_all(self, comp: Compressor, x: np.ndarray, freq: np.ndarray) -> np.ndarray:
        """Rows [floor(T/ratio), c] after norm and rope, before quantisation."""
        num_blocks = len(x) // comp.ratio
        if num_blocks == 0:
            return np.zeros((0, comp.width), self.num.dtype)
        pooled = self._pool_all(comp, x, num_blocks)
        return self.finish_rows(comp, pooled, np.arange(num_blocks), freq)

    # ------------------------------------------------------------ 6: indexer

    def transform_index(self, x: np.ndarray) -> np.ndarray:
        """Hadamard, bf16, FP4 round trip: the same for queries and keys."""
        rotated = (x.astype(np.float64) @ self.hadamard).astype(self.num.dtype)
        return self.num.fp4(self.num.bf16(rotated))

    def index_queries(self, layer: Layer, x, qr, positions):
        heads, width = self.config["index_n_heads"], self.config["index_head_dim"]
        q = self.num.linear_q(qr, layer.linears["indexer.wq_b"]).reshape(len(x), heads, width)
        q = self.transform_index(self.rope(q, positions, layer.freq))
        w = self.num.linear(x, layer.linears["indexer.weights_proj"])
        return q, self.num.bf16(w * w.dtype.type(width**-0.5 * heads**-0.5))

    def index_scores(self, q: np.ndarray, w: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """[T, C]; bf16 after the dot, after the weight and after the sum over heads."""
        total = np.zeros((len(q), len(keys)), self.num.dtype)
        for h in range(q.shape[1]):
            dot = np.maximum(self.num.bf16(self.num.matmul(q[:, h], keys)), 0)
            total = total + self.num.bf16(dot * w[:, h : h + 1])
        return self.num.bf16(total)

    def select_blocks(self, scores: np.ndarray, visible: np.ndarray):
        """Top index_topk visible blocks, ascending, padded with -1; and the gap to the next."""
        k = min(self.config["index_topk"], scores.shape[1])
        scores = np.where(np.arange(scores.shape[1]) < visible[:, None], scores, -np.inf)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        taken = np.where(np.arange(k) < visible[:, None], order, scores.shape[1])
        taken = np.sort(taken, axis=1)
        return np.where(taken < scores.shape[1], taken, -1), margin(scores, k)

    # ------------------------------------------------------------ 8: MoE

    def expert(self, w: Expert, x: np.ndarray, route_weight: np.ndarray | None) -> np.ndarray:
        limit = x.dtype.type(self.config["swiglu_limit"])
        g = np.minimum(self.num.linear_q(x, w.w1), limit)
        u = np.clip(self.num.linear_q(x, w.w3), -limit, limit)
        h = g * sigmoid(g) * u
        if route_weight is not None:
            h = route_weight[:, None] * h
        return self.num.linear_q(self.num.bf16(h), w.w2)

    def route(self, layer: Layer, x: np.ndarray, tokens, trace: Trace):
        """Expert ids [T, k] and weights [T, k]."""
        scores = router_score(self.num.matmul(x, layer.gate))
        if layer.tid2eid is not None:
            ids = layer.tid2eid[tokens]
            gap = np.full(len(x), np.inf)
        else:
            k = self.config["num_experts_per_tok"]
            biased = scores + layer.gate_bias.astype(scores.dtype)
            ids, gap = top_rows(biased, k), margin(biased, k)
        chosen = np.take_along_axis(scores, ids, axis=1)
        weights = chosen / chosen.sum(axis=1, keepdims=True)
        trace[f"{layer.name}.ffn.topk_ids"] = np.sort(ids, axis=1)
        trace[f"{layer.name}.ffn.topk_margin"] = gap
        return ids, weights * weights.dtype.type(self.config["routed_scaling_factor"])

    def moe(self, layer: Layer, x: np.ndarray, tokens, trace: Trace) -> np.ndarray:
        ids, weights = self.route(layer, x, tokens, trace)
        total = np.zeros_like(x)
        for e, expert in enumerate(layer.experts):  # ascending id: the order of the fp32 sum
            token, slot = np.nonzero(ids == e)
            if len(token):
                total[token] += self.expert(expert, x[token], weights[token, slot])
        return self.num.bf16(total + self.expert(layer.shared, x, None))


# ---------------------------------------------------------------- one token at a time


@dataclass
class CompressorState:
    """Section 5.5, literally: [n*ratio, n*c] values and biased gates."""

    values: np.ndarray
    gates: np.ndarray

    @staticmethod
    def empty(comp: Compressor, dtype) -> "CompressorState":
        n = 2 if comp.overlap else 1
        shape = (n * comp.ratio, n * comp.width)
        return CompressorState(np.zeros(shape, dtype), np.full(shape, -np.inf, dtype))

    def push(self, model: Model, comp: Compressor, x: np.ndarray, t: int) -> np.ndarray | None:
        """Takes token t; the pooled row [1, c] when it completes a block."""
        a, g = model.compressor_inputs(comp, x, np.array([t]))
        slot = t % comp.ratio + (comp.ratio if comp.overlap else 0)
        self.values[slot], self.gates[slot] = a[0], g[0]
        if (t + 1) % comp.ratio:
            return None
        if not comp.overlap:
            return model.pool(self.values[None], self.gates[None])
        c, r = comp.width, comp.ratio
        values = np.concatenate([self.values[:r, :c], self.values[r:, c:]])
        gates = np.concatenate([self.gates[:r, :c], self.gates[r:, c:]])
        self.values[:r], self.gates[:r] = self.values[r:], self.gates[r:]
        return model.pool(values[None], gates[None])


@dataclass
class LayerState:
    ring: np.ndarray  # [W, d], slot t mod W
    compressor: CompressorState | None = None
    index_compressor: CompressorState | None = None
    compressed: list[np.ndarray] = field(default_factory=list)
    index_keys: list[np.ndarray] = field(default_factory=list)


class Session:
    """Decodes one token per step."""

    def __init__(self, model: Model):
        self.model, self.t = model, 0
        self.states = [self._state(layer) for layer in model.layers]

    def _state(self, layer: Layer) -> LayerState:
        c, dtype = self.model.config, self.model.num.dtype
        state = LayerState(np.zeros((c["sliding_window"], c["head_dim"]), dtype))
        if layer.compressor:
            state.compressor = CompressorState.empty(layer.compressor, dtype)
        if layer.index_compressor:
            state.index_compressor = CompressorState.empty(layer.index_compressor, dtype)
        return state

    def step(self, token: int, trace: Trace | None = None) -> np.ndarray:
        """Logits [1, V] after this token."""
        trace = {} if trace is None else trace
        m, tokens = self.model, np.array([token])
        X = m.embed_tokens(tokens)
        for layer, state in zip(m.layers, self.states):
            X = m.block(layer, X, tokens,
                        lambda x, layer=layer, state=state: self._attention(layer, state, x), trace)
        self.t += 1
        return m.logits(X, m.hc_head, m.norm)

    def _attention(self, layer: Layer, state: LayerState, x: np.ndarray) -> np.ndarray:
        m, t, W = self.model, self.t, len(state.ring)
        position = np.array([t])
        qr, q = m.queries(layer, x, position)
        state.ring[t % W] = m.window_rows(layer, x, position)[0]
        window = np.arange(max(0, t - W + 1), t + 1) % W  # oldest first
        table = [state.ring[window]]
        if layer.ratio:
            self._compress(layer, state, x)
            chosen = self._visible(layer, state, x, qr)
            table.extend(state.compressed[b] for b in chosen)
        table = np.concatenate(table)
        o = m.attend(q, table, np.arange(len(table))[None], layer.vectors["attn.attn_sink"])
        return m.project_output(layer, o, position)

    def _compress(self, layer: Layer, state: LayerState, x: np.ndarray) -> None:
        m, block = self.model, [self.t // layer.ratio]
        pooled = state.compressor.push(m, layer.compressor, x, self.t)
        if pooled is not None:
            row = m.finish_rows(layer.compressor, pooled, block, layer.freq)
            state.compressed.append(m.quantise_kv(row))
        if layer.index_compressor:
            pooled = state.index_compressor.push(m, layer.index_compressor, x, self.t)
            if pooled is not None:
                row = m.finish_rows(layer.index_compressor, pooled, block, layer.freq)
                state.index_keys.append(m.transform_index(row))

    def _visible(self, layer: Layer, state: LayerState, x, qr) -> np.ndarray:
        m, count = self.model, len(state.compressed)
        if layer.ratio != 4 or count <= m.config["index_topk"]:
            return np.arange(count)
        queries, weights = m.index_queries(layer, x, qr, np.array([self.t]))
        scores = m.index_scores(queries, weights, np.concatenate(state.index_keys))
        return m.select_blocks(scores, np.array([count]))[0][0]
