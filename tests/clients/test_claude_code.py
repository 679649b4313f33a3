"""Claude Code: /v1/messages, its tool `Bash`, `--continue`."""

from __future__ import annotations

import scenario
from box import Box
from conftest import Serve
from server import KEY, MODEL


def environment(url: str) -> dict[str, str]:
    models = ["ANTHROPIC_MODEL", "ANTHROPIC_DEFAULT_OPUS_MODEL", "ANTHROPIC_DEFAULT_SONNET_MODEL",
              "ANTHROPIC_DEFAULT_HAIKU_MODEL", "CLAUDE_CODE_SUBAGENT_MODEL"]
    return dict.fromkeys(models, MODEL) | {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_AUTH_TOKEN": KEY,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "API_TIMEOUT_MS": "600000",
    }


def test_claude_code(serve: Serve, box: Box) -> None:
    server = serve(scenario.turns("messages", "Bash",
                                  lambda command: {"command": command, "description": "A step"}))

    def claude(*arguments: str) -> str:
        return box.run("claude-code/node_modules/.bin/claude", "--allowedTools", "Bash", "-p",
                       *arguments, **environment(server.url))

    first = claude(scenario.FIRST_PROMPT)
    second = claude("--continue", scenario.SECOND_PROMPT)
    scenario.check(server, box, first, second)
