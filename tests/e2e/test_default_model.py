"""Without --model: the pocket model that comes with the program, or $BALEEN_MODEL."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import TIMEOUT_S


def run(program: Path | str, model: str | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "BALEEN_MODEL"}
    if model is not None:
        environment["BALEEN_MODEL"] = model
    return subprocess.run([str(program), *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          encoding="utf-8", timeout=TIMEOUT_S, check=False, env=environment)


RUN = ("run", "--prompt", "Whales", "--max-tokens", "2", "--greedy")


def test_environment_names_one_and_the_program_says_so(program: str, tiny: Path) -> None:
    done = run(program, str(tiny), *RUN)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == f"model: {tiny} (BALEEN_MODEL)"
    given = run(program, "nowhere", *RUN, "--model", str(tiny))
    assert given.stdout == done.stdout and "BALEEN_MODEL" not in given.stderr


def test_pocket_model_beside_the_program(program: str, tiny: Path, tmp_path: Path) -> None:
    moved = tmp_path / "bin" / "baleen"
    moved.parent.mkdir()
    shutil.copy(program, moved)
    pocket = tmp_path / "share" / "baleen" / "models" / "pocket"
    pocket.parent.mkdir(parents=True)
    pocket.symlink_to(tiny)
    done = run(moved, None, *RUN)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == f"model: {pocket} (the pocket model)"


@pytest.mark.parametrize("arguments", [
    RUN, ("bench", "--contexts", "0"), ("chat",), ("serve", "--port", "0"), ("eval", "ppl"),
    ("eval", "recall")], ids=lambda arguments: " ".join(arguments[:2]))
def test_every_command_has_the_default(program: str, tmp_path: Path,
                                       arguments: tuple[str, ...]) -> None:
    missing = str(tmp_path / "missing")
    done = run(program, missing, *arguments)
    assert done.returncode == 2 and done.stdout == ""
    first, last = done.stderr.splitlines()
    assert first == f"model: {missing} (BALEEN_MODEL)"
    assert last.startswith("baleen: ") and missing in last


def test_logits_must_be_told(program: str, tiny: Path) -> None:
    done = run(program, str(tiny), "logits", "--tokens", "0", "--json")
    assert done.returncode == 2 and "--model" in done.stderr
