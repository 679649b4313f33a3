"""opencode: /v1/chat/completions, its tool `bash`, `run --continue`; asks for a title as well."""

from __future__ import annotations

import json

import scenario
from box import Box
from conftest import Serve
from server import KEY, MODEL


def settings(url: str) -> str:
    name = f"baleen/{MODEL}"
    model = {
        "name": MODEL,
        "reasoning": True,
        "tool_call": True,
        "interleaved": {"field": "reasoning_content"},
        "limit": {"context": 1000000, "output": 32000},
    }
    return json.dumps({
        "model": name,
        "small_model": name,
        "autoupdate": False,
        "share": "disabled",
        "permission": "allow",
        "provider": {
            "baleen": {
                "npm": "@ai-sdk/openai-compatible",
                "name": "baleen",
                "options": {"baseURL": f"{url}/v1", "apiKey": KEY},
                "models": {MODEL: model},
            },
        },
    })


def test_opencode(serve: Serve, box: Box) -> None:
    server = serve(scenario.turns("chat", "bash",
                                  lambda command: {"command": command, "description": "A step"}))
    box.write(".config/opencode/opencode.json", settings(server.url))

    def opencode(*arguments: str) -> str:
        return box.run("opencode/node_modules/.bin/opencode", "run", *arguments,
                       OPENCODE_DISABLE_AUTOUPDATE="1", OPENCODE_DISABLE_MODELS_FETCH="1",
                       OPENCODE_DISABLE_DEFAULT_PLUGINS="1", OPENCODE_DISABLE_LSP_DOWNLOAD="1")

    first = opencode(scenario.FIRST_PROMPT)
    second = opencode("--continue", scenario.SECOND_PROMPT)
    scenario.check(server, box, first, second)
