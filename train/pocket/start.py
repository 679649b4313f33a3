"""How a new model begins, beyond random weights: what makes recall appear after few tokens.

Copying what stood behind an earlier occurrence takes three things that depend on each other: that a
position knows the tokens just before it, that keys can be matched with them, and that what is read
can be written out. Each alone gives no gradient to the others, so each is begun here:

- the head begins as the embedding, so that writing out a token is copying it;
- all embeddings share a direction, on which attention by position alone can be built, and the heads
  of the window layers begin by looking 0, 1, 2, ... tokens back;
- a compressor begins with the projection of its layer's window rows, so that queries learnt on the
  window find the same content further away.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .model import Attention, Pocket

EMBED_RMS = 0.35  # of a token's own part, and of the part that all share
SHARPEST_PAIRS = 6  # rotary pairs that carry the position
KEY_SIZE, QUERY_SIZE = 3.2, 3.5  # of those pairs, where other dims have 1
LATENT_GAIN = 0.3


@torch.no_grad()
def prepare(model: Pocket, seed: int) -> None:
    """Draws from the generator of `seed` only."""
    c = model.config
    generator = torch.Generator().manual_seed(seed)
    own = torch.randn(c.vocab_size, c.hidden_size, generator=generator)
    shared = torch.randn(c.hidden_size, generator=generator)
    model.embed.copy_(EMBED_RMS * (own + shared))
    model.head.copy_(own * c.hidden_size**-0.5)
    spread_experts(model, generator)
    for layer in model.layers:
        if layer.attn.compressor is not None:
            _compress_like_window(layer.attn)
        else:
            _look_back(layer.attn, shared / shared.norm(), model.freq0)


def spread_experts(model: Pocket, generator: torch.Generator) -> None:
    """Hash routing: distinct random experts for every token id."""
    c = model.config
    for layer in model.layers:
        if layer.ffn.hashed:
            order = torch.rand(c.vocab_size, c.n_routed_experts, generator=generator).argsort(-1)
            layer.ffn.tid2eid.copy_(order[:, : c.num_experts_per_tok])


def _compress_like_window(attention: Attention) -> None:
    rows = attention.wkv.weight
    for lane in attention.compressor.wkv.weight.split(len(rows)):
        lane.copy_(rows)


def _look_back(attention: Attention, direction: Tensor, freq: Tensor) -> None:
    """Head h begins with its largest score h tokens back. `direction` [D] is shared by all inputs."""
    c = attention.config
    nope, size = c.nope_head_dim, (c.hidden_size / 2) ** 0.5  # of a normed input along `direction`
    keys = attention.wkv.weight
    keys[nope:] *= 0.2
    keys -= (keys @ direction)[:, None] * direction
    latent = attention.wq_a.weight
    latent[0] = LATENT_GAIN * direction
    queries = attention.wq_b.weight.view(c.num_attention_heads, c.head_dim, -1)
    queries[:, nope:] *= 0.5
    for pair in range(SHARPEST_PAIRS):
        keys[nope + 2 * pair] += KEY_SIZE / size * direction
        for head in range(c.num_attention_heads):
            angle = float(freq[pair]) * head
            scale = QUERY_SIZE / (LATENT_GAIN * size)
            queries[head, nope + 2 * pair, 0] = scale * math.cos(angle)
            queries[head, nope + 2 * pair + 1, 0] = -scale * math.sin(angle)
