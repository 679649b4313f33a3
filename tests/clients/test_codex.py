"""Codex: /v1/responses, its tool `exec_command`, `exec resume`."""

from __future__ import annotations

import scenario
from box import Box
from conftest import Serve
from server import KEY, MODEL

CONFIG = """
model = "{model}"
model_provider = "baleen"
model_context_window = 1000000
check_for_update_on_startup = false

[analytics]
enabled = false

[model_providers.baleen]
name = "baleen"
base_url = "{url}/v1"
env_key = "BALEEN_KEY"
wire_api = "responses"
"""
OPTIONS = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]


def test_codex(serve: Serve, box: Box) -> None:
    server = serve(scenario.turns("responses", "exec_command", lambda command: {"cmd": command}))
    box.write(".codex/config.toml", CONFIG.format(model=MODEL, url=server.url))

    def codex(*arguments: str) -> str:
        return box.run("codex/node_modules/.bin/codex", "exec", *arguments, BALEEN_KEY=KEY)

    first = codex(*OPTIONS, scenario.FIRST_PROMPT)
    second = codex("resume", "--last", *OPTIONS, scenario.SECOND_PROMPT)
    scenario.check(server, box, first, second)
