"""Replaces the elementwise parts of the model, which otherwise cost more than its products.

On a CPU the hyper-connections, whose streams are the largest tensors, run as C++ of ours; the rest is
compiled. That is done for functions on flat rows only: their shapes depend on the number of tokens of a
batch and not on how it is cut into sequences, so each is compiled once.
"""

from __future__ import annotations

import torch

from . import hyper, model


def compile_parts(device: str) -> None:
    torch._dynamo.config.cache_size_limit = 64
    for name in ("rms_norm_rows", "rotate_rows", "pool_blocks"):
        setattr(model, name, torch.compile(getattr(model, name), dynamic=False))
    model.HyperHead.forward = torch.compile(model.HyperHead.forward, dynamic=False)
    # The number of rows of an expert differs from call to call.
    model.swiglu = torch.compile(model.swiglu, dynamic=True)
    if device == "cpu":
        hyper.load()
        model.read_streams = hyper.ReadStreams.apply
        model.write_streams = hyper.WriteStreams.apply
    else:
        model.read_streams = torch.compile(model.read_streams, dynamic=False)
        model.write_streams = torch.compile(model.write_streams, dynamic=False)
