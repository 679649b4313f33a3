"""Trains one stage of the pocket model.

    python -m pocket.train STAGE --data DATA --run RUN [--ranks 2] [--device cpu|cuda] [--seed 1]

RUN keeps `state.pt` (model, optimiser, stage, step), which the same command resumes, and a CSV per
stage. A stage starts from the end of the one before it; a finished stage is not run again. On a CPU
every rank is a process of one thread, which scales better than threads inside the small products.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from . import batches
from .compiled import compile_parts
from .config import Config
from .export import read_model
from .model import Losses, Pocket, Selection
from .optimizer import Optimizer
from .rows import Source
from .stages import STAGES, Stage
from .start import prepare

SAVE_SECONDS = 240
BALANCE = 1e-4  # weight of the sequence balance loss
BIAS_SPEED = 1e-3  # of the router's selection bias
CLIP = 1.0
LOGGED = ("step", "tokens", "seconds", "lr", "grad_norm", "loss_text", "loss_recall", "loss_repeat",
          "loss_tools", "exact_recall", "exact_repeat", "exact_tools", "index_kl", "index_fact", "read_fact",
          "index_top1", "loss_mtp", "exact_mtp")


def learning_rate(stage: Stage, step: int) -> float:
    """Linear warm-up, then a cosine from lr to lr_end."""
    if step < stage.warmup:
        return stage.lr * (step + 1) / stage.warmup
    done = (step - stage.warmup) / max(1, stage.steps - stage.warmup)
    return stage.lr_end + (stage.lr - stage.lr_end) * 0.5 * (1 + math.cos(math.pi * done))


class Trainer:
    def __init__(self, stage: Stage, source: Source, run: Path, *, device: str, seed: int, rank: int, ranks: int,
                 start: Path | None = None):
        self.stage, self.source, self.run = stage, source, run
        self.device, self.seed, self.rank, self.ranks = device, seed, rank, ranks
        torch.manual_seed(seed)
        self.model = Pocket(Config.load())
        prepare(self.model, seed)
        self.model.to(device).train()
        self.optimizer = Optimizer(self.model, rank, ranks)
        self.step = 0
        self.tokens = 0
        self._resume(start)

    # ------------------------------------------------------------ state

    def _resume(self, start: Path | None) -> None:
        path = self.run / "state.pt"
        if not path.exists():
            if start is not None:
                self.model.load_state_dict(read_model(start).state_dict())
            return
        state = torch.load(path, map_location=self.device)
        self.model.load_state_dict(state["model"])
        self.optimizer.load(state["optimizer"])
        self.tokens = state["tokens"]
        if state["stage"] == self.stage.name:
            self.step = state["step"]
        elif state["step"] < STAGES[state["stage"]].steps:
            raise SystemExit(f"{path} is in stage {state['stage']} at step {state['step']}: finish it first")

    def save(self) -> None:
        if self.rank:
            return
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state(),
                 "stage": self.stage.name, "step": self.step, "tokens": self.tokens}
        partial = self.run / "state.partial"
        torch.save(state, partial)
        os.replace(partial, self.run / "state.pt")

    # ------------------------------------------------------------ one step

    def loss(self, batch: batches.Batch, record: dict) -> Tensor:
        stage, model = self.stage, self.model
        topk = model.config.index_topk if self.step >= stage.dense_steps else None
        ctx = model.context(batch.positions, stage.numerics, Selection(topk), batch.probes)
        X = model.streams(batch.tokens, ctx)
        total = self._token_loss(batch, model.final_hidden(X), ctx, record)
        if stage.mtp:
            total = total + stage.mtp * self._mtp_loss(batch, X, ctx, record)
        self._record_layers(ctx.losses, record)
        total = total + BALANCE * ctx.losses.mean("balance")
        for name in ("index_kl", "index_fact", "read_fact"):
            total = total + getattr(stage, name) * ctx.losses.mean(name)
        return total

    def _record_layers(self, losses: Losses, record: dict) -> None:
        for name in ("index_kl", "index_fact", "read_fact", "index_top1"):
            if name in losses.terms:
                record[name] = float(losses.terms[name][-1].detach())  # of the last CSA layer

    def _token_loss(self, batch: batches.Batch, hidden: Tensor, ctx, record: dict) -> Tensor:
        weights = batch.weights.clone()
        weights[:, -1] = 0
        at = weights.flatten().nonzero()[:, 0]
        target = batch.tokens.flatten()[at + 1]
        losses, exact = self._cross_entropy(hidden[at], target, ctx)
        weight = weights.flatten()[at]
        row = at // batch.tokens.shape[1]
        with torch.no_grad():
            for kind in set(batch.kinds):
                rows = torch.tensor([k == kind for k in batch.kinds], device=row.device)
                mine = rows[row] & (weight == 1)
                if mine.any():
                    record[f"loss_{kind}"] = float(losses[mine].mean())
                    if kind in ("recall", "repeat", "tools"):
                        record[f"exact_{kind}"] = float(exact[mine].float().mean())
        # A row counts by its weight, but none for less than an eighth of its tokens.
        return (losses * weight).sum() / weight.sum().clamp(min=batch.tokens.numel() / 8)

    def _mtp_loss(self, batch: batches.Batch, X: Tensor, ctx, record: dict) -> Tensor:
        weights = batch.weights.clone()
        weights[:, :-2] = weights[:, 1:-1]  # position t predicts token t + 2
        weights[:, -2:] = 0
        at = weights.flatten().nonzero()[:, 0]
        hidden = self.model.mtp_hidden(X, batch.tokens, ctx)
        losses, exact = self._cross_entropy(hidden[at], batch.tokens.flatten()[at + 2], ctx)
        weight = weights.flatten()[at]
        record["loss_mtp"] = float(losses.detach().mean())
        record["exact_mtp"] = float(exact.float().mean())
        return (losses * weight).sum() / weight.sum().clamp(min=batch.tokens.numel() / 8)

    def _cross_entropy(self, hidden: Tensor, target: Tensor, ctx) -> tuple[Tensor, Tensor]:
        logits = self.model.logits(hidden, ctx.numerics)
        losses = F.cross_entropy(logits, target, reduction="none")
        return losses, logits.detach().argmax(-1) == target

    def _average_gradients(self) -> float:
        grads = [p.grad for p in self.model.parameters() if p.grad is not None]
        if self.ranks > 1:
            flat = torch.cat([g.flatten() for g in grads])
            dist.all_reduce(flat)
            flat /= self.ranks
            offset = 0
            for g in grads:
                g.copy_(flat[offset : offset + g.numel()].view_as(g))
                offset += g.numel()
        return float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP))

    def _balance_routers(self) -> None:
        for layer in [*self.model.layers, self.model.mtp]:
            if not layer.ffn.hashed:
                load = layer.ffn.load
                if self.ranks > 1:
                    dist.all_reduce(load)
                layer.ffn.bias += BIAS_SPEED * torch.sign(load.mean() - load)
                load.zero_()

    def train_step(self) -> dict:
        started = time.monotonic()
        shape = batches.pick_shape(self.stage, self.step, self.seed)
        rng = batches.generator(self.seed, self.stage.name, self.step, self.rank)
        batch = batches.make_batch(self.source, self.stage, rng, shape).to(self.device)
        lr = learning_rate(self.stage, self.step)
        record: dict = {"lr": lr}
        for p in self.model.parameters():
            p.grad = None
        self.loss(batch, record).backward()
        for p in self.model.parameters():  # every rank averages the same list
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        record["grad_norm"] = self._average_gradients()
        self.optimizer.step(lr)
        self._balance_routers()
        self.step += 1
        self.tokens += batch.tokens.numel() * self.ranks
        return record | {"step": self.step, "tokens": self.tokens, "seconds": time.monotonic() - started}

    # ------------------------------------------------------------ the stage

    def train(self) -> None:
        saved = time.monotonic()
        with Log(self.run / f"{self.stage.name}.csv", enabled=self.rank == 0) as log:
            while self.step < self.stage.steps:
                log.write(self.train_step(), self.stage.steps)
                if time.monotonic() - saved > SAVE_SECONDS:
                    self.save()
                    saved = time.monotonic()
        self.save()


class Log:
    """A CSV row per step, and a line of running means on the terminal every 20."""

    def __init__(self, path: Path, *, enabled: bool):
        self.enabled = enabled
        if enabled:
            fresh = not path.exists()
            self.file = open(path, "a", newline="")
            self.writer = csv.DictWriter(self.file, LOGGED, extrasaction="ignore")
            if fresh:
                self.writer.writeheader()
        self.recent: list[dict] = []

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_) -> None:
        if self.enabled:
            self.file.close()

    def write(self, record: dict, steps: int) -> None:
        if not self.enabled:
            return
        rounded = {k: f"{v:.5g}" if isinstance(v, float) else v for k, v in record.items()}
        self.writer.writerow(rounded)
        self.recent.append(record)
        if record["step"] % 20 == 0:
            self.file.flush()
            self._show(record, steps)
            self.recent.clear()

    def _show(self, record: dict, steps: int) -> None:
        means = []
        for name in LOGGED[4:]:
            values = [r[name] for r in self.recent if name in r]
            if values:
                means.append(f"{name} {sum(values) / len(values):.3f}")
        seconds = sum(r["seconds"] for r in self.recent) / len(self.recent)
        print(f"{record['step']}/{steps} {record['tokens'] / 1e6:.2f}M {seconds:.2f}s/step "
              + " ".join(means), flush=True)


def worker(rank: int, args: argparse.Namespace) -> None:
    if args.device == "cpu":
        torch.set_num_threads(1)
    if args.ranks > 1:
        dist.init_process_group("gloo", init_method=f"file://{args.run.resolve()}/rendezvous",
                                rank=rank, world_size=args.ranks)
    if args.compile:
        compile_parts(args.device)
    trainer = Trainer(STAGES[args.stage], Source(args.data), args.run, device=args.device,
                      seed=args.seed, rank=rank, ranks=args.ranks, start=args.start)
    trainer.train()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stage", choices=list(STAGES))
    parser.add_argument("--data", type=Path, required=True, help="folder that pocket.corpus wrote")
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--ranks", type=int, default=1, help="processes that share a step (CPU)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--start", type=Path, help="checkpoint folder whose weights a new run begins with")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    args = parser.parse_args()
    args.run.mkdir(parents=True, exist_ok=True)
    (args.run / "rendezvous").unlink(missing_ok=True)
    if args.ranks == 1:
        worker(0, args)
    else:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        torch.multiprocessing.spawn(worker, (args,), nprocs=args.ranks)


if __name__ == "__main__":
    main()
