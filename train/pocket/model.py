"""DeepSeek-V4 in PyTorch, for training: spec sections 3 to 9, one class each.

Parameters carry the checkpoint's names; the experts of a layer are stacked in one tensor. Shapes: B
sequences, T tokens (a multiple of 128), D hidden, S = hc_mult streams, H heads, d head_dim, R
q_lora_rank, C compressed entries, P probes (positions that see the entries of the whole batch).

`Numerics` says which quantisation points are simulated; without it everything is plain fp32.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import quant
from .config import Config

WINDOW = 128
WINDOW_BLOCK = 64  # queries that share their keys: their own block and the two before


@dataclass(frozen=True)
class Numerics:
    """Quantisation points of spec 10.1 that the forward pass simulates."""

    weights: bool = False  # FP4 experts, FP8 linears
    activations: bool = False  # FP8 inputs of those linears
    kv: bool = False  # FP8 rows, FP4 index queries and keys


@dataclass
class Selection:
    """How a CSA layer chooses entries and what its indexer is taught."""

    topk: int | None = None  # None: attend to every visible entry
    teach: bool = True  # collect the indexer's losses
    random: bool = False  # ablation: a random choice of as many entries


@dataclass
class Probes:
    """Positions of a batch whose CSA queries see the entries of all its sequences.

    The entries of other sequences are distractors that nobody in the sequence wrote; `fact` is the
    position of the token to be recalled, or -1.
    """

    sequence: Tensor  # [P] int64
    position: Tensor  # [P] int64
    fact: Tensor  # [P] int64


@dataclass
class Losses:
    """What layers add to the loss, by name; each entry is a list of scalars."""

    terms: dict[str, list[Tensor]] = field(default_factory=dict)

    def add(self, name: str, value: Tensor) -> None:
        self.terms.setdefault(name, []).append(value)

    def mean(self, name: str) -> Tensor | float:
        values = self.terms.get(name)
        return torch.stack(values).mean() if values else 0.0


def rms_norm_rows(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """Of every row of x [rows, width]."""
    y = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    return y if weight is None else y * weight


def rms_norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    return rms_norm_rows(x.reshape(-1, x.shape[-1]), weight, eps).view(x.shape)


def rotate_rows(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates interleaved pairs of the last rd dims of x [rows, heads, d]; cos, sin [rows, rd/2]."""
    half = cos.shape[-1]
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    keep, turn = x[..., : -2 * half], x[..., -2 * half :].unflatten(-1, (half, 2))
    even, odd = turn[..., 0], turn[..., 1]
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1)
    return torch.cat((keep, turned.flatten(-2)), -1)


def pool_blocks(a: Tensor, g: Tensor) -> Tensor:
    """Softmax of the gates over a block's items, per channel. [blocks, items, width] -> [blocks, width]."""
    return (torch.softmax(g, dim=1) * a).sum(1)


