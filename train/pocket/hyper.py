"""hyper.cpp as differentiable functions; builds it on first use (needs a C++ compiler)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils import cpp_extension


@cache
def load() -> None:
    cpp_extension.load("pocket_hyper", [str(Path(__file__).with_name("hyper.cpp"))], is_python_module=False,
                       extra_cflags=["-O3", "-march=native", "-ffast-math", "-std=c++20"])


class ReadStreams(torch.autograd.Function):
    @staticmethod
    def forward(ctx, X: Tensor, m: Tensor, base: Tensor, scale: Tensor, *settings):
        ctx.settings = settings
        ctx.save_for_backward(X, m, base, scale)
        return torch.ops.pocket.read_streams(X, m, base, scale, *settings)

    @staticmethod
    @once_differentiable
    def backward(ctx, du: Tensor, dpost: Tensor, dcomb: Tensor):
        grads = torch.ops.pocket.read_streams_backward(du, dpost, dcomb, *ctx.saved_tensors, *ctx.settings)
        return *grads, None, None, None


class WriteStreams(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y: Tensor, X: Tensor, post: Tensor, comb: Tensor):
        y = y.contiguous()
        ctx.save_for_backward(y, X, post, comb)
        return torch.ops.pocket.write_streams(y, X, post, comb)

    @staticmethod
    @once_differentiable
    def backward(ctx, dout: Tensor):
        return torch.ops.pocket.write_streams_backward(dout, *ctx.saved_tensors)
