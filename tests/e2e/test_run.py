"""baleen run: what it samples, where it stops, and what it says of itself."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import TIMEOUT_S

PROMPT = "Whales are"
BOS, EOS = 0, 1  # of the tiny checkpoint


def run(baleen, model: Path, *options: str | Path, stdin: str = "") -> dict[str, Any]:
    done = baleen("run", "--model", model, "--json", *options, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def encode(baleen, tiny: Path, text: str) -> list[int]:
    return json.loads(baleen("tokenize", "--tokenizer", tiny, stdin=text).stdout)


def decode(baleen, tiny: Path, tokens: list[int]) -> str:
    done = baleen("detokenize", "--tokenizer", tiny, stdin=json.dumps(tokens))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_json_fields(baleen, tiny: Path) -> None:
    result = run(baleen, tiny, "--prompt", PROMPT, "--max-tokens", "8", "--seed", "3",
                 "--ignore-eos")
    assert set(result) == {"text", "tokens", "prompt_tokens", "finish_reason", "prefill_tok_s",
                           "decode_tok_s", "kv_bytes", "seed"}
    assert result["seed"] == 3 and result["finish_reason"] == "length"
    assert result["prompt_tokens"] == 1 + len(encode(baleen, tiny, PROMPT))
    assert len(result["tokens"]) == 8
    assert result["prefill_tok_s"] > 0 and result["decode_tok_s"] > 0 and result["kv_bytes"] > 0


def test_greedy_is_the_argmax_of_the_logits(baleen, tiny: Path, tmp_path: Path) -> None:
    count = 12
    result = run(baleen, tiny, "--prompt", PROMPT, "--greedy", "--ignore-eos", "--max-tokens",
                 count)
    history = [BOS, *encode(baleen, tiny, PROMPT), *result["tokens"]]
    file = tmp_path / "logits.npy"
    done = baleen("logits", "--model", tiny, "--tokens", ",".join(map(str, history[:-1])), "--all",
                  "--npy", file)
    assert done.returncode == 0, done.stderr
    assert result["tokens"] == np.load(file)[-count:].argmax(axis=1).tolist()


def test_text_is_the_same_streamed_from_stdin_or_as_json(baleen, tiny: Path) -> None:
    options = ["--max-tokens", "40", "--seed", "11", "--ignore-eos"]
    result = run(baleen, tiny, *options, "--prompt", PROMPT)
    assert result == {**run(baleen, tiny, *options, stdin=PROMPT),
                      **{key: result[key] for key in ("prefill_tok_s", "decode_tok_s")}}
    done = baleen("run", "--model", tiny, *options, stdin=PROMPT)
    assert done.returncode == 0 and done.stdout == result["text"]
    assert "ended by: length" in done.stderr and "seed 11" in done.stderr


def test_the_seed_printed_repeats_a_run(baleen, tiny: Path) -> None:
    first = run(baleen, tiny, "--prompt", PROMPT, "--max-tokens", "24")
    again = run(baleen, tiny, "--prompt", PROMPT, "--max-tokens", "24", "--seed", first["seed"])
    assert again["tokens"] == first["tokens"] and again["text"] == first["text"]


def characters(text: str) -> list[str]:
    """Longest run of characters that are no replacement: a stop string that decodes alone."""
    return max(text.split("\N{REPLACEMENT CHARACTER}"), key=len)


def test_stop_strings_cut_the_text(baleen, tiny: Path) -> None:
    options = ["--prompt", PROMPT, "--max-tokens", "64", "--seed", "2", "--ignore-eos"]
    whole = run(baleen, tiny, *options)
    # Two neighbouring characters, so that the stop string spans tokens of this byte tokenizer.
    stop = characters(whole["text"][2:])[:2]
    assert len(stop) == 2
    result = run(baleen, tiny, *options, "--stop", "never to be seen", "--stop", stop)
    assert result["finish_reason"] == "stop"
    assert result["text"] == whole["text"][:whole["text"].index(stop)]
    assert result["tokens"] == whole["tokens"][:len(result["tokens"])]
    assert len(result["tokens"]) < len(whole["tokens"])
    done = baleen("run", "--model", tiny, *options, "--stop", stop)
    assert done.returncode == 0 and done.stdout == result["text"]


def test_a_stop_string_begun_and_not_finished_is_printed(baleen, tiny: Path) -> None:
    options = ["--prompt", PROMPT, "--max-tokens", "64", "--seed", "2", "--ignore-eos"]
    whole = baleen("run", "--model", tiny, *options).stdout
    begun = baleen("run", "--model", tiny, *options, "--stop", whole[-3:] + "and never this")
    assert begun.returncode == 0 and begun.stdout == whole


def test_the_end_of_text_token_ends_the_text(baleen, tiny: Path) -> None:
    # At temperature 100 the 512 tokens are about equally likely: each seed ends with probability
    # 1 - (511/512)^2000 = 0.98, and what follows is fixed by the seed.
    options = ["--prompt", PROMPT, "--temperature", "100"]
    for seed in range(4):
        result = run(baleen, tiny, *options, "--max-tokens", "2000", "--seed", seed)
        if result["finish_reason"] == "eos":
            break
    assert result["finish_reason"] == "eos"
    assert result["tokens"][-1] == EOS and EOS not in result["tokens"][:-1]
    assert len(result["tokens"]) < 2000
    longer = run(baleen, tiny, *options, "--seed", result["seed"], "--ignore-eos", "--max-tokens",
                 len(result["tokens"]) + 1)
    assert longer["tokens"][:-1] == result["tokens"] and longer["finish_reason"] == "length"


def test_empty_prompt(baleen, tiny: Path) -> None:
    result = run(baleen, tiny, "--prompt", "", "--max-tokens", "2")
    assert result["prompt_tokens"] == 1
    done = baleen("run", "--model", tiny, "--prompt", "", "--no-bos")
    assert done.returncode == 2 and "--no-bos" in done.stderr
    nothing = run(baleen, tiny, "--prompt", PROMPT, "--max-tokens", "0")
    assert nothing["tokens"] == [] and nothing["text"] == "" and nothing["decode_tok_s"] is None


def linked(tiny: Path, folder: Path, **changes: Any) -> Path:
    """The tiny checkpoint with another config."""
    folder.mkdir()
    for file in tiny.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "config.json").unlink()
    config = json.loads((tiny / "config.json").read_text(encoding="utf-8")) | changes
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_the_context_is_a_limit(baleen, tiny: Path, tmp_path: Path) -> None:
    model = linked(tiny, tmp_path / "short", max_position_embeddings=16, rope_scaling=None)
    result = run(baleen, model, "--prompt", "ab", "--no-bos", "--greedy", "--ignore-eos")
    assert result["finish_reason"] == "context full"
    assert result["prompt_tokens"] + len(result["tokens"]) == 17  # the last one is not run
    done = baleen("run", "--model", model, "--prompt", "a" * 64)
    assert done.returncode == 1 and "16" in done.stderr and done.stderr.count("\n") == 1


def test_ids_that_only_one_side_has(baleen, tiny: Path, shared: Path, tmp_path: Path) -> None:
    other = shared / "data/deepseek-v4-tokenizer.json"
    done = baleen("run", "--model", tiny, "--tokenizer", other, "--prompt", "leviathan")
    assert done.returncode == 2 and "511" in done.stderr and done.stderr.count("\n") == 1

    # A tokenizer without the upper ids: the model still samples them.
    tokenizer = json.loads((tiny / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["added_tokens"] = [token for token in tokenizer["added_tokens"]
                                 if token["id"] < 300]
    small = tmp_path / "tokenizer.json"
    small.write_text(json.dumps(tokenizer), encoding="utf-8")
    result = run(baleen, tiny, "--tokenizer", small, "--prompt", PROMPT, "--temperature", "100",
                 "--max-tokens", "64", "--seed", "1", "--ignore-eos")
    assert max(result["tokens"]) >= 300
    assert "\N{REPLACEMENT CHARACTER}" in result["text"]


@pytest.mark.parametrize("options", [["--top-k", "-1"], ["--min-p", "1.5"], ["--stop", ""],
                                     ["--seed", "x"], ["--temperature", "nan"]], ids=" ".join)
def test_values_out_of_range(baleen, tiny: Path, options: list[str]) -> None:
    done = baleen("run", "--model", tiny, "--prompt", PROMPT, *options)
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert options[0].strip("-") in done.stderr and done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_interrupt_prints_what_there_is(program: str, tiny: Path) -> None:
    process = subprocess.Popen(
        [program, "run", "--model", str(tiny), "--prompt", PROMPT, "--max-tokens", "1000000",
         "--seed", "1", "--ignore-eos"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    first = process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=TIMEOUT_S)
    assert first != b"" and process.returncode == 130
    last = stderr.decode().splitlines()[-1]
    assert last.endswith("ended by: interrupted") and "KV" in last, stderr
