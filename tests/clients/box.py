"""What a client runs in: an empty home, an empty workspace, and none of our environment."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
INSTALLED = REPOSITORY / "build/clients"
# For one command of a client on two busy cores; reaching it is a failure, not a measurement.
TIMEOUT_S = 600

# Bytes of the private format between server and weights, which no client may ever see: the name,
# the bar U+FF5C as UTF-8, and the bar as JSON escapes it.
PRIVATE = [b"DSML", "\uFF5C".encode(), b"\\uff5c", b"\\uFF5C"]


@dataclass
class Box:
    root: Path
    outputs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for folder in (self.home, self.work, self.root / "tmp"):
            folder.mkdir(parents=True)

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def work(self) -> Path:
        return self.root / "work"

    def write(self, path: str, text: str) -> Path:
        """A settings file of the client, in its home."""
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def run(self, program: str | Path, *arguments: str | Path, **environment: str) -> str:
        """Runs an installed program to its end in the workspace; its standard output."""
        process = self._start(program, arguments, environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, err = process.communicate(timeout=TIMEOUT_S)
        finally:
            _end_group(process)
        stdout, stderr = out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
        self.outputs += [stdout, stderr]
        assert process.returncode == 0, f"exit {process.returncode}\n{stdout}\n{stderr}"
        return stdout

    def converse(self, replies: list[tuple[str, str]], program: str | Path,
                 *arguments: str | Path, **environment: str) -> str:
        """Runs a program at a terminal to its end: after each question of `replies` has appeared,
        its answer and Enter are typed. What the terminal showed, without colours.
        """
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (50, 250))  # no answer is wrapped
        process = self._start(program, arguments, environment, stdin=theirs, stdout=theirs,
                              stderr=theirs)
        os.close(theirs)
        try:
            shown = _type_replies(ours, replies)
            process.wait(timeout=TIMEOUT_S)
        finally:
            _end_group(process)
            os.close(ours)
        self.outputs.append(shown)
        assert process.returncode == 0, f"exit {process.returncode}\n{shown}"
        return shown

    def private_bytes(self) -> list[str]:
        """Where bytes of the private format have arrived: in output, or in any file of the box."""
        found = [f"output {text[:2000]!r}" for text in self.outputs
                 if any(mark in text.encode() for mark in PRIVATE)]
        for file in sorted(self.root.rglob("*")):
            if file.is_file() and not file.is_symlink():
                content = file.read_bytes()
                found += [f"{file}: {mark!r}" for mark in PRIVATE if mark in content]
        return found

    def _start(self, program: str | Path, arguments: tuple[str | Path, ...],
               more: dict[str, str], **streams: int) -> subprocess.Popen[bytes]:
        path = INSTALLED / program
        assert path.exists(), f"{path}: not installed (tools/install_clients.sh all)"
        environment = {
            "HOME": str(self.home),
            "PATH": f"{INSTALLED / 'bin'}:/usr/bin:/bin",
            "TMPDIR": str(self.root / "tmp"),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "NO_COLOR": "1",
        } | more
        return subprocess.Popen([str(path), *map(str, arguments)], cwd=self.work, env=environment,
                                start_new_session=True, **streams)


def _type_replies(terminal: int, replies: list[tuple[str, str]]) -> str:
    """Types each answer when its question has appeared; all that was shown until the end."""
    deadline = time.monotonic() + TIMEOUT_S
    shown, seen, waiting = b"", 0, list(replies)
    while select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # EIO: the other side is closed
            assert not waiting, f"never asked: {waiting}\n{_plain(shown)}"
            return _plain(shown)
        shown += chunk
        if waiting and (found := shown.find(waiting[0][0].encode(), seen)) >= 0:
            seen = found + len(waiting[0][0])
            os.write(terminal, waiting.pop(0)[1].encode() + b"\r")
    raise AssertionError(f"no end within {TIMEOUT_S} s\n{_plain(shown)}")


def _plain(shown: bytes) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode("utf-8", "replace"))


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends what the client has left running (its process group), and the client if need be."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