def inverse_frequencies(config: Config, ratio: int) -> Tensor:
    """Spec 4.3: plain for ratio 0, YaRN on the compressed base otherwise. fp32 [rd/2]."""
    rd = config.qk_rope_head_dim
    base = config.compress_rope_theta if ratio else config.rope_theta
    exponent = torch.arange(0, rd, 2, dtype=torch.float64) / rd
    freq = 1.0 / (base**exponent).float()
    if not ratio:
        return freq
    yarn = config.rope_scaling

    def correction(rotations: float) -> float:
        length = yarn["original_max_position_embeddings"]
        ratio_of_turns = torch.tensor(length / (rotations * 2 * torch.pi), dtype=torch.float64)
        return float(rd * ratio_of_turns.log() / (2 * torch.tensor(float(base)).double().log()))

    low = max(float(torch.tensor(correction(yarn["beta_fast"])).floor()), 0.0)
    high = min(float(torch.tensor(correction(yarn["beta_slow"])).ceil()), rd - 1.0)
    if low == high:
        high += 0.001
    ramp = ((torch.arange(rd // 2).float() - low) / (high - low)).clamp(0, 1)
    return freq / yarn["factor"] * ramp + freq * (1 - ramp)


@dataclass
class Rotation:
    """cos and sin of every position, [B, T, rd/2]; spec 4.3."""

    cos: Tensor
    sin: Tensor

    @staticmethod
    def of(positions: Tensor, freq: Tensor) -> Rotation:
        angle = positions.float()[..., None] * freq
        return Rotation(angle.cos(), angle.sin())

    def every(self, ratio: int) -> Rotation:
        """Of the first token of each block."""
        return Rotation(self.cos[:, ::ratio], self.sin[:, ::ratio])

    def at(self, sequence: Tensor, position: Tensor) -> Rotation:
        return Rotation(self.cos[sequence, position], self.sin[sequence, position])

    def inverse(self) -> Rotation:
        return Rotation(self.cos, -self.sin)

    def apply(self, x: Tensor) -> Tensor:
        """Rotates the last rd dims of x [B, T, (heads,) d]."""
        half = self.cos.shape[-1]
        rows = x.reshape(self.cos.numel() // half, -1, x.shape[-1])
        return rotate_rows(rows, self.cos.reshape(-1, half), self.sin.reshape(-1, half)).view(x.shape)


class Linear(nn.Module):
    """A bias-free linear; FP8 in the checkpoint if `fp8`, else BF16 (fp32 arithmetic here)."""

    def __init__(self, in_dim: int, out_dim: int, *, fp8: bool, gain: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_dim, in_dim) * (gain * in_dim**-0.5))
        self.fp8 = fp8

    def quantised_weight(self, numerics: Numerics) -> Tensor:
        if not numerics.weights:
            return self.weight
        return quant.fp8_weight(self.weight) if self.fp8 else quant.bf16(self.weight)

    def forward(self, x: Tensor, numerics: Numerics) -> Tensor:
        if self.fp8 and numerics.activations:
            x = quant.fp8_blocks(x, 128)
        return F.linear(x, self.quantised_weight(numerics))


class Norm(nn.Module):
    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


# ---------------------------------------------------------------- 3: hyper-connections


def sinkhorn(c: Tensor, iterations: int, eps: float) -> Tensor:
    """Spec 3.3 on [S, S, N]: axis 0 = source stream (row), axis 1 = destination (column)."""
    c = torch.softmax(c, dim=1) + eps
    c = c / (c.sum(0, keepdim=True) + eps)
    for _ in range(iterations - 1):
        c = c / (c.sum(1, keepdim=True) + eps)
        c = c / (c.sum(0, keepdim=True) + eps)
    return c


def unit_streams(X: Tensor, eps: float) -> Tensor:
    """rsqrt of the mean square over all S*D values, [N, 1]."""
    return torch.rsqrt(X.flatten(-2).square().mean(-1, keepdim=True) + eps)


def read_streams(X: Tensor, m: Tensor, base: Tensor, scale: Tensor, iterations: int, norm_eps: float, eps: float):
    """Spec 3.2 and 3.3 of X [N, S, D] and its unscaled maps m [N, S*(S+2)]: see HyperConnection.forward."""
    S = X.shape[1]
    m = m * unit_streams(X, norm_eps)
    pre = torch.sigmoid(m[:, :S] * scale[0] + base[:S]) + eps
    post = 2 * torch.sigmoid(m[:, S : 2 * S] * scale[1] + base[S : 2 * S])
    mix = (m[:, 2 * S :] * scale[2] + base[2 * S :]).t().reshape(S, S, -1)
    comb = sinkhorn(mix, iterations, eps).permute(2, 0, 1)
    return torch.bmm(pre[:, None], X)[:, 0], post, comb


def write_streams(y: Tensor, X: Tensor, post: Tensor, comb: Tensor) -> Tensor:
    """Spec 3.4: comb is applied transposed (source axis summed)."""
    mixed = comb[:, 0, :, None] * X[:, 0, None]
    for j in range(1, X.shape[1]):
        mixed = mixed + comb[:, j, :, None] * X[:, j, None]
    return mixed + post[:, :, None] * y[:, None]


class HyperConnection(nn.Module):
    """The three mappings around one sub-layer. `reads` is the stream that it starts by reading."""

    def __init__(self, config: Config, reads: int):
        super().__init__()
        S, D = config.hc_mult, config.hidden_size
        self.config = config
        self.fn = nn.Parameter(torch.randn(S * (S + 2), S * D) * 0.02)
        base = torch.zeros(S * (S + 2))
        base[:S] = -2.0
        base[reads % S] = 1.0
        base[2 * S :] = 4.0 * torch.eye(S).flatten()
        self.base = nn.Parameter(base)
        self.scale = nn.Parameter(torch.full((3,), 0.1))

    def forward(self, X: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """X [N, S, D] -> u [N, D], post [N, S], comb [N, S(source), S(destination)]."""
        c = self.config
        m = F.linear(X.flatten(-2), self.fn)
        return read_streams(X, m, self.base, self.scale, c.hc_sinkhorn_iters, c.rms_norm_eps, c.hc_eps)


class HyperHead(nn.Module):
    """The final collapse of the streams (3.5)."""

    def __init__(self, config: Config):
        super().__init__()
        S, D = config.hc_mult, config.hidden_size
        self.config = config
        self.fn = nn.Parameter(torch.randn(S, S * D) * 0.02)
        self.base = nn.Parameter(torch.full((S,), -1.1))
        self.scale = nn.Parameter(torch.full((1,), 0.1))

    def forward(self, X: Tensor) -> Tensor:
        c = self.config
        m = F.linear(X.flatten(-2), self.fn) * unit_streams(X, c.rms_norm_eps)
        w = torch.sigmoid(m * self.scale + self.base) + c.hc_eps
        return torch.bmm(w[:, None], X)[:, 0]


# ---------------------------------------------------------------- 5: compressor


class Compressor(nn.Module):
    def __init__(self, config: Config, ratio: int, width: int):
        super().__init__()
        self.ratio, self.width = ratio, width
        lanes = 2 if ratio == 4 else 1
        self.wkv = Linear(config.hidden_size, lanes * width, fp8=False)
        self.wgate = Linear(config.hidden_size, lanes * width, fp8=False, gain=0.5)
        self.ape = nn.Parameter(torch.zeros(ratio, lanes * width))
        self.norm = Norm(width, config.rms_norm_eps)

    def forward(self, x: Tensor, rotation: Rotation, numerics: Numerics) -> Tensor:
        """x [B, T, D] -> rows [B, T/ratio, width], normed and rotated, not yet quantised."""
        a = self.wkv(x, numerics).unflatten(1, (-1, self.ratio))  # [B, C, ratio, lanes*width]
        g = self.wgate(x, numerics).unflatten(1, (-1, self.ratio)) + self.ape
        if self.ratio == 4:
            a, g = self._overlapped(a, 0.0), self._overlapped(g, -1e9)
        pooled = pool_blocks(a.flatten(0, 1), g.flatten(0, 1)).view(*a.shape[:2], -1)
        return rotation.every(self.ratio).apply(self.norm(pooled))

    def _overlapped(self, x: Tensor, missing: float) -> Tensor:
        """Lower half: the previous block's tokens; upper half: this block's. [B, C, 8, width]."""
        lower, upper = x[..., : self.width], x[..., self.width :]
        first = torch.full_like(lower[:, :1], missing)
        return torch.cat((torch.cat((first, lower[:, :-1]), 1), upper), 2)


# ---------------------------------------------------------------- 6: indexer


def hadamard_matrix(n: int) -> Tensor:
    h = torch.ones(1, 1)
    while h.shape[0] < n:
        h = torch.cat((torch.cat((h, h), 1), torch.cat((h, -h), 1)), 0)
    return h * n**-0.5


class Indexer(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.heads, self.width = config.index_n_heads, config.index_head_dim
        self.wq_b = Linear(config.q_lora_rank, self.heads * self.width, fp8=True)
        self.weights_proj = Linear(config.hidden_size, self.heads, fp8=False)
        self.compressor = Compressor(config, 4, self.width)
        self.register_buffer("hadamard", hadamard_matrix(self.width), persistent=False)

    def _stored(self, x: Tensor, numerics: Numerics) -> Tensor:
        # Orthogonal on both sides: without rounding the rotation cancels and is left out.
        return quant.fp4_blocks(x @ self.hadamard) if numerics.kv else x

    def keys(self, x: Tensor, rotation: Rotation, numerics: Numerics) -> Tensor:
        return self._stored(self.compressor(x, rotation, numerics), numerics)

    def queries(self, x: Tensor, qr: Tensor, rotation: Rotation, numerics: Numerics):
        """[..., heads, width] and head weights [..., heads]."""
        q = self.wq_b(qr, numerics).unflatten(-1, (self.heads, self.width))
        q = self._stored(rotation.apply(q), numerics)
        weight = self.weights_proj(x, numerics) * (self.width * self.heads) ** -0.5
        return q, weight

    @staticmethod
    def scores(q: Tensor, weight: Tensor, keys: Tensor) -> Tensor:
        """q [B, Q, h, w], keys [B, C, w] -> [B, Q, C]."""
        dots = torch.relu(torch.einsum("bqhw,bcw->bqhc", q, keys))
        return torch.einsum("bqhc,bqh->bqc", dots, weight)


def top_entries(scores: Tensor, k: int) -> Tensor:
    """Boolean mask of the k largest per row, of equal ones the first; -inf (invisible) never counts."""
    visible = scores > -torch.inf
    if scores.shape[-1] <= k:
        return visible
    kth = scores.topk(k, dim=-1).values[..., -1:]
    above, equal = scores > kth, scores == kth
    room = k - above.sum(-1, keepdim=True)
    return (above | (equal & (equal.cumsum(-1) <= room))) & visible


# ---------------------------------------------------------------- 4: attention


@dataclass
class Context:
    """What a layer needs besides its input."""

    rotation: dict[bool, Rotation]  # of layers with and without compression
    numerics: Numerics
    selection: Selection
    probes: Probes | None
    losses: Losses


class Attention(nn.Module):
    def __init__(self, config: Config, ratio: int):
        super().__init__()
        c = self.config = config
        self.ratio = ratio
        D, H, d, R = c.hidden_size, c.num_attention_heads, c.head_dim, c.q_lora_rank
        self.wq_a = Linear(D, R, fp8=True)
        self.q_norm = Norm(R, c.rms_norm_eps)
        self.wq_b = Linear(R, H * d, fp8=True)
        self.wkv = Linear(D, d, fp8=True)
        self.kv_norm = Norm(d, c.rms_norm_eps)
        self.wo_a = Linear(H * d // c.o_groups, c.o_groups * c.o_lora_rank, fp8=True)
        self.wo_b = Linear(c.o_groups * c.o_lora_rank, D, fp8=True, gain=0.3)
        self.attn_sink = nn.Parameter(torch.zeros(H))
        self.compressor = Compressor(c, ratio, d) if ratio else None
        self.indexer = Indexer(c) if ratio == 4 else None

    def forward(self, x: Tensor, ctx: Context) -> Tensor:
        """x [B, T, D] (normed) -> [B, T, D]."""
        c, numerics = self.config, ctx.numerics
        rotation = ctx.rotation[self.ratio != 0]
        qr = self.q_norm(self.wq_a(x, numerics))
        q = self.wq_b(qr, numerics).unflatten(-1, (c.num_attention_heads, c.head_dim))
        q = rotation.apply(rms_norm(q, None, 1e-6)) * c.head_dim**-0.5
        window = self._stored(rotation.apply(self.kv_norm(self.wkv(x, numerics))), numerics)
        entries = mask = None
        if self.ratio:
            entries = self._stored(self.compressor(x, rotation, numerics), numerics)
            mask = visible_entries(x.shape[1], self.ratio, x.device)
        index = None
        if self.indexer is not None:
            index = IndexView.of(self.indexer, x.detach(), qr.detach(), rotation, numerics)
            mask = index.selected(mask, ctx.selection)
        o = self._attend(q, window, entries, mask)
        if index is not None and ctx.probes is not None:
            o = self._probe(o, q, window, entries, index, ctx)
        return self._project(rotation.inverse().apply(o), numerics)

    def _stored(self, rows: Tensor, numerics: Numerics) -> Tensor:
        if not numerics.kv:
            return rows
        nope = self.config.nope_head_dim
        return torch.cat((quant.fp8_blocks(rows[..., :nope], 64), quant.bf16(rows[..., nope:])), -1)

    def _attend(self, q: Tensor, window: Tensor, entries: Tensor | None, mask: Tensor | None):
        """q [B, T, H, d] (scaled), window [B, T, d], entries [B, C, d], mask [(B,) T, C]."""
        B, T, H, d = q.shape
        keys = window_keys(window)  # [B, nb, 256, d]
        s_w = torch.matmul(q.reshape(B, -1, WINDOW_BLOCK * H, d), keys.transpose(-1, -2))
        s_w = s_w.reshape(B, T, H, -1) + window_bias(T, q.device)
        sink = self.attn_sink.expand(B, T, H)[..., None]
        width = keys.shape[2]
        if entries is None or entries.shape[1] == 0:
            p = torch.softmax(torch.cat((s_w, sink), -1), -1).split((width, 1), -1)[0]
            return self._window_values(p, keys, B, T, H)
        s_c = torch.matmul(q.reshape(B, T * H, d), entries.transpose(-1, -2)).view(B, T, H, -1)
        s_c = s_c.masked_fill(~mask.unsqueeze(-2), -1e9)
        p = torch.softmax(torch.cat((s_w, s_c, sink), -1), -1)
        p_w, p_c, _ = p.split((width, s_c.shape[-1], 1), -1)
        far = torch.matmul(p_c.reshape(B, T * H, -1), entries).view(B, T, H, d)
        return self._window_values(p_w, keys, B, T, H) + far

    @staticmethod
    def _window_values(p: Tensor, keys: Tensor, B: int, T: int, H: int) -> Tensor:
        near = torch.matmul(p.reshape(B, -1, WINDOW_BLOCK * H, p.shape[-1]), keys)
        return near.reshape(B, T, H, -1)

    def _probe(self, o, q, window, entries, index: IndexView, ctx: Context) -> Tensor:
        """Answers the probes over the entries of all sequences, and teaches the indexer there."""
        probes, B = ctx.probes, q.shape[0]
        near, near_bias = rows_before(window, probes)  # [P, 128, d], [P, 128]
        pool = entries.flatten(0, 1)  # [B*C, d]
        seen = probe_visibility(probes, B, entries.shape[1], self.ratio)  # [P, B*C]
        qp = q[probes.sequence, probes.position]  # [P, H, d]
        scores = index.probe_scores(probes).masked_fill(~seen, -torch.inf)
        s_w = torch.einsum("phd,pkd->phk", qp, near) + near_bias[:, None]
        s_c = torch.einsum("phd,cd->phc", qp, pool).masked_fill(~seen[:, None], -1e9)
        if ctx.selection.teach:
            self._teach(scores, s_w, s_c, probes, entries.shape[1], ctx.losses)
        if ctx.selection.topk is not None:
            chosen = top_entries(scores.detach(), ctx.selection.topk)
            s_c = s_c.masked_fill(~chosen[:, None], -1e9)
        sink = self.attn_sink.expand(len(qp), -1)[..., None]
        p = torch.softmax(torch.cat((s_w, s_c, sink), -1), -1)
        width = near.shape[1]
        answer = torch.einsum("phk,pkd->phd", p[..., :width], near) + p[..., width:-1] @ pool
        return o.index_put((probes.sequence, probes.position), answer)

    def _teach(self, scores, s_w, s_c, probes: Probes, C: int, losses: Losses) -> None:
        """The indexer learns the attention's own choice, and both learn where the fact stands."""
        sink = self.attn_sink.expand(len(s_w), -1)[..., None]
        joint = torch.log_softmax(torch.cat((s_w, s_c, sink), -1), -1)
        far = joint[..., s_w.shape[-1] : -1]
        with torch.no_grad():
            teacher = far.exp().sum(1)
            mass = teacher.sum(-1, keepdim=True)
            teacher = teacher / mass.clamp(min=1e-9)
            # A head that looks elsewhere teaches little.
            trust = (mass[:, 0] / s_w.shape[1]).clamp(max=1)
        student = torch.log_softmax(scores.clamp(min=-1e4), -1)
        cross = -(teacher * student).sum(-1)
        entropy = -(teacher * teacher.clamp(min=1e-9).log()).sum(-1)
        losses.add("index_kl", (trust * (cross - entropy)).mean())
        known = probes.fact >= 0
        if known.any():
            block = probes.sequence * C + probes.fact.clamp(min=0) // self.ratio
            # The fact's block, or the next one, whose overlapping lane holds it too.
            last = probes.sequence * C + (probes.position + 1) // self.ratio - 1
            pair = torch.stack((block, torch.minimum(block + 1, torch.maximum(last, block))), 1)
            hit = student.gather(1, pair).logsumexp(-1)
            losses.add("index_fact", -(hit * known).sum() / known.sum())
            read = far.gather(2, pair[:, None].expand(-1, far.shape[1], -1)).logsumexp(-1)
            # The best head must read it; which one is left free.
            losses.add("read_fact", -(read.amax(1) * known).sum() / known.sum())
            with torch.no_grad():
                rank = (scores > scores.gather(1, pair).amax(1, keepdim=True)).sum(1)
                losses.add("index_top1", ((rank == 0) & known).sum() / known.sum())

    def _project(self, o: Tensor, numerics: Numerics) -> Tensor:
        c = self.config
        grouped = o.flatten(-2).unflatten(-1, (c.o_groups, -1))
        wo_a = self.wo_a.quantised_weight(numerics).view(c.o_groups, c.o_lora_rank, -1)
        z = torch.einsum("btgk,grk->btgr", grouped, wo_a).flatten(-2)
        return self.wo_b(z, numerics)


@dataclass
class IndexView:
    """The index queries and keys of one layer and batch."""

    q: Tensor
    weight: Tensor
    keys: Tensor

    @staticmethod
    def of(indexer: Indexer, x: Tensor, qr: Tensor, rotation: Rotation, numerics: Numerics):
        q, weight = indexer.queries(x, qr, rotation, numerics)
        return IndexView(q, weight, indexer.keys(x, rotation, numerics))

    def selected(self, visible: Tensor, selection: Selection) -> Tensor:
        """[T, C] or [B, T, C]: the visible entries that every query attends to."""
        if selection.topk is None or self.keys.shape[1] <= selection.topk:
            return visible
        with torch.no_grad():
            scores = Indexer.scores(self.q, self.weight, self.keys)
            if selection.random:
                scores = torch.rand_like(scores)
            return top_entries(scores.masked_fill(~visible, -torch.inf), selection.topk)

    def probe_scores(self, probes: Probes) -> Tensor:
        q = self.q[probes.sequence, probes.position]
        weight = self.weight[probes.sequence, probes.position]
        return Indexer.scores(q[None], weight[None], self.keys.flatten(0, 1)[None])[0]


def visible_entries(T: int, ratio: int, device) -> Tensor:
    """[T, T/ratio]: blocks whose last token has been seen (4.4)."""
    t = torch.arange(T, device=device)[:, None]
    return torch.arange(T // ratio, device=device) < (t + 1) // ratio


def probe_visibility(probes: Probes, B: int, C: int, ratio: int) -> Tensor:
    """[P, B*C]: the sequence's own finished blocks and every block of the others."""
    own = (probes.position[:, None] + 1) // ratio > torch.arange(C, device=probes.position.device)
    other = torch.arange(B, device=own.device) != probes.sequence[:, None]
    mine = ~other
    return (other[:, :, None] | (mine[:, :, None] & own[:, None])).flatten(1)


def window_keys(window: Tensor) -> Tensor:
    """[B, T, d] -> [B, T/64, 192, d]: each block after the two before it (zeros at first)."""
    blocks = window.unflatten(1, (-1, WINDOW_BLOCK))
    before = F.pad(blocks, (0, 0, 0, 0, WINDOW // WINDOW_BLOCK, 0))
    return torch.cat((before[:, :-2], before[:, 1:-1], blocks), 2)


def window_bias(T: int, device) -> Tensor:
    """[T, 1, 192]: 0 where the key is one of the last 128 tokens, else -1e9."""
    i = torch.arange(T, device=device)
    j = torch.arange(WINDOW + WINDOW_BLOCK, device=device)
    local = (i % WINDOW_BLOCK)[:, None]
    first = WINDOW - (i - i % WINDOW_BLOCK)[:, None]  # columns before it stand before the sequence
    allowed = (j > local) & (j <= local + WINDOW) & (j >= first)
    return torch.where(allowed, 0.0, -1e9)[:, None]


def rows_before(window: Tensor, probes: Probes) -> tuple[Tensor, Tensor]:
    """The 128 window rows of each probe, [P, 128, d], and their bias [P, 128]."""
    offset = torch.arange(1 - WINDOW, 1, device=window.device)
    position = probes.position[:, None] + offset
    rows = window[probes.sequence[:, None], position.clamp(min=0)]
    return rows, torch.where(position >= 0, 0.0, -1e9)


# ---------------------------------------------------------------- 8: MoE


class Expert(nn.Module):
    """The shared expert."""

    def __init__(self, config: Config):
        super().__init__()
        D, width = config.hidden_size, config.moe_intermediate_size
        self.limit = config.swiglu_limit
        self.w1 = Linear(D, width, fp8=True)
        self.w2 = Linear(width, D, fp8=True, gain=0.3)
        self.w3 = Linear(D, width, fp8=True)

    def forward(self, x: Tensor, numerics: Numerics) -> Tensor:
        h = swiglu(self.w1(x, numerics), self.w3(x, numerics), self.limit)
        return self.w2(h, numerics)


def swiglu(gate: Tensor, up: Tensor, limit: float) -> Tensor:
    return F.silu(gate.clamp(max=limit)) * up.clamp(-limit, limit)


class MoE(nn.Module):
    def __init__(self, config: Config, hashed: bool):
        super().__init__()
        c = self.config = config
        D, E, width = c.hidden_size, c.n_routed_experts, c.moe_intermediate_size
        self.gate = nn.Parameter(torch.randn(E, D) * D**-0.5)
        self.w1 = nn.Parameter(torch.randn(E, width, D) * D**-0.5)
        self.w3 = nn.Parameter(torch.randn(E, width, D) * D**-0.5)
        self.w2 = nn.Parameter(torch.randn(E, D, width) * (0.3 * width**-0.5))
        self.shared = Expert(c)
        if hashed:
            self.register_buffer("tid2eid", torch.zeros(c.vocab_size, c.num_experts_per_tok, dtype=torch.long))
        else:
            self.register_buffer("bias", torch.zeros(E))
        self.register_buffer("load", torch.zeros(E), persistent=False)  # choices since last update

    @property
    def hashed(self) -> bool:
        return hasattr(self, "tid2eid")

    def route(self, x: Tensor, tokens: Tensor, numerics: Numerics) -> tuple[Tensor, Tensor, Tensor]:
        """x [N, D] -> expert ids [N, k], their weights [N, k], all scores [N, E]."""
        gate = quant.bf16(self.gate) if numerics.weights else self.gate
        s = torch.sqrt(F.softplus(F.linear(x, gate)))
        if self.hashed:
            ids = self.tid2eid[tokens]
        else:
            ids = (s.detach() + self.bias).topk(self.config.num_experts_per_tok, -1).indices
        w = s.gather(1, ids)
        return ids, w / w.sum(-1, keepdim=True) * self.config.routed_scaling_factor, s

    def forward(self, x: Tensor, tokens: Tensor, ctx: Context) -> Tensor:
        c, numerics = self.config, ctx.numerics
        ids, weight, scores = self.route(x, tokens, numerics)
        order = ids.flatten().argsort(stable=True)
        token = order // c.num_experts_per_tok
        counts = torch.bincount(ids.flatten(), minlength=c.n_routed_experts)
        if self.training and not self.hashed:
            with torch.no_grad():
                self.load += counts
            ctx.losses.add("balance", self._balance(scores, counts))
        w1, w2, w3 = (quant.fp4_weight(w) if numerics.weights else w
                      for w in (self.w1, self.w2, self.w3))
        x_in = quant.fp8_blocks(x, 128) if numerics.activations else x
        gathered = x_in[token].split(counts.tolist())
        scaled = weight.flatten()[order].unsqueeze(-1).split(counts.tolist())
        parts = []
        for e, (rows, factor) in enumerate(zip(gathered, scaled)):
            h = factor * swiglu(rows @ w1[e].t(), rows @ w3[e].t(), c.swiglu_limit)
            h = quant.fp8_blocks(h, 128) if numerics.activations else h
            parts.append(h @ w2[e].t())
        routed = torch.zeros_like(x).index_add(0, token, torch.cat(parts))
        return routed + self.shared(x, numerics)

    def _balance(self, scores: Tensor, counts: Tensor) -> Tensor:
        share = counts / counts.sum() * self.config.n_routed_experts
        return (scores / scores.sum(-1, keepdim=True)).mean(0) @ share


# ---------------------------------------------------------------- blocks and the model


class Block(nn.Module):
    def __init__(self, config: Config, layer: int, ratio: int, hashed: bool):
        super().__init__()
        eps, D = config.rms_norm_eps, config.hidden_size
        self.hc_attn = HyperConnection(config, 2 * layer)
        self.hc_ffn = HyperConnection(config, 2 * layer + 1)
        self.attn_norm = Norm(D, eps)
        self.ffn_norm = Norm(D, eps)
        self.attn = Attention(config, ratio)
        self.ffn = MoE(config, hashed)

    def forward(self, X: Tensor, tokens: Tensor, ctx: Context) -> Tensor:
        """X [N, S, D], tokens [B, T], N = B*T."""
        u, post, comb = self.hc_attn(X)
        y = self.attn(self.attn_norm(u).view(*tokens.shape, -1), ctx).flatten(0, 1)
        X = write_streams(y, X, post, comb)
        u, post, comb = self.hc_ffn(X)
        return write_streams(self.ffn(self.ffn_norm(u), tokens.flatten(), ctx), X, post, comb)


class MtpBlock(Block):
    """Spec 9.1: the streams at t and the embedding of token t+1 predict token t+2."""

    def __init__(self, config: Config):
        super().__init__(config, config.num_hidden_layers, 0, hashed=False)
        eps, D = config.rms_norm_eps, config.hidden_size
        self.enorm, self.hnorm, self.norm = Norm(D, eps), Norm(D, eps), Norm(D, eps)
        self.e_proj = Linear(D, D, fp8=True)
        self.h_proj = Linear(D, D, fp8=True)
        self.hc_head = HyperHead(config)

    def draft(self, X: Tensor, embedded: Tensor, tokens: Tensor, ctx: Context) -> Tensor:
        """X [N, S, D] at t; embedded [N, D] and tokens [B, T] of t+1 -> normed hidden [N, D]."""
        joined = self.h_proj(self.hnorm(X), ctx.numerics)
        joined = joined + self.e_proj(self.enorm(embedded), ctx.numerics)[:, None]
        return self.norm(self.hc_head(self(joined, tokens, ctx)))


class Pocket(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        c = self.config = config
        self.embed = nn.Parameter(torch.randn(c.vocab_size, c.hidden_size) * 0.5)
        self.head = nn.Parameter(torch.randn(c.vocab_size, c.hidden_size) * c.hidden_size**-0.5)
        self.layers = nn.ModuleList(Block(c, i, ratio, i < c.num_hash_layers)
                                    for i, ratio in enumerate(c.main_ratios))
        self.norm = Norm(c.hidden_size, c.rms_norm_eps)
        self.hc_head = HyperHead(c)
        self.mtp = MtpBlock(c)
        for compressed in (False, True):
            self.register_buffer(f"freq{int(compressed)}", inverse_frequencies(c, int(compressed)),
                                 persistent=False)

    def context(self, positions: Tensor, numerics: Numerics, selection: Selection,
                probes: Probes | None = None) -> Context:
        rotation = {False: Rotation.of(positions, self.freq0), True: Rotation.of(positions, self.freq1)}
        return Context(rotation, numerics, selection, probes, Losses())

    def streams(self, tokens: Tensor, ctx: Context) -> Tensor:
        """tokens [B, T] -> X [N, S, D] after the last main layer."""
        X = self.embedded(tokens, ctx.numerics).unsqueeze(1).repeat(1, self.config.hc_mult, 1)
        for layer in self.layers:
            X = layer(X, tokens, ctx)
        return X

    def embedded(self, tokens: Tensor, numerics: Numerics) -> Tensor:
        table = quant.bf16(self.embed) if numerics.weights else self.embed
        return F.embedding(tokens.flatten(), table)

    def final_hidden(self, X: Tensor) -> Tensor:
        return self.norm(self.hc_head(X))

    def mtp_hidden(self, X: Tensor, tokens: Tensor, ctx: Context) -> Tensor:
        """Hidden [N, D] that predicts t+2; the last position of a sequence has no next token."""
        following = torch.cat((tokens[:, 1:], tokens[:, -1:]), 1)
        inner = Context(ctx.rotation, ctx.numerics, ctx.selection, None, ctx.losses)
        return self.mtp.draft(X, self.embedded(following, ctx.numerics), following, inner)

    def logits(self, hidden: Tensor, numerics: Numerics) -> Tensor:
        return F.linear(hidden, quant.bf16(self.head) if numerics.weights else self.head)
