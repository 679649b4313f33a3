"""What every command promises alike: help, exit codes, one-line errors, pipes, signals."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

from conftest import TIMEOUT_S

COMMANDS = ["inspect", "cost", "synth", "logits", "tokenize", "detokenize", "render", "parse",
            "run", "chat", "serve", "bench", "eval", "sandbox", "completion"]


def assert_bad_input(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit 2, nothing on stdout, and one line on stderr that holds every word."""
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    assert done.stderr.startswith("baleen: ")
    assert done.stderr.endswith("\n") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_help_lists_every_command(baleen) -> None:
    done = baleen("--help")
    assert done.returncode == 0 and done.stderr == ""
    for command in COMMANDS:
        assert re.search(rf"^  {command}\b", done.stdout, re.MULTILINE), command


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_examples(baleen, command: str) -> None:
    done = baleen(command, "--help")
    assert done.returncode == 0 and done.stderr == ""
    _, heading, examples = done.stdout.partition("\nExample")
    assert heading and f"baleen {command}" in examples, done.stdout


def test_version(baleen) -> None:
    done = baleen("--version")
    assert done.returncode == 0 and done.stderr == ""
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], []),
        (["swim"], ["swim"]),
        (["cost", "--no-such-flag"], ["--no-such-flag"]),
        (["cost", "--context", "-1"], ["--context", "-1"]),
        (["cost", "--context", "many"], ["--context", "many"]),
        (["cost", "--context"], ["--context"]),
        (["inspect"], []),
        (["inspect", "{missing}"], ["{missing}"]),
        (["inspect", "--config", "{missing}"], ["{missing}"]),
        (["inspect", "--config", "{garbage}", "--json"], ["{garbage}"]),
        (["synth", "--preset", "tiny"], ["--out"]),
        (["synth", "--out", "{missing}"], []),
        (["synth", "--out", "{missing}", "--preset", "huge"], ["huge"]),
        (["synth", "--out", "{missing}", "--preset", "flash-slice", "--layers", "0"],
         ["--layers", "0"]),
        (["synth", "--out", "{missing}", "--config", "{garbage}"], ["{garbage}"]),
        (["logits", "--tokens", "0", "--json"], ["--model"]),
        (["logits", "--model", "{missing}", "--tokens", "0", "--json"], ["{missing}"]),
        (["run", "--model", "{missing}", "--prompt", "x"], ["{missing}"]),
        (["bench", "--model", "{missing}", "--contexts", "0"], ["{missing}"]),
        (["tokenize"], ["--tokenizer"]),
        (["tokenize", "--tokenizer", "{missing}"], ["{missing}"]),
        (["tokenize", "--tokenizer", "{garbage}"], ["{garbage}"]),
        (["detokenize", "--tokenizer", "{missing}"], ["{missing}"]),
        (["completion", "tcsh"], ["tcsh", "bash", "zsh", "fish"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_arguments(baleen, tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    garbage = tmp_path / "garbage.json"
    garbage.write_text("{this is not JSON", encoding="utf-8")
    places = {"missing": str(tmp_path / "missing"), "garbage": str(garbage)}
    done = baleen(*(argument.format(**places) for argument in arguments))
    assert_bad_input(done, *(word.format(**places) for word in words))
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["logits", "--tokens", "", "--json"], ["--tokens"]),
        (["logits", "--tokens", "0,x", "--json"], ["x"]),
        (["logits", "--tokens", "-1", "--json"], ["-1"]),
        (["logits", "--tokens", "99999999", "--json"], ["99999999"]),
        (["logits", "--tokens", "0"], ["--json", "--npy"]),
        (["logits", "--tokens", "0", "--json", "--chunk", "0"], ["--chunk", "0"]),
        (["logits", "--tokens", "0", "--json", "--threads", "0"], ["--threads", "0"]),
        (["logits", "--tokens", "0", "--json", "--numerics", "rough"], ["rough", "official"]),
        (["logits", "--tokens", "0", "--json", "--impl", "magic"], ["magic", "ref"]),
        (["run", "--prompt", "x", "--temperature", "-1"], ["--temperature", "-1"]),
        (["run", "--prompt", "x", "--top-p", "2"], ["--top-p", "2"]),
        (["run", "--prompt", "x", "--max-tokens", "-3"], ["--max-tokens", "-3"]),
        (["run", "--prompt", "x", "--file", "{missing}"], ["--file"]),
        (["run", "--file", "{missing}"], ["{missing}"]),
        (["bench", "--contexts", "0,x"], ["--contexts", "x"]),
        (["bench", "--contexts", "0", "--decode", "-1"], ["--decode", "-1"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_arguments_beside_a_good_checkpoint(baleen, tiny: Path, tmp_path: Path,
                                                arguments: list[str], words: list[str]) -> None:
    places = {"missing": str(tmp_path / "missing")}
    command, *rest = (argument.format(**places) for argument in arguments)
    assert_bad_input(baleen(command, "--model", tiny, *rest),
                     *(word.format(**places) for word in words))


def run_into(program: str, arguments: list[str], stdout: int) -> tuple[int, str]:
    """Exit status and stderr of the program with its stdout at the given descriptor."""
    done = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, stdout=stdout,
                          stderr=subprocess.PIPE, encoding="utf-8", timeout=TIMEOUT_S, check=False)
    return done.returncode, done.stderr


def printing_commands(tiny: Path) -> list[list[str]]:
    return [
        ["--help"],
        ["--version"],
        ["completion", "bash"],
        ["cost", "--context", "1000000"],
        ["inspect", str(tiny)],
        ["logits", "--model", str(tiny), "--tokens", "0,1", "--json"],
        ["run", "--model", str(tiny), "--prompt", "Whales", "--max-tokens", "64", "--seed", "1"],
    ]


def test_full_disk_is_a_failure(program: str, tiny: Path) -> None:
    for arguments in printing_commands(tiny):
        with open("/dev/full", "wb") as full:
            status, stderr = run_into(program, arguments, full.fileno())
        assert status == 1, (arguments, status, stderr)
        assert "No space left on device" in stderr.splitlines()[-1], (arguments, stderr)


def test_closed_pipe_is_a_failure_not_a_silent_death(program: str, tiny: Path) -> None:
    for arguments in printing_commands(tiny):
        process = subprocess.Popen([program, *arguments], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        stderr = process.stderr.read()
        status = process.wait(TIMEOUT_S)
        assert status == 1, (arguments, status, stderr)
        assert "Broken pipe" in stderr.splitlines()[-1], (arguments, stderr)


def test_interrupt_ends_a_run_with_130(program: str, tiny: Path) -> None:
    process = subprocess.Popen(
        [program, "run", "--model", str(tiny), "--prompt", "Whales", "--max-tokens", "1000000",
         "--seed", "1"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.read(1) != b"", process.communicate(timeout=TIMEOUT_S)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130, stderr.decode()


def test_bash_completion_completes(baleen, tmp_path: Path) -> None:
    done = baleen("completion", "bash")
    assert done.returncode == 0, done.stderr
    script = tmp_path / "baleen.bash"
    script.write_text(done.stdout, encoding="utf-8")

    def completions(*words: str) -> list[str]:
        line = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _baleen; ' \
               'printf "%s\\n" "${COMPREPLY[@]}"'
        out = subprocess.run(["bash", "-c", line, "bash", script, "baleen", *words],
                             capture_output=True, encoding="utf-8", timeout=TIMEOUT_S, check=True)
        assert out.stderr == ""
        return out.stdout.split()

    assert set(COMMANDS) <= set(completions(""))
    assert completions("tok") == ["tokenize"]
    assert completions("completion", "") == ["bash", "zsh", "fish"]
    assert completions("cost", "--cont") == ["--context"]
    assert {"recall", "toolworld", "ppl"} == set(completions("eval", ""))
    assert completions("eval", "recall", "--abl") == ["--ablate"]
    assert "no-hca" in completions("eval", "recall", "--ablate", "")
    assert "--model" in completions("run", "--")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_completions_name_every_command(baleen, shell: str) -> None:
    done = baleen("completion", shell)
    assert done.returncode == 0, done.stderr
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", done.stdout), command
