"""The trainer's forward pass against the engine's, on an exported checkpoint (needs the built program).

BALEEN_PROGRAM names the program (default build/release/baleen). The weights are random: what is compared is
the arithmetic, in `exact` numerics, where both do the same sums in another order.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from pocket import export, quant
from pocket.config import MODEL_FOLDER, REPOSITORY, Config
from pocket.model import Numerics, Pocket, Selection
from pocket.start import spread_experts

BALEEN = os.environ.get("BALEEN_PROGRAM", REPOSITORY / "build" / "release" / "baleen")


@pytest.fixture(scope="module")
def model() -> Pocket:
    torch.manual_seed(3)
    model = Pocket(Config.load()).eval()
    spread_experts(model, torch.Generator().manual_seed(1))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1 or "ape" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
            if name.endswith("norm.weight"):  # stored in bf16, which the fp32 trainer does not round
                parameter.copy_(parameter.bfloat16().float())
    return model


@pytest.fixture(scope="module")
def checkpoint(model: Pocket, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_bytes((MODEL_FOLDER / name).read_bytes())
    export.write_model(model, folder)
    return folder


def engine_logits(folder: Path, tokens: torch.Tensor, numerics: str) -> np.ndarray:
    out = folder / "logits.npy"
    ids = ",".join(map(str, tokens.tolist()))
    subprocess.run([BALEEN, "logits", "--model", folder, "--tokens", ids, "--all", "--numerics", numerics,
                    "--npy", out], check=True)
    return np.load(out)


def trainer_logits(model: Pocket, tokens: torch.Tensor, numerics: Numerics) -> np.ndarray:
    with torch.no_grad():
        ctx = model.context(torch.arange(len(tokens))[None], numerics, Selection(model.config.index_topk))
        hidden = model.final_hidden(model.streams(tokens[None], ctx))
        return model.logits(hidden, numerics).numpy()


def test_checkpoint_is_complete(checkpoint: Path):
    shown = subprocess.run([BALEEN, "inspect", checkpoint, "--verify"], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stdout + shown.stderr


@pytest.mark.parametrize("length", [128, 256, 512])
def test_logits_agree_while_every_entry_is_selected(model: Pocket, checkpoint: Path, length: int):
    tokens = torch.randint(3, 2003, (length,), generator=torch.Generator().manual_seed(length))
    engine = engine_logits(checkpoint, tokens, "exact")
    trainer = trainer_logits(model, tokens, Numerics(weights=True))
    assert np.abs(engine - trainer).max() < 1e-4 * engine.std()


def test_logits_agree_with_selection(model: Pocket, checkpoint: Path):
    tokens = torch.randint(3, 2003, (2048,), generator=torch.Generator().manual_seed(9))
    engine = engine_logits(checkpoint, tokens, "exact")
    trainer = trainer_logits(model, tokens, Numerics(weights=True))
    # Two scores that differ by less than the rounding of two orders of sums may swap the last entry.
    far = np.abs(engine - trainer).max(-1) > 1e-4 * engine.std()
    assert not far[:600].any() and far.mean() < 0.02


def test_an_exported_checkpoint_keeps_its_values_for_ever(checkpoint: Path, tmp_path: Path):
    """Quantising what was quantised changes nothing (a scale may halve where no value needs it)."""
    once = export.read_model(checkpoint)
    export.write_model(once, tmp_path)
    (tmp_path / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    twice = export.read_model(tmp_path).state_dict()
    for name, value in once.state_dict().items():
        assert torch.equal(value, twice[name]), name


def test_fake_quantisation_is_what_is_stored():
    weight = torch.randn(200, 256) * torch.logspace(-3, 3, 256)
    values, scale = quant.fp8_weight_blocks(weight)
    assert values.abs().max() <= 448 and (torch.frexp(scale).mantissa == 0.5).all()
    spread = scale.repeat_interleave(128, 0)[:200].repeat_interleave(128, 1)
    assert torch.equal(quant.fp8_weight(weight), values * spread)
    assert (quant.fp8_weight(weight) - weight).abs().max() <= (448 / 14) * scale.max()


def test_e2m1_rounds_ties_to_even_codes():
    x = torch.tensor([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, -0.75, 7.0])
    assert quant.round_e2m1(x).tolist() == [0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0, -1.0, 6.0]


def test_probes_of_one_sequence_see_what_its_positions_see(model: Pocket):
    """With a single sequence there are no distractors, so a probe must not change its position."""
    from pocket.model import Probes

    tokens = torch.randint(3, 2003, (1, 1024), generator=torch.Generator().manual_seed(4))
    positions = torch.arange(1024)[None]
    probes = Probes(torch.zeros(3, dtype=torch.long), torch.tensor([200, 700, 1022]), torch.tensor([-1, 3, 5]))
    with torch.no_grad():
        plain = model.streams(tokens, model.context(positions, Numerics(), Selection(64)))
        probed = model.streams(tokens, model.context(positions, Numerics(), Selection(64), probes))
    assert (plain - probed).abs().max() < 1e-4


def test_causal(model: Pocket):
    """What comes later changes nothing before it."""
    tokens = torch.randint(3, 2003, (1, 512), generator=torch.Generator().manual_seed(5))
    other = tokens.clone()
    other[0, 300:] = 7
    positions = torch.arange(512)[None]
    with torch.no_grad():
        a = model.streams(tokens, model.context(positions, Numerics(), Selection(32)))
        b = model.streams(other, model.context(positions, Numerics(), Selection(32)))
    assert torch.allclose(a[:300], b[:300], atol=1e-5) and not torch.allclose(a[300:], b[300:], atol=1e-2)


def test_hyper_connections_in_cpp_are_those_in_pytorch():
    """Results and all gradients, with a number of tokens that no lane count divides."""
    from pocket import hyper
    from pocket.model import read_streams, write_streams

    hyper.load()

    def run(read, write) -> list[torch.Tensor]:
        g = torch.Generator().manual_seed(6)
        shapes = ((37, 4, 256), (37, 24), (24,), (3,), (37, 256))
        X, m, base, scale, y = (torch.randn(s, generator=g).requires_grad_() for s in shapes)
        u, post, comb = read(X, m, base, scale, 20, 1e-6, 1e-6)
        out = write(y * u, X, post, comb)
        out.backward(torch.randn(out.shape, generator=g))
        return [u, post, comb, out, *(t.grad for t in (X, m, base, scale, y))]

    for mine, reference in zip(run(hyper.ReadStreams.apply, hyper.WriteStreams.apply),
                               run(read_streams, write_streams)):
        assert (mine - reference).abs().max() < 1e-5 * reference.abs().max()
