"""The curriculum: what every stage trains on and what is switched on in it."""

from __future__ import annotations

from dataclasses import dataclass

from .model import Numerics


@dataclass(frozen=True)
class Shape:
    """One kind of batch: `share` of a stage's steps have rows of T tokens, mixed by kind."""

    share: float
    T: int
    mix: dict[str, float]  # text, repeat, recall, tools -> share of the rows


@dataclass(frozen=True)
class Stage:
    name: str
    steps: int
    shapes: tuple[Shape, ...]
    lr: float
    lr_end: float
    tokens_per_rank: int = 8192
    warmup: int = 0
    dense_steps: int = 0  # steps before top-k selection begins (indexer warm-up against dense attention)
    facts_per_1k: tuple[float, float] = (8, 60)  # facts per 1,024 tokens of a recall row
    spread_positions: bool = True  # random offsets and jumps up to 1M
    index_kl: float = 1.0
    index_fact: float = 0.3
    read_fact: float = 0.0
    mtp: float = 0.0
    numerics: Numerics = Numerics()


STAGES = {
    stage.name: stage
    for stage in (
        Stage("bootstrap", 500,
              (Shape(0.75, 256, {"recall": 0.5, "repeat": 0.5}),
               Shape(0.25, 1024, {"recall": 0.4, "repeat": 0.2, "tools": 0.4})),
              lr=3e-3, lr_end=2e-3, tokens_per_rank=2048, warmup=50, dense_steps=500,
              facts_per_1k=(24, 48), spread_positions=False, read_fact=0.3),
        Stage("language", 1600,
              (Shape(0.5, 1024, {"text": 0.6, "tools": 0.25, "recall": 0.15}),
               Shape(0.5, 2048, {"text": 0.3, "tools": 0.5, "recall": 0.2})),
              lr=2e-3, lr_end=1e-3, tokens_per_rank=4096, dense_steps=300, mtp=0.1),
        Stage("sparse", 1500,
              (Shape(0.6, 2048, {"text": 0.3, "tools": 0.4, "recall": 0.3}),
               Shape(0.4, 8192, {"recall": 0.7, "tools": 0.2, "text": 0.1})),
              lr=1e-3, lr_end=5e-4, mtp=0.1, facts_per_1k=(2, 40)),
        Stage("quantised", 900,
              (Shape(0.6, 2048, {"text": 0.35, "tools": 0.45, "recall": 0.2}),
               Shape(0.4, 8192, {"recall": 0.6, "tools": 0.3, "text": 0.1})),
              lr=5e-4, lr_end=2e-5, mtp=0.3, facts_per_1k=(2, 40),
              numerics=Numerics(weights=True, activations=True, kv=True)),
    )
}
