"""The tool of the Python agents beside this file, and their command line."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DESCRIPTION = "Runs a bash command in the workspace and returns what it prints."
PARAMETERS = {
    "type": "object",
    "properties": {"command": {"type": "string"}},
    "required": ["command"],
}
SYSTEM = "You are an agent with a shell."


def bash(arguments: dict[str, Any]) -> str:
    done = subprocess.run(["bash", "-c", arguments["command"]], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, encoding="utf-8", check=False)
    return done.stdout


@dataclass
class Turn:
    """PROVIDER URL MODEL PROMPT TRANSCRIPT: one user turn of a conversation kept as JSON."""

    provider: str
    url: str
    model: str
    prompt: str
    transcript: Path

    @staticmethod
    def from_command_line() -> Turn:
        provider, url, model, prompt, transcript = sys.argv[1:]
        return Turn(provider, url, model, prompt, Path(transcript))

    def load(self) -> list[Any]:
        return json.loads(self.transcript.read_text("utf-8")) if self.transcript.exists() else []

    def save(self, messages: list[Any]) -> None:
        self.transcript.write_text(json.dumps(messages, ensure_ascii=False), encoding="utf-8")
