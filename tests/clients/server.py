"""`baleen serve` with a script that says what the model samples, and the log of its requests."""

from __future__ import annotations

import itertools
import json
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_TIMEOUT_S = 60
# The model's name in requests. The clients' own tables know it, so none of them guesses limits.
MODEL = "deepseek-v4-flash"
KEY = "not-a-secret"
# The prefix cache keeps whole blocks, so the last tokens of a sequence may be run again.
BLOCK_TOKENS = 128


@dataclass(frozen=True)
class Request:
    """One line of the request log."""

    api: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    finish_reason: str
    tools: bool
    scripted_turn: int | None  # None: a side request, answered by the script's `otherwise`
    divergence: str | None

    @staticmethod
    def parse(line: str) -> Request:
        fields = json.loads(line)
        return Request(**{name: fields[name] for name in Request.__dataclass_fields__})


class Server:
    """A running server. Used by one test, since a script's turns are used up."""

    def __init__(self, program: str, model: Path, turns: list[dict[str, Any]], folder: Path) -> None:
        folder.mkdir()
        script = folder / "script.json"
        script.write_text(json.dumps({"turns": turns, "otherwise": {"content": "ok"}}),
                          encoding="utf-8")
        self._log = folder / "requests.jsonl"
        self._errors = folder / "stderr.txt"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [program, "serve", "--model", str(model), "--port", "0", "--script", str(script),
                 "--request-log", str(self._log)], stdout=subprocess.PIPE, stderr=errors)
        try:
            self.url = self._first_line()
        except BaseException:
            self.stop()
            raise

    def requests(self) -> list[Request]:
        """Every request finished so far, in order of finishing."""
        if not self._log.exists():
            return []
        return [Request.parse(line) for line in self._log.read_text("utf-8").splitlines()]

    def scripted(self, count: int) -> list[Request]:
        """The requests that used up turns of the script, once there are `count` of them.

        The log's line may come a moment after the client has read the end of its stream.
        """
        deadline = time.monotonic() + 10
        while True:
            found = [request for request in self.requests() if request.scripted_turn is not None]
            if len(found) >= count or time.monotonic() > deadline:
                return found
            time.sleep(0.05)

    def errors(self) -> str:
        return self._errors.read_text("utf-8", "replace")

    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process.stdout.close()

    def _first_line(self) -> str:
        ready, _, _ = select.select([self._process.stdout], [], [], START_TIMEOUT_S)
        line = self._process.stdout.readline().decode().strip() if ready else ""
        assert line.startswith("http://127.0.0.1:"), f"no address but {line!r}; {self.errors()}"
        return line


def assert_prefix_kept(requests: list[Request]) -> None:
    """Each request of a conversation finds prompt and answer of the one before in the cache."""
    for before, after in itertools.pairwise(requests):
        expected = before.prompt_tokens + before.completion_tokens - BLOCK_TOKENS
        assert after.cached_tokens >= expected, (
            f"turn {after.scripted_turn}: {after.cached_tokens} of {after.prompt_tokens} prompt "
            f"tokens were cached, at least {expected} expected after turn {before.scripted_turn} "
            f"({before.prompt_tokens} + {before.completion_tokens}); divergence: "
            f"{after.divergence}")
