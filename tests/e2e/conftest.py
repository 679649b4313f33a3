"""What the end-to-end tests share: the program, how to run it, and a tiny checkpoint."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# Long enough for a sanitizer build on two busy cores; reaching it is a failure, not a measurement.
TIMEOUT_S = 300


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "repeat: the same again with other data; not under sanitizers")


@pytest.fixture(scope="session")
def program() -> str:
    path = Path(os.environ.get("BALEEN_PROGRAM", REPOSITORY / "build/release/baleen"))
    assert path.is_file(), f"{path}: no program there (make build, or set BALEEN_PROGRAM)"
    return str(path)


@pytest.fixture(scope="session")
def shared() -> Path:
    path = (REPOSITORY / os.environ.get("BALEEN_SHARED", "../shared")).resolve()
    assert path.is_dir(), f"{path}: no shared test data there (set BALEEN_SHARED)"
    return path


@pytest.fixture(scope="session")
def baleen(program: str):
    """Runs the program to its end: baleen("cost", "--context", "0") -> CompletedProcess."""

    def run(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *map(str, arguments)], input=stdin, capture_output=True,
                              encoding="utf-8", timeout=TIMEOUT_S, check=False)

    return run


@pytest.fixture(scope="session")
def tiny(baleen, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint, written once and only read by the tests."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    done = baleen("synth", "--preset", "tiny", "--seed", "1", "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder
