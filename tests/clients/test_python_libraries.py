"""The openai, anthropic and litellm libraries: all three APIs, streaming."""

from __future__ import annotations

import pytest
import scenario
from box import Box
from conftest import Serve
from server import KEY, MODEL


fast = pytest.mark.fast


@pytest.mark.parametrize(("agent", "provider", "api"), [
    pytest.param("openai_agent.py", "chat", "chat", marks=fast),
    pytest.param("openai_agent.py", "forgetful", "chat", marks=fast),
    pytest.param("openai_agent.py", "responses", "responses", marks=fast),
    pytest.param("anthropic_agent.py", "messages", "messages", marks=fast),
    pytest.param("anthropic_agent.py", "forgetful", "messages", marks=fast),
    pytest.param("litellm_agent.py", "openai", "chat", marks=fast),
    pytest.param("litellm_agent.py", "anthropic", "messages"),
    pytest.param("litellm_agent.py", "hosted_vllm", "chat"),
    pytest.param("litellm_agent.py", "deepseek", "chat"),
])
def test_python_library(serve: Serve, box: Box, agent: str, provider: str, api: str) -> None:
    server = serve(scenario.turns(api, "bash", lambda command: {"command": command}))

    def turn(prompt: str) -> str:
        # litellm's table of prices is otherwise fetched from outside.
        return box.run("python/bin/python", scenario.PROGRAMS / agent, provider, server.url,
                       MODEL, prompt, box.home / "transcript.json", BALEEN_KEY=KEY,
                       LITELLM_LOCAL_MODEL_COST_MAP="True")

    first = turn(scenario.FIRST_PROMPT)
    second = turn(scenario.SECOND_PROMPT)
    scenario.check(server, box, first, second)
