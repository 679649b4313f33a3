"""qwen-code: /v1/chat/completions, its tool `run_shell_command`, `--continue`."""

from __future__ import annotations

import json

import scenario
from box import Box
from conftest import Serve
from server import KEY, MODEL

SETTINGS = {
    "general": {"disableAutoUpdate": True},
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    # Its memory asks for requests of its own, with tools, after every answer.
    "memory": {"enableManagedAutoMemory": False, "enableManagedAutoDream": False},
}


def test_qwen_code(serve: Serve, box: Box) -> None:
    server = serve(scenario.turns(
        "chat", "run_shell_command",
        lambda command: {"command": command, "description": "A step", "is_background": False}))
    box.write(".qwen/settings.json", json.dumps(SETTINGS))
    # The first message lists the workspace, anew when resumed: the files must be there already,
    # or qwen-code itself would begin another conversation.
    for name in scenario.FILES:
        (box.work / name).touch()

    def qwen(*arguments: str) -> str:
        return box.run("qwen-code/node_modules/.bin/qwen", "--auth-type", "openai",
                       "--approval-mode", "yolo", *arguments, OPENAI_API_KEY=KEY,
                       OPENAI_BASE_URL=f"{server.url}/v1", OPENAI_MODEL=MODEL)

    first = qwen(scenario.FIRST_PROMPT)
    second = qwen("--continue", scenario.SECOND_PROMPT)
    scenario.check(server, box, first, second)
