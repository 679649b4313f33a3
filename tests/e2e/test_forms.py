"""The command-line forms that users and other programs rely on (docs/cli.md)."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

# Published totals of the original releases (spec section 2).
PUBLISHED = {"flash": {"tensors": 69187, "bytes": 159609485896},
             "pro": {"tensors": 145116, "bytes": 864704792696}}


def json_of(done: Any) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("model", ["flash", "pro"])
def test_inspect_config_gives_the_published_totals(baleen, shared: Path, model: str) -> None:
    config = shared / f"spec/config-v4-{model}.json"
    assert json_of(baleen("inspect", "--config", config, "--json")) == PUBLISHED[model]


def test_inspect_reports_a_good_and_a_broken_checkpoint(baleen, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    assert baleen("synth", "--preset", "tiny", "--out", folder).returncode == 0
    assert baleen("inspect", folder, "--context", "4096").returncode == 0
    json_of(baleen("inspect", folder, "--json"))

    shard = sorted(folder.glob("*.safetensors"))[0]
    shard.unlink()
    done = baleen("inspect", folder)
    assert done.returncode == 2
    assert shard.name in done.stdout + done.stderr


@pytest.fixture(scope="session")
def cost_model(shared: Path) -> ModuleType:
    """The closed form as the spec gives it, an independent piece of Python."""
    spec = importlib.util.spec_from_file_location("cost_model", shared / "spec/cost_model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("context", [1, 127, 128, 4096, 131072, 1000000, 1048576])
def test_cost_agrees_with_the_spec(baleen, cost_model: ModuleType, context: int) -> None:
    result = json_of(baleen("cost", "--context", context, "--json"))
    assert result["context"] == context
    models = result["models"]
    flops_v32 = sum(cost_model.v32_flops(context).values())
    kv_v32 = cost_model.v32_kv(context)
    for key, spec in (("v4-flash", cost_model.FLASH), ("v4-pro", cost_model.PRO)):
        flops = sum(cost_model.v4_flops(spec, context).values())
        kv_bytes = cost_model.v4_kv(spec, context)
        assert math.isclose(models[key]["flops"], flops, rel_tol=1e-12)
        assert models[key]["kv_bytes"] == kv_bytes
        assert math.isclose(models[key]["flops_vs_v32"], flops / flops_v32, rel_tol=1e-12)
        assert math.isclose(models[key]["kv_vs_v32"], kv_bytes / kv_v32, rel_tol=1e-12)
        gqa8 = cost_model.gqa8_kv(spec["layers"] if "layers" in spec else len(spec["ratios"]),
                                  context)
        assert math.isclose(models[key]["kv_vs_gqa8"], kv_bytes / gqa8, rel_tol=1e-12)
    assert math.isclose(models["v3.2"]["flops"], flops_v32, rel_tol=1e-12)
    assert models["v3.2"]["kv_bytes"] == kv_v32
    assert set(models) == {"v4-flash", "v4-pro", "v3.2", "gqa8"}


def test_cost_writes_a_picture(baleen, tmp_path: Path) -> None:
    picture = tmp_path / "cost.svg"
    assert baleen("cost", "--context", "1000000", "--svg", picture).returncode == 0
    assert picture.read_text(encoding="utf-8").lstrip().startswith(("<svg", "<?xml"))


def digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(folder.iterdir())}


def test_synth_writes_the_same_bytes_for_the_same_arguments(baleen, tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        done = baleen("synth", "--preset", "tiny", "--seed", seed, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
    first = digests(tmp_path / "a")
    assert {"config.json", "model.safetensors.index.json"} <= first.keys()
    assert digests(tmp_path / "b") == first
    other = digests(tmp_path / "c")
    assert other.keys() == first.keys()
    assert any(other[name] != first[name] for name in first if name.endswith(".safetensors"))


TOKENS = "0,17,4,99,3,250,8,8,41"


def logits(baleen, tiny: Path, file: Path, *options: str) -> np.ndarray:
    done = baleen("logits", "--model", tiny, "--tokens", TOKENS, "--npy", file, *options)
    assert done.returncode == 0, done.stderr
    return np.load(file)


def test_logits_have_the_stated_shape(baleen, tiny: Path, tmp_path: Path) -> None:
    vocab = json.loads((tiny / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    last = logits(baleen, tiny, tmp_path / "last.npy")
    every = logits(baleen, tiny, tmp_path / "all.npy", "--all")
    assert last.dtype == every.dtype == np.float32
    assert last.shape == (1, vocab)
    assert every.shape == (len(TOKENS.split(",")), vocab)
    assert np.isfinite(every).all() and np.ptp(every, axis=1).min() > 0
    assert last.tobytes() == every[-1:].tobytes()


def test_logits_as_json_are_the_same_numbers(baleen, tiny: Path, tmp_path: Path) -> None:
    expected = logits(baleen, tiny, tmp_path / "last.npy")
    result = json_of(baleen("logits", "--model", tiny, "--tokens", TOKENS, "--json"))
    values = result["logits"] if isinstance(result, dict) else result
    assert np.asarray(values, dtype=np.float32).tobytes() == expected.tobytes()


@pytest.mark.parametrize("options", [["--chunk", "1"], ["--chunk", "3"], ["--threads", "1"],
                                     ["--threads", "3", "--chunk", "2"]], ids=" ".join)
def test_logits_are_the_same_bytes_however_computed(baleen, tiny: Path, tmp_path: Path,
                                                    options: list[str]) -> None:
    expected = logits(baleen, tiny, tmp_path / "a.npy", "--all")
    assert logits(baleen, tiny, tmp_path / "b.npy", "--all", *options).tobytes() \
        == expected.tobytes()


def test_numerics_and_implementation_can_be_chosen(baleen, tiny: Path, tmp_path: Path) -> None:
    official = logits(baleen, tiny, tmp_path / "official.npy", "--numerics", "official")
    assert official.tobytes() == logits(baleen, tiny, tmp_path / "default.npy").tobytes()
    exact = logits(baleen, tiny, tmp_path / "exact.npy", "--numerics", "exact")
    assert exact.tobytes() != official.tobytes()
    reference = logits(baleen, tiny, tmp_path / "ref.npy", "--numerics", "exact", "--impl", "ref")
    # f32 sums in another order over a few layers of width <= 1000: far below 1 % of the spread.
    assert np.abs(reference - exact).max() <= 0.01 * np.ptp(exact)


@pytest.fixture(scope="session")
def tokenizer(shared: Path) -> Path:
    return shared / "data/deepseek-v4-tokenizer.json"


@pytest.mark.parametrize("number", [0, 1, *(pytest.param(n, marks=pytest.mark.repeat)
                                            for n in range(2, 12))])
def test_tokenize_and_detokenize(baleen, shared: Path, tokenizer: Path, number: int) -> None:
    examples = json.loads((shared / "spec/tokenizer-examples.json").read_text(encoding="utf-8"))
    example = examples["texts"][number]
    ids = json_of(baleen("tokenize", "--tokenizer", tokenizer, stdin=example["text"]))
    assert ids == example["ids"], example["text"]
    done = baleen("detokenize", "--tokenizer", tokenizer, stdin=json.dumps(ids))
    assert done.returncode == 0 and done.stdout == example["text"]


def test_plain_tokenize_recognises_no_added_token(baleen, tokenizer: Path) -> None:
    with_added = json_of(baleen("tokenize", "--tokenizer", tokenizer, stdin="<think>"))
    plain = json_of(baleen("tokenize", "--tokenizer", tokenizer, "--plain", stdin="<think>"))
    assert with_added == [128821] and plain == [30, 37947, 32]


@pytest.mark.parametrize(("text", "word"), [("not JSON", "stdin"), ("[-1]", "-1"),
                                            ("[99999999]", "99999999"), ("7", "stdin")])
def test_detokenize_refuses_what_is_no_list_of_ids(baleen, tokenizer: Path, text: str,
                                                   word: str) -> None:
    done = baleen("detokenize", "--tokenizer", tokenizer, stdin=text)
    assert done.returncode == 2 and done.stdout == ""
    assert word in done.stderr and done.stderr.count("\n") == 1


def run(baleen, tiny: Path, *options: str | Path) -> tuple[str, str]:
    done = baleen("run", "--model", tiny, "--max-tokens", "24", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_run_streams_text_and_ends_with_its_figures(baleen, tiny: Path) -> None:
    text, messages = run(baleen, tiny, "--prompt", "Whales are", "--seed", "1")
    assert text != ""
    last_line = messages.rstrip("\n").splitlines()[-1]
    assert "tok" in last_line and "/s" in last_line and "KV" in last_line, messages


def test_run_repeats_itself_with_the_same_seed(baleen, tiny: Path, tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Whales are", encoding="utf-8")
    seeded = run(baleen, tiny, "--prompt", "Whales are", "--seed", "5")[0]
    assert run(baleen, tiny, "--file", prompt, "--seed", "5")[0] == seeded
    assert run(baleen, tiny, "--prompt", "Whales are", "--seed", "6")[0] != seeded
    greedy = run(baleen, tiny, "--prompt", "Whales are", "--greedy", "--seed", "1")[0]
    assert run(baleen, tiny, "--prompt", "Whales are", "--greedy", "--seed", "2")[0] == greedy


def test_run_json_is_one_json_value_per_line(baleen, tiny: Path) -> None:
    text, _ = run(baleen, tiny, "--prompt", "Whales are", "--seed", "1", "--json")
    lines = text.splitlines()
    assert lines and all(isinstance(json.loads(line), dict) for line in lines)


BENCH_KEYS = {"context", "prefill_tok_s", "decode_tok_s", "decode_bytes_per_token",
              "bandwidth_fraction", "prefill_flops_fraction", "kv_bytes", "rss_bytes", "filled"}


def test_bench_rows(baleen, tiny: Path) -> None:
    arguments = ["bench", "--model", tiny, "--contexts", "0,256", "--prefill", "32", "--decode",
                 "4", "--threads", "2"]
    result = json_of(baleen(*arguments, "--json"))
    assert [row["context"] for row in result["rows"]] == [0, 256]
    for row in result["rows"]:
        assert BENCH_KEYS <= row.keys()
        assert row["filled"] in ("prefill", "synthetic")
        assert row["decode_tok_s"] > 0 and row["prefill_tok_s"] > 0
        assert row["kv_bytes"] > 0 and row["decode_bytes_per_token"] > 0

    done = baleen(*arguments, "--csv")
    assert done.returncode == 0, done.stderr
    header, *rows = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert BENCH_KEYS <= set(header.split(",")) and len(rows) == 2
