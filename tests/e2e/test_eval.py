"""baleen eval: the plumbing, on a checkpoint that knows nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from test_cli import assert_bad_input

LINES = "".join(f"Line {i} of a text about whales.\n" for i in range(300))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(LINES, encoding="utf-8")
    return path


def evaluate(baleen, *arguments: str | Path) -> dict[str, Any]:
    done = baleen("eval", *arguments, "--threads", "2", "--json", "-")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def recall(baleen, tiny: Path, text: Path, *options: str) -> dict[str, Any]:
    return evaluate(baleen, "recall", "--model", tiny, "--text", text, "--lengths", "1K,600",
                    "--questions", "3", *options)


def without_times(report: dict[str, Any]) -> dict[str, Any]:
    rows = [{key: value for key, value in row.items()
             if key not in ("seconds", "prefill_tok_s", "decode_tok_s")} for row in report["rows"]]
    return {**report, "rows": rows}


@pytest.fixture(scope="module")
def recalled(baleen, tiny: Path, text: Path) -> dict[str, Any]:
    return recall(baleen, tiny, text)


def test_recall_says_what_was_measured(recalled: dict[str, Any], tiny: Path) -> None:
    assert recalled["eval"] == "recall" and recalled["model"] == str(tiny)
    assert (recalled["seed"], recalled["values"], recalled["ablate"]) == (1, "words", "none")
    assert [row["length"] for row in recalled["rows"]] == [600, 1024]
    config = json.loads((tiny / "config.json").read_text(encoding="utf-8"))
    for row in recalled["rows"]:
        assert row["blocks"] == row["length"] // 4
        assert row["index_topk"] == config["index_topk"]
        assert row["prefill_tok_s"] > 0 and row["decode_tok_s"] > 0 and row["seconds"] > 0
        assert row["kv_bytes"] > 0


def test_recall_counts_add_up(recalled: dict[str, Any]) -> None:
    for row in recalled["rows"]:
        answers = row["answers"]
        assert len(answers) == row["exact"]["trials"] == row["first"]["trials"] == 3
        assert sum(depth["trials"] for depth in row["depths"]) == 3
        assert row["haystacks"] >= 2 and row["facts"] >= 3  # one or two facts in each
        assert {answer["haystack"] for answer in answers} == set(range(row["haystacks"]))
        for answer in answers:
            assert 0 <= answer["depth"] < 1
            assert answer["expected"].startswith(f"The code of {answer['key']} is ")
            assert answer["exact"] == (answer["answer"] == answer["expected"])
        assert row["exact"]["hits"] == sum(answer["exact"] for answer in answers)
        assert 0 <= row["exact"]["low"] <= row["exact"]["percent"] <= row["exact"]["high"] <= 100


def test_recall_is_deterministic(baleen, tiny: Path, text: Path, recalled: dict[str, Any]) -> None:
    assert without_times(recall(baleen, tiny, text)) == without_times(recalled)
    other = recall(baleen, tiny, text, "--seed", "2")
    assert [a["key"] for a in other["rows"][0]["answers"]] != [
        a["key"] for a in recalled["rows"][0]["answers"]]


def test_ablations_change_answers_not_questions(baleen, tiny: Path, text: Path,
                                                recalled: dict[str, Any]) -> None:
    keys = [a["key"] for a in recalled["rows"][1]["answers"]]
    answers = {"none": [a["answer"] for a in recalled["rows"][1]["answers"]]}
    for ablation in ("random", "window", "no-hca"):
        report = recall(baleen, tiny, text, "--ablate", ablation)
        assert report["ablate"] == ablation
        assert [a["key"] for a in report["rows"][1]["answers"]] == keys
        answers[ablation] = [a["answer"] for a in report["rows"][1]["answers"]]
    assert answers["window"] != answers["none"] and answers["no-hca"] != answers["none"]


def test_recall_table_and_picture(baleen, tiny: Path, text: Path, tmp_path: Path) -> None:
    report, picture = tmp_path / "report.json", tmp_path / "recall.svg"
    done = baleen("eval", "recall", "--model", tiny, "--text", text, "--lengths", "600",
                  "--questions", "2", "--values", "digits", "--place", "user", "--json", report,
                  "--svg", picture)
    assert done.returncode == 0, done.stderr
    assert "exact % by depth" in done.stdout and "600" in done.stdout
    row = json.loads(report.read_text(encoding="utf-8"))["rows"][0]
    assert all(answer["expected"].rstrip(".").split()[-1].isdigit() for answer in row["answers"])
    svg = picture.read_text(encoding="utf-8")
    assert svg.startswith("<svg ") and svg.endswith("</svg>\n") and ">600<" in svg


@pytest.mark.parametrize(("options", "words"), [
    (["--lengths", "1048576"], ["1048576", "allowed"]),
    (["--lengths", "4"], ["4"]),
    (["--lengths", "4Q"], ["--lengths"]),
    (["--lengths", "600", "--questions", "0"], ["--questions"]),
    (["--lengths", "600", "--ablate", "all"], ["--ablate", "window"]),
    (["--lengths", "600", "--values", "songs"], ["--values"]),
    (["--lengths", "600", "--text", "{missing}"], ["{missing}"]),
], ids=str)
def test_recall_bad_input(baleen, tiny: Path, text: Path, tmp_path: Path, options: list[str],
                          words: list[str]) -> None:
    missing = str(tmp_path / "missing")
    arguments = [option.format(missing=missing) for option in options]
    if "--text" not in arguments:
        arguments += ["--text", str(text)]
    assert_bad_input(baleen("eval", "recall", "--model", tiny, *arguments),
                     *(word.format(missing=missing) for word in words))


# ---- ppl


def expected_bits(baleen, tiny: Path, windows: list[list[int]], folder: Path) -> list[np.ndarray]:
    """-log2 p of every token but the first, of each window; by `baleen logits`."""
    bits = []
    for ids in windows:
        path = folder / "logits.npy"
        done = baleen("logits", "--model", tiny, "--tokens", ",".join(map(str, ids[:-1])), "--all",
                      "--npy", path)
        assert done.returncode == 0, done.stderr
        logits = np.load(path).astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        bits.append(-log_p[np.arange(len(ids) - 1), ids[1:]] / math.log(2))
    return bits


def test_ppl_is_that_of_the_logits(baleen, tiny: Path, tmp_path: Path) -> None:
    text = LINES[:700]
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8")
    done = baleen("tokenize", "--tokenizer", tiny, "--plain", stdin=text)
    ids = json.loads(done.stdout)
    bos = json.loads((tiny / "config.json").read_text(encoding="utf-8"))["bos_token_id"]
    windows = [[bos, *ids[i:i + 299]] for i in range(0, len(ids), 299)]
    bits = expected_bits(baleen, tiny, windows, tmp_path)

    report = evaluate(baleen, "ppl", "--model", tiny, "--text", path, "--context", "300")
    assert report["windows"] == len(windows) and report["tokens"] == len(ids)
    assert report["bytes"] == len(text)
    total = sum(float(window.sum()) for window in bits)
    assert report["bits_per_byte"] == pytest.approx(total / len(text), rel=1e-6)
    assert report["perplexity"] == pytest.approx(2 ** (total / len(ids)), rel=1e-5)
    assert [(band["begin"], band["end"]) for band in report["positions"]] == [
        (1, 128), (128, 256), (256, 300)]
    for band in report["positions"]:
        part = np.concatenate([w[band["begin"] - 1:band["end"] - 1] for w in bits])
        assert band["tokens"] == len(part)
        assert band["perplexity"] == pytest.approx(2 ** part.mean(), rel=1e-5)


def test_ppl_windows_can_be_limited(baleen, tiny: Path, text: Path) -> None:
    report = evaluate(baleen, "ppl", "--model", tiny, "--text", text, "--context", "128",
                      "--windows", "2")
    assert report["windows"] == 2 and report["tokens"] == 2 * 127


def test_ppl_table(baleen, tiny: Path, text: Path) -> None:
    done = baleen("eval", "ppl", "--model", tiny, "--text", text, "--context", "200", "--windows",
                  "1")
    assert done.returncode == 0, done.stderr
    assert "bits per byte" in done.stdout and "128 to 199" in done.stdout


def test_ppl_bad_input(baleen, tiny: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("", encoding="utf-8")
    assert_bad_input(baleen("eval", "ppl", "--model", tiny, "--text", empty), str(empty), "empty")
    assert_bad_input(baleen("eval", "ppl", "--model", tiny), str(tiny / "eval" / "text.txt"))
    assert_bad_input(baleen("eval", "ppl", "--model", tiny, "--text", empty, "--context", "1"),
                     "--context")


def test_an_evaluation_must_be_named(baleen) -> None:
    assert_bad_input(baleen("eval"))
    assert baleen("eval", "swim").returncode == 2


@pytest.mark.parametrize("evaluation", ["recall", "ppl"])
def test_help_has_examples(baleen, evaluation: str) -> None:
    done = baleen("eval", evaluation, "--help")
    assert done.returncode == 0
    assert f"baleen eval {evaluation}" in done.stdout.partition("\nExample")[2]
