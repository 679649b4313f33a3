"""baleen bench: rows that add up."""

from __future__ import annotations

import json
import math
import signal
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from conftest import TIMEOUT_S


def bench(baleen, model: Path, contexts: str, *options: str) -> dict[str, Any]:
    done = baleen("bench", "--model", model, "--contexts", contexts, "--prefill", "32", "--decode",
                  "4", "--repeat", "2", "--threads", "2", *options, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def report(baleen, tiny: Path) -> dict[str, Any]:
    return bench(baleen, tiny, "512,0,8192,512")


def test_top_level_says_what_was_measured(report: dict[str, Any], tiny: Path) -> None:
    assert report["model"] == str(tiny) and report["numerics"] == "official"
    assert report["impl"] in ("ref", "simd", "avx512")
    assert report["commit"] not in ("", None)
    machine = report["machine"]
    assert machine["threads"] == 2 and machine["cpu"]
    assert machine["bandwidth_bytes_s"] > 0 and machine["bf16_flops_s"] > 0


def test_rows_are_in_order_and_say_how_they_were_filled(report: dict[str, Any]) -> None:
    rows = report["rows"]
    assert [(row["context"], row["filled"]) for row in rows] == [
        (0, "prefill"), (512, "prefill"), (8192, "synthetic")]
    kv = [row["kv_bytes"] for row in rows]
    assert kv == sorted(set(kv))


def test_rates_and_fractions_belong_together(report: dict[str, Any]) -> None:
    for row in report["rows"]:
        for name in ("prefill_tok_s", "decode_tok_s"):
            assert 0 < row[name + "_min"] <= row[name] <= row[name + "_max"]
        assert math.isclose(row["bandwidth_fraction"],
                            row["decode_bytes_per_token"] * row["decode_tok_s"]
                            / report["machine"]["bandwidth_bytes_s"], rel_tol=1e-9)
        assert row["prefill_flops_fraction"] > 0 and row["rss_bytes"] > 0


def tensor_bytes(folder: Path) -> dict[str, int]:
    sizes = {}
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as stream:
            header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
        for name, entry in header.items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                sizes[name] = end - begin
    return sizes


def decode_weight_bytes(folder: Path, config: dict[str, Any]) -> int:
    """Bytes of the matrices that one token multiplies with, scales included."""
    total = 0.0
    for name, size in tensor_bytes(folder).items():
        parts = name.split(".")
        is_matrix = parts[-1] in ("weight", "scale") and "norm" not in parts[-2]
        is_mix = parts[-1].endswith("_fn")
        if "mtp" in parts or parts[0] == "embed" or not (is_matrix or is_mix):
            continue
        routed = "experts" in parts
        total += size * (config["num_experts_per_tok"] / config["n_routed_experts"]
                         if routed else 1)
    return round(total)


def decode_kv_bytes(config: dict[str, Any], position: int) -> int:
    """Bytes of KV rows and index keys that the token at this position reads (spec 4 to 6)."""
    nope = config["head_dim"] - config["qk_rope_head_dim"]
    row = nope + 2 * config["qk_rope_head_dim"] + (nope + 63) // 64
    row = (row + 7) // 8 * 8
    key = config["index_head_dim"] // 2 + config["index_head_dim"] // 32
    total = 0
    for ratio in config["compress_ratios"][:config["num_hidden_layers"]]:
        total += row * min(position + 1, config["sliding_window"])
        visible = (position + 1) // ratio if ratio else 0
        if ratio == 4 and visible > config["index_topk"]:
            total += visible * key + config["index_topk"] * row
        else:
            total += visible * row
    return total


def test_bytes_per_token_are_those_of_the_spec(report: dict[str, Any], tiny: Path) -> None:
    config = json.loads((tiny / "config.json").read_text(encoding="utf-8"))
    weights = decode_weight_bytes(tiny, config)
    for row in report["rows"]:
        positions = range(row["context"], row["context"] + 4)
        kv = sum(decode_kv_bytes(config, position) for position in positions) / 4
        assert row["decode_bytes_per_token"] == pytest.approx(weights + kv, rel=1e-12)


def test_fill_can_be_chosen(baleen, tiny: Path) -> None:
    rows = bench(baleen, tiny, "256,384", "--fill", "synthetic")["rows"]
    assert [row["filled"] for row in rows] == ["prefill", "synthetic"]
    rows = bench(baleen, tiny, "4608", "--fill", "prefill")["rows"]
    assert [row["filled"] for row in rows] == ["prefill"]


def test_table_names_machine_and_commit(baleen, report: dict[str, Any], tiny: Path) -> None:
    done = baleen("bench", "--model", tiny, "--contexts", "0", "--prefill", "8", "--decode", "2",
                  "--repeat", "1", "--threads", "2")
    assert done.returncode == 0, done.stderr
    for words in (report["machine"]["cpu"], "2 threads", report["impl"], report["commit"],
                  "context"):
        assert words in done.stdout, done.stdout


@pytest.mark.parametrize(("options", "word"), [
    (["--contexts", "1048576"], "1048576"), (["--contexts", "0,-1"], "-1"),
    (["--contexts", "0", "--json", "--csv"], "--csv"), (["--contexts", "0", "--repeat", "0"], "0"),
    (["--contexts", "0", "--fill", "sand"], "sand")], ids=str)
def test_bad_values(baleen, tiny: Path, options: list[str], word: str) -> None:
    done = baleen("bench", "--model", tiny, *options)
    assert done.returncode == 2 and done.stdout == "", done.stderr
    assert word in done.stderr and done.stderr.count("\n") == 1


def catches_interrupts(pid: int) -> bool:
    """Whether the process has a handler of its own for SIGINT."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    mask = next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1]
    return int(mask, 16) >> (signal.SIGINT - 1) & 1 == 1


def test_interrupt(program: str, tiny: Path) -> None:
    process = subprocess.Popen(
        [program, "bench", "--model", str(tiny), "--contexts", "1000000", "--fill", "prefill"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not catches_interrupts(process.pid):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130, stderr
    assert stdout == "" and stderr.startswith("baleen: ")
