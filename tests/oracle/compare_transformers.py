"""Runs Hugging Face transformers on the tiny checkpoint and compares it with the numpy reference.

    python compare_transformers.py          # needs torch and transformers with deepseek_v4

Writes tests/golden/transformers.npz: its logits and per-layer residual streams at the golden
positions, in float32. It has no MTP block, no FP4 or FP8 of activations and no Hadamard rotation,
so it stands beside the `exact` numerics.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
import transformers

from make_checkpoint import TINY, export_transformers
from make_goldens import GOLDEN, POSITIONS, at_positions, golden_tokens
from reference import Model, Trace

DECODE_FROM_ZERO = 300  # tokens decoded one by one from an empty cache
DECODE_LATE = (2045, 2052)  # prefill up to the first, decode to the second


def load(folder: Path):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager",
        experts_implementation="eager", output_loading_info=True)
    assert not any(info.values()), info
    return model.eval()


def record(model, trace: dict[str, list[np.ndarray]]) -> None:
    """Appends each forward's tensors, [tokens, ...], under the names of the reference."""
    def keep(name: str, value: torch.Tensor) -> None:
        trace.setdefault(name, []).append(value.detach().numpy().copy())

    for index, layer in enumerate(model.model.layers):
        prefix = f"layers.{index}"
        layer.ffn_hc.register_forward_pre_hook(
            lambda _, args, p=prefix: keep(f"{p}.attn_out_streams", args[0][0]))
        layer.register_forward_hook(
            lambda _, args, out, p=prefix: keep(f"{p}.ffn_out_streams", out[0]))
        layer.mlp.gate.register_forward_hook(
            lambda _, args, out, p=prefix: keep(f"{p}.ffn.topk_ids", out[2].sort().values))
        indexer = getattr(layer.self_attn.compressor, "indexer", None)
        if indexer is not None:
            indexer.register_forward_hook(
                lambda _, args, out, p=prefix: keep(f"{p}.attn.topk", out[0]))


def lowest_index_first(scores: torch.Tensor, k: int, dim: int):
    """Tensor.topk with its unspecified order of ties made ours; only the indexer calls it."""
    return SimpleNamespace(indices=torch.sort(scores, dim=dim, descending=True,
                                              stable=True).indices[..., :k])


def forward(model, tokens, recorded: dict, cache=None):
    ids = torch.tensor(np.asarray(tokens))[None]
    with torch.no_grad(), mock.patch.object(torch.Tensor, "topk", lowest_index_first):
        out = model(ids, past_key_values=cache, use_cache=cache is not None)
    recorded.setdefault("final.logits", []).append(out.logits[0].numpy().copy())


def joined(recorded: dict[str, list[np.ndarray]]) -> Trace:
    return {name: np.concatenate(parts) for name, parts in recorded.items()
            if not name.endswith("attn.topk")}


def chosen_sets(rows: np.ndarray) -> list[set[int]]:
    return [{b for b in row if b >= 0} for row in rows.tolist()]


def report(title: str, got: Trace, want: Trace, first: int = 0) -> None:
    """Largest difference per tensor, relative to the tensor's spread, and where."""
    print(f"\n{title}")
    for name, value in got.items():
        if not name.endswith(("_out_streams", "logits")):
            continue
        reference = want[name][first : first + len(value)]
        error = np.abs(value - reference).reshape(len(value), -1).max(axis=1) / reference.std()
        print(f"  {name:28s} median {np.median(error):.1e}  99% {np.quantile(error, 0.99):.1e}  "
              f"max {error.max():.1e} at {first + error.argmax()}")


def report_choices(recorded: dict[str, list[np.ndarray]], want: Trace) -> None:
    print("\nchoices that differ (one-shot)")
    for name, parts in recorded.items():
        if not name.endswith(("topk", "topk_ids")):
            continue
        theirs, ours = chosen_sets(parts[0]), chosen_sets(want[name])
        differing = [t for t, (a, b) in enumerate(zip(theirs, ours)) if a != b]
        gaps = want[name.replace("topk_ids", "topk") + "_margin"][differing]
        print(f"  {name:24s} {len(differing)} positions, our gaps there "
              f"{[float(f'{g:.1e}') for g in gaps[:8]]}, first {differing[:8]}")


def check_frequencies(model, ours: Model) -> None:
    """The rotary tables must be the same bits, or the angles drift apart with the position."""
    rotary = model.model.rotary_emb
    for layer in ours.layers:
        theirs = rotary.compress_inv_freq if layer.ratio else rotary.main_inv_freq
        assert np.array_equal(theirs.numpy(), layer.freq), layer.name


def main() -> None:
    print("transformers", transformers.__version__, "torch", torch.__version__)
    tokens = golden_tokens(512)[:-1]
    want: Trace = {}
    ours = Model(TINY, "exact")
    ours.prefill(tokens, want)
    with tempfile.TemporaryDirectory() as folder:
        export_transformers(TINY, Path(folder))
        model = load(Path(folder))
    check_frequencies(model, ours)
    recorded: dict[str, list[np.ndarray]] = {}
    record(model, recorded)

    forward(model, tokens, recorded)
    one_shot = joined(recorded)
    report("one-shot prefill against numpy exact", one_shot, want)
    report_choices(recorded, want)
    stored = at_positions(one_shot, POSITIONS)
    np.savez_compressed(GOLDEN / "transformers.npz", positions=POSITIONS,
                        argmax=one_shot["final.logits"].argmax(axis=1).astype(np.int16), **stored)
    report("the same at the golden positions", stored, at_positions(want, POSITIONS))

    recorded.clear()
    cache = transformers.DynamicCache(config=model.config)
    for token in tokens[:DECODE_FROM_ZERO]:
        forward(model, [token], recorded, cache)
    report(f"decode of tokens 0..{DECODE_FROM_ZERO - 1} against numpy exact", joined(recorded), want)

    begin, end = DECODE_LATE
    cache = transformers.DynamicCache(config=model.config)
    forward(model, tokens[:begin], {}, cache)
    recorded.clear()
    for token in tokens[begin:end]:
        forward(model, [token], recorded, cache)
    report(f"prefill of {begin}, decode to {end} against numpy exact", joined(recorded), want, begin)


if __name__ == "__main__":
    main()
