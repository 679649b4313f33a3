"""The checks of the client tests themselves: that they can fail, and what they let through."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from box import Box
from server import BLOCK_TOKENS, Request, assert_prefix_kept

pytestmark = pytest.mark.fast

BEFORE = Request(api="chat", prompt_tokens=1000, cached_tokens=0, completion_tokens=50,
                 reasoning_tokens=9, finish_reason="stop", tools=True, scripted_turn=0,
                 divergence=None)
AFTER = replace(BEFORE, scripted_turn=1, prompt_tokens=1200)


def test_a_kept_prefix_may_lack_a_block() -> None:
    assert_prefix_kept([BEFORE, replace(AFTER, cached_tokens=1050 - BLOCK_TOKENS)])


def test_a_lost_prefix_fails_and_says_where() -> None:
    lost = replace(AFTER, cached_tokens=1049 - BLOCK_TOKENS, divergence="message 3")
    with pytest.raises(AssertionError, match="message 3"):
        assert_prefix_kept([BEFORE, lost])


@pytest.mark.parametrize("content", ["<\uFF5CDSML", "a\uFF5Cb", '"\\uff5c"', "tool DSML"])
def test_private_bytes_in_a_file_are_found(box: Box, content: str) -> None:
    assert box.private_bytes() == []
    file = box.write("deep/in/the/home.db", content)
    assert str(file) in box.private_bytes()[0]


def test_private_bytes_in_output_are_found(box: Box) -> None:
    box.run("/bin/echo", "</\uFF5CDSML\uFF5Cparameter>")
    assert "output" in box.private_bytes()[0]


def test_a_client_sees_none_of_our_environment(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    shown = box.run("/usr/bin/env")
    assert "SOME_API_KEY" not in shown
    assert f"HOME={box.home}" in shown


def test_a_failing_client_fails(box: Box) -> None:
    with pytest.raises(AssertionError, match="exit 1"):
        box.run("/bin/false")


def test_replies_are_typed_when_asked_for(box: Box) -> None:
    shown = box.converse([("name? ", "Ada"), ("again? ", "Bo")], "/bin/bash", "-c",
                         "read -p 'name? ' a; read -p 'again? ' b; echo $b and $a")
    assert "Bo and Ada" in shown


def test_the_network_is_loopback_alone() -> None:
    """Only the kernel's refusal (in some containers) may leave the tests on the outer network."""
    code = """
import socket, sys
import loopback
if loopback.enter():
    assert loopback.devices() == ["lo"], loopback.devices()
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=False)
    assert done.returncode == 0
