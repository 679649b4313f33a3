"""Compiles the elementwise parts of the model, which otherwise cost more than its products.

Only functions on flat rows: their shapes depend on the number of tokens of a batch and not on how it
is cut into sequences, so each is compiled once.
"""

from __future__ import annotations

import torch

from . import model


def compile_parts(enabled: bool) -> None:
    if not enabled:
        return
    torch._dynamo.config.cache_size_limit = 64
    for name in ("hc_post", "rms_norm_rows", "rotate_rows", "pool_blocks"):
        setattr(model, name, torch.compile(getattr(model, name), dynamic=False))
    for owner in (model.HyperConnection, model.HyperHead):
        owner.forward = torch.compile(owner.forward, dynamic=False)
    # The number of rows of an expert differs from call to call.
    model.swiglu = torch.compile(model.swiglu, dynamic=True)
