"""Muon for matrices, AdamW for the rest, the indexer included (report 2.4 and 4.2.2).

The indexer is trained by AdamW because Muon's updates have a constant norm: they keep the index
scores noisy long after the loss is small.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

MUON_MOMENTUM = 0.95
MUON_RMS = 0.2  # of an update before the learning rate
WEIGHT_DECAY = 0.1
ADAM_BETAS = (0.9, 0.95)
# Quintic Newton-Schulz: fast steps to the neighbourhood of 1, then one that converges.
SCHULZ_FAST = (3.4445, -4.7750, 2.0315)
SCHULZ_EXACT = (2.0, -1.5, 0.5)


def orthogonalised(g: Tensor, fast_steps: int = 4, exact_steps: int = 1) -> Tensor:
    """U V^T of the singular value decomposition of g [..., m, n], nearly."""
    x = g / (g.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    x = x.transpose(-2, -1) if tall else x
    for a, b, c in [SCHULZ_FAST] * fast_steps + [SCHULZ_EXACT] * exact_steps:
        s = x @ x.transpose(-2, -1)
        x = a * x + (b * s + c * (s @ s)) @ x
    return x.transpose(-2, -1) if tall else x


def uses_muon(name: str, parameter: nn.Parameter) -> bool:
    if parameter.dim() < 2 or "indexer" in name or ".hc_" in name or name.startswith("hc_"):
        return False
    return name not in ("embed", "head") and not name.endswith((".ape", "ffn.gate"))


class Optimizer:
    """Both updates over all parameters of a model; learning rates are given per step."""

    def __init__(self, model: nn.Module, rank: int = 0, ranks: int = 1):
        self.rank, self.ranks = rank, ranks
        named = [(n, p) for n, p in model.named_parameters()]
        self.muon = {n: p for n, p in named if uses_muon(n, p)}
        self.adam = {n: p for n, p in named if n not in self.muon}
        self.momentum = {n: torch.zeros_like(p) for n, p in self.muon.items()}
        self.first = {n: torch.zeros_like(p) for n, p in self.adam.items()}
        self.second = {n: torch.zeros_like(p) for n, p in self.adam.items()}
        self.steps = 0

    def state(self) -> dict:
        return {"momentum": self.momentum, "first": self.first, "second": self.second,
                "steps": self.steps}

    def load(self, state: dict) -> None:
        self.steps = state["steps"]
        for mine, theirs in ((self.momentum, state["momentum"]), (self.first, state["first"]),
                             (self.second, state["second"])):
            for name, value in theirs.items():
                mine[name].copy_(value)

    @torch.no_grad()
    def step(self, lr: float) -> None:
        self.steps += 1
        updates = self._muon_updates()
        for name, p in self.muon.items():
            p.mul_(1 - lr * WEIGHT_DECAY)
            p.add_(updates[name], alpha=-lr * MUON_RMS * max(p.shape[-2:]) ** 0.5)
        for name, p in self.adam.items():
            self._adam(name, p, lr)

    def _muon_updates(self) -> dict[str, Tensor]:
        """Every rank orthogonalises its share of the matrices; all get the sum of the shares."""
        flat = torch.zeros(sum(p.numel() for p in self.muon.values()), device=next(iter(self.muon.values())).device)
        updates = {}
        offset = 0
        for i, (name, p) in enumerate(sorted(self.muon.items(), key=lambda item: -item[1].numel())):
            update = flat[offset : offset + p.numel()].view_as(p)
            offset += p.numel()
            m = self.momentum[name].mul_(MUON_MOMENTUM).add_(p.grad)
            if i % self.ranks == self.rank:
                update.copy_(orthogonalised(p.grad + MUON_MOMENTUM * m))  # Nesterov
            updates[name] = update
        if self.ranks > 1:
            dist.all_reduce(flat)
        return updates

    def _adam(self, name: str, p: nn.Parameter, lr: float) -> None:
        beta1, beta2 = ADAM_BETAS
        first = self.first[name].lerp_(p.grad, 1 - beta1)
        second = self.second[name].mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
        if p.dim() >= 2 and not name.endswith(".ape"):
            p.mul_(1 - lr * WEIGHT_DECAY)
        scale = (second / (1 - beta2**self.steps)).sqrt_().add_(1e-8)
        p.addcdiv_(first, scale, value=-lr / (1 - beta1**self.steps))
