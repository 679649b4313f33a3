"""A step's batch: rows of one shape, their positions and the probes of the indexer."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .model import Probes
from .rows import Row, Source
from .stages import Shape, Stage

POSITIONS_MAX = 1 << 20
FACT_PROBES = 256  # per batch and rank
FREE_PROBES = 64  # positions of no known fact, where the indexer only follows the attention
SPREAD_SHARE = 0.75  # of rows with random offset and jumps


@dataclass
class Batch:
    tokens: Tensor  # [B, T] int64
    weights: Tensor  # [B, T] f32, of the prediction made there
    positions: Tensor  # [B, T] int64
    probes: Probes
    kinds: list[str]  # of every row

    def to(self, device: str) -> Batch:
        probes = Probes(*(t.to(device) for t in (self.probes.sequence, self.probes.position, self.probes.fact)))
        return Batch(self.tokens.to(device), self.weights.to(device), self.positions.to(device), probes, self.kinds)


def generator(seed: int, stage: str, step: int, rank: int) -> random.Random:
    return random.Random(f"{seed} {stage} {step} {rank}")


def make_batch(source: Source, stage: Stage, rng: random.Random, shape: Shape) -> Batch:
    num_rows = max(1, stage.tokens_per_rank // shape.T)
    rows = [_row(source, stage, rng, shape) for _ in range(num_rows)]
    probes = _probes(rows, rng, shape.T)
    return Batch(torch.from_numpy(np.stack([r.tokens for r in rows])),
                 torch.from_numpy(np.stack([r.weights for r in rows])),
                 torch.stack([_positions(stage, rng, shape.T) for _ in rows]), probes,
                 [r.kind for r in rows])


def pick_shape(stage: Stage, step: int, seed: int) -> Shape:
    """The same on every rank."""
    rng = random.Random(f"{seed} {stage.name} {step} shape")
    return rng.choices(stage.shapes, [s.share for s in stage.shapes])[0]


def _row(source: Source, stage: Stage, rng: random.Random, shape: Shape) -> Row:
    kind = rng.choices(list(shape.mix), list(shape.mix.values()))[0]
    if kind != "recall":
        return getattr(source, kind)(rng, shape.T)
    low, high = stage.facts_per_1k
    density = low * (high / low) ** rng.random()
    facts = max(2, round(density * shape.T / 1024))
    questions = max(2, min(shape.T // 48, 24))
    return source.recall(rng, shape.T, facts=facts, questions=questions)


def _positions(stage: Stage, rng: random.Random, T: int) -> Tensor:
    """Consecutive, or starting anywhere below 1M with a few jumps between blocks of 128."""
    positions = torch.arange(T)
    if not stage.spread_positions or rng.random() > SPREAD_SHARE:
        return positions
    room = POSITIONS_MAX - T
    for _ in range(rng.randrange(4)):
        at = 128 * rng.randrange(T // 128)
        jump = 128 * round(2 ** rng.uniform(0, 12))
        if int(positions[-1]) + jump < POSITIONS_MAX:
            positions[at:] += jump
    room = POSITIONS_MAX - 1 - int(positions[-1])
    return positions + 128 * (int(2 ** rng.uniform(0, 20)) % max(room, 1) // 128)


def _probes(rows: list[Row], rng: random.Random, T: int) -> Probes:
    facts = [(b, query, fact) for b, row in enumerate(rows) for query, fact in row.facts if query < T]
    # What stands in the window needs no index.
    facts = [f for f in facts if f[1] - f[2] >= 128]
    chosen = rng.sample(facts, min(FACT_PROBES, len(facts)))
    taken = {(b, q) for b, q, _ in facts}
    while len(chosen) < FACT_PROBES + FREE_PROBES:
        b, q = rng.randrange(len(rows)), rng.randrange(min(160, T - 1), T)
        if (b, q) not in taken:
            chosen.append((b, q, -1))
            taken.add((b, q))
    sequence, position, fact = (torch.tensor(column) for column in zip(*chosen))
    return Probes(sequence, position, fact)
