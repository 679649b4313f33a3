"""pi: /v1/chat/completions, its tool `bash`, `--continue`."""

from __future__ import annotations

import json

import pytest
import scenario
from box import Box
from conftest import Serve
from server import KEY, MODEL

pytestmark = pytest.mark.fast


def models(url: str) -> str:
    model = {
        "id": MODEL,
        "reasoning": True,
        "input": ["text"],
        "contextWindow": 1000000,
        "maxTokens": 32000,
        "compat": {
            "thinkingFormat": "deepseek",
            "requiresReasoningContentOnAssistantMessages": True,
            "supportsDeveloperRole": False,
            "maxTokensField": "max_tokens",
            "supportsUsageInStreaming": True,
        },
    }
    provider = {"baseUrl": f"{url}/v1", "api": "openai-completions", "apiKey": KEY,
                "models": [model]}
    return json.dumps({"providers": {"baleen": provider}})


def test_pi(serve: Serve, box: Box) -> None:
    server = serve(scenario.turns("chat", "bash", lambda command: {"command": command}))
    box.write(".pi/agent/models.json", models(server.url))

    def pi(*arguments: str) -> str:
        return box.run("pi/node_modules/.bin/pi", "--provider", "baleen", "--model", MODEL,
                       "--thinking", "high", "--print", *arguments, PI_OFFLINE="1",
                       PI_TELEMETRY="0")

    first = pi(scenario.FIRST_PROMPT)
    second = pi("--continue", scenario.SECOND_PROMPT)
    scenario.check(server, box, first, second)
