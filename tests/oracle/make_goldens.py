"""Runs the numpy reference on the tiny checkpoint and stores what the engine must reproduce.

    python3 tests/oracle/make_goldens.py [official] [exact]

Writes tests/golden/tokens.npz, official.npz and exact.npz: logits, MTP logits and the residual
streams of every layer at POSITIONS; at every position the largest two logits, the argmax, and how
close the nearest index or router choice was.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from make_checkpoint import TINY
from reference import Model, Trace

GOLDEN = TINY.parent
NUM_TOKENS = 4200
TOKEN_SEED = 4200
# Around the boundaries of a block of 4, the window and an HCA block of 128; then deep ones.
POSITIONS = np.array([0, 3, 4, 127, 128, 129, 255, 256, 300, 2047, 2048, 4096, 4199])


def golden_tokens(vocab_size: int) -> np.ndarray:
    """NUM_TOKENS tokens, BOS first, and one more that only the MTP block sees."""
    tokens = np.random.default_rng(TOKEN_SEED).integers(2, vocab_size, NUM_TOKENS + 1)
    tokens[0] = 0
    return tokens


def at_positions(trace: Trace, positions: np.ndarray) -> dict[str, np.ndarray]:
    """The stored tensors, at the chosen positions, as float32."""
    return {name: trace[name][positions].astype(np.float32)
            for name in trace if name.endswith(("_out_streams", "logits"))}


def closest_choice(trace: Trace, num_layers: int, kind: str) -> np.ndarray:
    """[T]: the smallest gap over the main layers between the last chosen and the first not."""
    names = [f"layers.{i}.{kind}.topk_margin" for i in range(num_layers)]
    return np.min([trace[n] for n in names if n in trace], axis=0).astype(np.float32)


def run(model: Model, tokens: np.ndarray) -> Trace:
    trace: Trace = {}
    model.prefill(tokens[:-1], trace)
    last = f"layers.{model.num_layers - 1}.ffn_out_streams"
    model.mtp_prefill(trace[last], tokens[1:], trace)
    return trace


def summary(model: Model, trace: Trace) -> dict[str, np.ndarray]:
    logits = trace["final.logits"]
    top = np.sort(logits, axis=1)[:, -2:].astype(np.float32)
    return {"positions": POSITIONS, "argmax": logits.argmax(axis=1).astype(np.int16),
            "top1": top[:, 1], "top2": top[:, 0],
            "index_margin": closest_choice(trace, model.num_layers, "attn"),
            "router_margin": closest_choice(trace, model.num_layers, "ffn")}


def main() -> None:
    for numerics in sys.argv[1:] or ["official", "exact"]:
        model = Model(TINY, numerics)
        tokens = golden_tokens(model.config["vocab_size"])
        np.savez_compressed(GOLDEN / "tokens.npz", tokens=tokens[:-1].astype(np.int32),
                            next_token=np.int32(tokens[-1]))
        trace = run(model, tokens)
        np.savez_compressed(GOLDEN / f"{numerics}.npz", **summary(model, trace),
                            **at_positions(trace, POSITIONS))
        print(numerics, "logit spread", trace["final.logits"].std())


if __name__ == "__main__":
    main()
