"""What the client tests share: the program, a tiny checkpoint, servers with scripts, boxes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import loopback
import pytest
from box import INSTALLED, REPOSITORY, Box
from server import Server


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fast: of `make test`; the others are of `make test-clients`")
    loopback.enter()


def pytest_report_header() -> str:
    alone = loopback.devices() == ["lo"]
    return "network: " + ("loopback alone" if alone else "NOT isolated, unshare is forbidden here")


@pytest.fixture(scope="session")
def program() -> str:
    path = Path(os.environ.get("BALEEN_PROGRAM", REPOSITORY / "build/release/baleen"))
    assert path.is_file(), f"{path}: no program there (make build, or set BALEEN_PROGRAM)"
    return str(path)


@pytest.fixture(scope="session")
def tiny(program: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint, written once and only read by the tests."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    subprocess.run([program, "synth", "--preset", "tiny", "--seed", "1", "--out", str(folder)],
                   check=True, timeout=300)
    return folder


Serve = Callable[[list[dict[str, Any]]], Server]


@pytest.fixture
def serve(program: str, tiny: Path, tmp_path: Path) -> Iterator[Serve]:
    """serve(turns) -> a running Server whose model samples those turns."""
    servers: list[Server] = []

    def start(turns: list[dict[str, Any]]) -> Server:
        servers.append(Server(program, tiny, turns, tmp_path / f"server{len(servers)}"))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def box(tmp_path: Path) -> Box:
    assert INSTALLED.is_dir(), f"{INSTALLED}: not there (tools/install_clients.sh all)"
    return Box(tmp_path / "box")
