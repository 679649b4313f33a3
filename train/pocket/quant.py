"""Fake quantisation: values rounded as the engine stores them, gradients passed straight through.

Formats and block sizes are those of spec 2.4 and 10.1: e4m3 with one power-of-two scale per 128x128
weight block, per 128 activations or per 64 KV dims; e2m1 with one per 32.
"""

from __future__ import annotations

import torch
from torch import Tensor

E4M3_MAX = 448.0
E2M1_MAX = 6.0


def _power_of_two_scale(amax: Tensor, fmt_max: float) -> Tensor:
    """2^ceil(log2(amax / fmt_max)) from the fp32 bits of the product (spec 10.1)."""
    mantissa, exponent = torch.frexp(amax * (1.0 / fmt_max))  # 0.5 <= mantissa < 1
    exponent = exponent - (mantissa == 0.5).to(exponent.dtype)
    return torch.ldexp(torch.ones_like(amax), exponent)


def round_e4m3(x: Tensor) -> Tensor:
    return x.clamp(-E4M3_MAX, E4M3_MAX).to(torch.float8_e4m3fn).to(x.dtype)


def round_e2m1(x: Tensor) -> Tensor:
    """Nearest of 0, 0.5, 1, 1.5, 2, 3, 4, 6; ties go to the even code."""
    a = x.abs().clamp(max=E2M1_MAX)
    # Spacing 0.5 below 2, 1 below 4, 2 above; torch.round is half-to-even, as the codes are.
    step = torch.where(a < 2, 0.5, torch.where(a < 4, 1.0, 2.0))
    return torch.copysign(torch.round(a / step) * step, x)


def _straight_through(x: Tensor, rounded: Tensor) -> Tensor:
    return x + (rounded - x).detach()


def fp8_blocks(x: Tensor, block: int) -> Tensor:
    """e4m3 over blocks of the last dimension (a shorter last block is its own)."""
    return _straight_through(x, _rounded_rows(x.detach(), block, E4M3_MAX, 1e-4, round_e4m3))


def fp4_blocks(x: Tensor, block: int = 32) -> Tensor:
    return _straight_through(x, _rounded_rows(x.detach(), block, E2M1_MAX, 6 * 2.0**-126, round_e2m1))


def _rounded_rows(x: Tensor, block: int, fmt_max: float, floor: float, rounder) -> Tensor:
    width = x.shape[-1]
    pad = -width % block
    padded = torch.nn.functional.pad(x.float(), (0, pad)) if pad else x.float()
    blocks = padded.unflatten(-1, (-1, block))
    scale = _power_of_two_scale(blocks.abs().amax(-1, keepdim=True).clamp(min=floor), fmt_max)
    rounded = rounder(blocks / scale) * scale
    return rounded.flatten(-2)[..., :width].to(x.dtype)


def fp8_weight_blocks(w: Tensor, block: int = 128) -> tuple[Tensor, Tensor]:
    """e4m3 values [out, in] (as float) and scales [ceil(out/128), ceil(in/128)]."""
    rows, cols = w.shape
    padded = torch.nn.functional.pad(w.float(), (0, -cols % block, 0, -rows % block))
    tiles = padded.unflatten(0, (-1, block)).unflatten(2, (-1, block))  # [R, 128, C, 128]
    scale = _power_of_two_scale(tiles.abs().amax((1, 3)).clamp(min=1e-12), E4M3_MAX)
    values = round_e4m3(tiles / scale[:, None, :, None]).flatten(2).flatten(0, 1)
    return values[:rows, :cols], scale


def fp4_weight_blocks(w: Tensor, block: int = 32) -> tuple[Tensor, Tensor]:
    """e2m1 values [out, in] (as float) and scales [out, in/32]."""
    blocks = w.float().unflatten(-1, (-1, block))
    scale = _power_of_two_scale(blocks.abs().amax(-1).clamp(min=1e-12), E2M1_MAX)
    return round_e2m1(blocks / scale[..., None]).flatten(-2), scale


def fp8_weight(w: Tensor) -> Tensor:
    values, scale = fp8_weight_blocks(w.detach())
    rows, cols = w.shape
    spread = scale.repeat_interleave(128, 0)[:rows].repeat_interleave(128, 1)[:, :cols]
    return _straight_through(w, (values * spread).to(w.dtype))


def fp4_weight(w: Tensor) -> Tensor:
    """Of [..., out, in]."""
    values, scale = fp4_weight_blocks(w.detach())
    return _straight_through(w, (values * scale.repeat_interleave(32, -1)).to(w.dtype))


def bf16(x: Tensor) -> Tensor:
    return _straight_through(x, x.detach().to(torch.bfloat16).to(x.dtype))
