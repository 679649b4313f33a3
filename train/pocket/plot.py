"""Draws a training run: losses, exact answers and the indexer against tokens seen.

    python -m pocket.plot --run RUN --out FILE.svg
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from .stages import STAGES

PANELS = {
    "loss, nats per token": ("loss_text", "loss_tools", "loss_recall", "loss_repeat", "loss_mtp"),
    "exact, share of learned tokens": ("exact_recall", "exact_tools", "exact_mtp", "index_top1"),
    "indexer, nats": ("index_kl", "index_fact"),
}
SMOOTHED_STEPS = 25


def read_run(run: Path) -> tuple[list[dict], list[tuple[str, float]]]:
    """All logged steps, and where (in tokens) each stage began."""
    rows: list[dict] = []
    starts = []
    for name in STAGES:
        path = run / f"{name}.csv"
        if path.exists():
            with open(path, newline="") as f:
                stage = list(csv.DictReader(f))
            if stage:
                starts.append((name, int(stage[0]["tokens"])))
            rows += stage
    return rows, starts


def series(rows: list[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Tokens (millions) and running mean of a column, where it was logged."""
    points = [(int(r["tokens"]) / 1e6, float(r[name])) for r in rows if r.get(name)]
    if not points:
        return np.zeros(0), np.zeros(0)
    x, y = np.array(points).T
    width = min(SMOOTHED_STEPS, len(y))
    return x[width - 1 :], np.convolve(y, np.ones(width) / width, "valid")


def main() -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    rows, starts = read_run(args.run)
    figure, axes = plt.subplots(len(PANELS), 1, figsize=(8, 9), sharex=True)
    for axis, (title, names) in zip(axes, PANELS.items()):
        for name in names:
            axis.plot(*series(rows, name), label=name, linewidth=1)
        for stage, tokens in starts:
            axis.axvline(tokens / 1e6, color="0.7", linewidth=0.8)
            axis.text(tokens / 1e6, axis.get_ylim()[1], stage, fontsize=7, va="top")
        axis.set_ylabel(title)
        axis.legend(fontsize=7)
    axes[-1].set_xlabel("million tokens")
    figure.tight_layout()
    figure.savefig(args.out)


if __name__ == "__main__":
    main()
