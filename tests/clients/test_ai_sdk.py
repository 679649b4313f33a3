"""The Vercel AI SDK with each provider that reaches the server: all three APIs, streaming."""

from __future__ import annotations

import pytest
import scenario
from box import INSTALLED, Box
from conftest import Serve
from server import KEY, MODEL

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(("provider", "api"), [
    ("openai-compatible", "chat"),
    ("deepseek", "chat"),
    ("anthropic", "messages"),
    ("openai", "responses"),
])
def test_ai_sdk(serve: Serve, box: Box, provider: str, api: str) -> None:
    server = serve(scenario.turns(api, "bash", lambda command: {"command": command}))

    def turn(prompt: str) -> str:
        return box.run("bin/node", scenario.PROGRAMS / "ai_sdk.mjs", provider, server.url, MODEL,
                       prompt, box.home / "transcript.json", BALEEN_KEY=KEY,
                       PACKAGES=str(INSTALLED / "ai-sdk"))

    first = turn(scenario.FIRST_PROMPT)
    second = turn(scenario.SECOND_PROMPT)
    scenario.check(server, box, first, second)
