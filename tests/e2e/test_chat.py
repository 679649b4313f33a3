"""`baleen chat`: piped, and in a terminal of its own."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import TIMEOUT_S

THOUGHT = "The sea is old."
LONG = "krill " * 300
TURNS: list[dict[str, Any]] = [
    {"when": {"contains": "long"}, "reasoning": "Much.", "content": LONG, "repeat": True},
    {"when": {"contains": "weather", "tools": True}, "reasoning": "Look.", "content": "I look.",
     "repeat": True, "tool_calls": [{"name": "get_weather", "arguments": {"city": "Bergen"}},
                                    {"name": "get_weather", "arguments": {"city": "Oslo"}}]},
    {"when": {"contains": "call"}, "content": "Calling.", "repeat": True,
     "tool_calls": [{"name": "no_such_tool", "arguments": {}}]},
    {"when": {"last_role": "tool"}, "reasoning": "Two.", "content": "Bergen 12, Oslo 9.",
     "repeat": True},
    {"when": {"contains": "escape"}, "content": "a\x1b]0;taken\x07b", "repeat": True},
    {"reasoning": THOUGHT, "content": "First.\nSecond line."},
    {"reasoning": "Again.", "content": "Second."},
    {"reasoning": "Third time.", "content": "Third."},
]
TOOLS = [{"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}},
                   "required": ["city"]}}}]


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chat") / "script.json"
    path.write_text(json.dumps({"turns": TURNS, "otherwise": {"content": "Otherwise."}}))
    return path


@pytest.fixture
def chat(baleen, tiny: Path, script: Path):
    """chat("line", "line", options=[...]): the program fed with these lines, to its end."""

    def run(*lines: str, options: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        return baleen("chat", "--model", tiny, "--script", script, *(options or []),
                      stdin="".join(line + "\n" for line in lines))

    return run


def saved(path: Path) -> list[tuple[str, str]]:
    messages = json.loads(path.read_text(encoding="utf-8"))["messages"]
    return [(m["role"], m["content"]) for m in messages]


def test_each_line_is_a_message_and_answers_go_to_stdout(chat) -> None:
    done = chat("Why is the sea salty?", "", "And now?")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "First.\nSecond line.\nSecond.\n"
    assert re.search(r"^thought: \d+ tokens, ", done.stderr, re.M)
    assert THOUGHT not in done.stdout + done.stderr


def test_reasoning_is_printed_when_asked_for(chat) -> None:
    done = chat("Why?", "/reasoning off", "And?", options=["--reasoning"])
    assert done.stdout == f"{THOUGHT}\n\nFirst.\nSecond line.\nSecond.\n"
    done = chat("/reasoning on", "Why?")
    assert done.stdout == f"{THOUGHT}\n\nFirst.\nSecond line.\n"


def test_a_conversation_remembers_what_was_said(chat, tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    done = chat("/system Be brief.", "Why?", "And?", f"/save {path}")
    assert done.returncode == 0, done.stderr
    assert saved(path) == [("system", "Be brief."), ("user", "Why?"),
                           ("assistant", "First.\nSecond line."), ("user", "And?"),
                           ("assistant", "Second.")]


def test_the_second_prompt_reuses_the_first(chat) -> None:
    done = chat("Why is the sea salty, and since when has it been so?", "And?", "/context")
    prompt, cached = map(int, re.search(r"prompt (\d+) tokens \((\d+) cached\)",
                                        done.stderr).groups())
    assert 0 < cached < prompt
    assert re.search(r"^4 messages; .*KV \d", done.stderr, re.M)


def test_think_changes_the_mode(chat) -> None:
    done = chat("/think off", "Why?", "/think high", "And?")
    assert done.stdout == "First.\nSecond line.\nSecond.\n"
    assert len(re.findall("^thought: ", done.stderr, re.M)) == 1
    done = chat("Why?", options=["--think", "off"])
    assert "thought" not in done.stderr
    done = chat("Why?", options=["--think", "max", "--context", "4096"])
    assert "answered at high" in done.stderr
    done = chat("/think hard")
    assert done.returncode == 1 and "expected high, max or off" in done.stderr


def test_undo_takes_back_and_retry_answers_again(chat, tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    done = chat("Why?", "And?", "/undo", "But?", "/retry", f"/save {path}", "/undo", "/undo",
                "/undo", "/retry")
    assert done.stdout == "First.\nSecond line.\nSecond.\nThird.\nOtherwise.\n"
    assert saved(path) == [("user", "Why?"), ("assistant", "First.\nSecond line."),
                           ("user", "But?"), ("assistant", "Otherwise.")]
    assert "nothing to take back" in done.stderr and "no message to answer" in done.stderr
    assert done.returncode == 1


def test_save_load_and_render_agree(chat, baleen, tmp_path: Path) -> None:
    path, again = tmp_path / "chat.json", tmp_path / "again.json"
    chat("/system Be brief.", "/think off", "Why?", f"/save {path}")
    done = chat("Gone.", f"/load {path}", f"/save {again}")
    assert done.returncode == 0, done.stderr
    assert path.read_text() == again.read_text()
    rendered = baleen("render", stdin=path.read_text(encoding="utf-8"))
    assert rendered.returncode == 0 and "Be brief." in rendered.stdout, rendered.stderr
    path.write_text('{"messages": [{"role": "nobody", "content": ""}]}')
    done = chat(f"/load {path}", f"/load {tmp_path}/none", "Still there?")
    assert done.returncode == 1 and str(path) in done.stderr
    assert done.stdout == "First.\nSecond line.\n"


def test_new_forgets(chat, tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    chat("Why?", "/new", "And?", f"/save {path}")
    assert saved(path) == [("user", "And?"), ("assistant", "Second.")]


def test_tool_calls_are_shown_and_asked_for(chat, tmp_path: Path) -> None:
    tools, path = tmp_path / "tools.json", tmp_path / "chat.json"
    tools.write_text(json.dumps(TOOLS))
    done = chat("The weather?", "12", "9", f"/save {path}", options=["--tools", str(tools)])
    assert done.returncode == 0, done.stderr
    assert done.stdout == ('I look.\n[get_weather {"city": "Bergen"}]\n'
                           '[get_weather {"city": "Oslo"}]\nBergen 12, Oslo 9.\n')
    assert saved(path) == [("user", "The weather?"), ("assistant", "I look."), ("tool", "12"),
                           ("tool", "9"), ("assistant", "Bergen 12, Oslo 9.")]


def test_calls_without_declared_tools_are_shown_only(chat, tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    done = chat("Make a call", "Why?", f"/save {path}")
    assert done.stdout == "Calling.\n[no_such_tool {}]\nFirst.\nSecond line.\n"
    assert saved(path)[2] == ("tool", "error: there is no tool no_such_tool")


def test_an_answer_that_fails_is_taken_back_and_told(chat, tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    done = chat("word " * 400, "Why?", f"/save {path}", options=["--context", "256"])
    assert done.returncode == 1 and "too long" in done.stderr
    assert done.stdout == "First.\nSecond line.\n"
    assert saved(path)[0] == ("user", "Why?")


def test_commands_and_slashes(chat, tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    done = chat("/help", "//etc/hosts?", f"/save {path}", "/nonsense", "/quit", "Not read")
    assert done.stdout == "First.\nSecond line.\n" and "/retry" in done.stderr
    assert saved(path)[0] == ("user", "/etc/hosts?")
    assert done.returncode == 1 and "/nonsense" in done.stderr
    assert chat("/quit").returncode == 0


@pytest.mark.parametrize("options", [["--think", "hard"], ["--tools", "/none"],
                                     ["--temperature", "-1"], ["--dialect", "v3"]], ids=" ".join)
def test_bad_options_are_one_line(chat, options: list[str]) -> None:
    done = chat("Why?", options=options)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""


def test_a_closed_pipe_ends_it(program: str, tiny: Path, script: Path) -> None:
    process = subprocess.Popen([program, "chat", "--model", str(tiny), "--script", str(script)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    assert process.stdin and process.stdout
    process.stdout.close()
    process.stdout = None
    _, stderr = process.communicate(b"A long story\nWhy?\n", timeout=TIMEOUT_S)
    assert process.returncode == 1 and b"stdout" in stderr


def test_interrupt_stops_a_piped_answer_and_the_next_line_is_read(
        program: str, tiny: Path, script: Path, tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    process = subprocess.Popen([program, "chat", "--model", str(tiny), "--script", str(script)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    assert process.stdin and process.stdout
    process.stdin.write(b"A long story\n")
    process.stdin.flush()
    assert process.stdout.read(5) == b"krill"
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(f"Why?\n/save {path}\n".encode(), timeout=TIMEOUT_S)
    assert process.returncode == 0, stderr
    assert stdout.endswith(b"\nFirst.\nSecond line.\n") and b"stopped after" in stderr
    roles = saved(path)
    assert [role for role, _ in roles] == ["user", "assistant", "user", "assistant"]
    assert roles[1][1].startswith("krill") and len(roles[1][1]) < len(LONG)


class Terminal:
    """The program in a pseudo terminal; all it shows is in `shown`."""

    def __init__(self, arguments: list[str]) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execve(arguments[0], arguments, os.environ | {"TERM": "xterm"})
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def wait_for(self, text: str) -> str:
        """What was shown up to and including the text; `shown` goes on after it."""
        deadline = time.monotonic() + TIMEOUT_S
        while text not in self.shown:
            assert time.monotonic() < deadline, f"never shown: {text!r} in {self.shown!r}"
            assert self._read(), f"ended before {text!r}: {self.shown!r}"
        end = self.shown.index(text) + len(text)
        before, self.shown = self.shown[:end], self.shown[end:]
        return before

    def _read(self) -> bool:
        ready, _, _ = select.select([self._fd], [], [], 1)
        if not ready:
            return True
        try:
            piece = os.read(self._fd, 1 << 16)
        except OSError:  # its other end is closed
            return False
        self.shown += piece.decode(errors="replace")
        return bool(piece)

    def wait(self) -> int:
        deadline = time.monotonic() + TIMEOUT_S
        while self._read():
            assert time.monotonic() < deadline, f"does not end: {self.shown!r}"
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)


@pytest.fixture
def terminal(program: str, tiny: Path, script: Path, tmp_path: Path):
    """terminal(option...): a context manager that yields a Terminal at its first prompt."""

    @contextmanager
    def start(*options: str) -> Iterator[Terminal]:
        shown = Terminal([program, "chat", "--model", str(tiny), "--script", str(script),
                          "--history", str(tmp_path / "state/history"), *options])
        try:
            shown.wait_for("/help lists the commands")
            shown.wait_for("> ")
            yield shown
        finally:
            shown.close()

    return start


def test_what_is_typed_during_an_answer_is_the_next_line(terminal) -> None:
    with terminal() as t:
        t.type("A long story\r")
        t.wait_for("krill krill")
        t.type("Why?\r")
        assert "Why" not in t.wait_for(" cached")
        t.wait_for("> Why?")
        t.wait_for("First.\r\nSecond line.\r\n")


def test_a_terminal_conversation(terminal) -> None:
    with terminal() as t:
        t.type("Why?\r")
        t.wait_for("thought: ")
        t.wait_for("First.\r\nSecond line.\r\n")
        t.wait_for(" cached")
        t.wait_for("> ")
        t.type("\x04")
        assert t.wait() == 0


def test_ctrl_c_stops_the_answer_not_the_program(terminal, tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    with terminal() as t:
        t.type("A long story\r")
        t.wait_for("krill krill")
        t.type("\x03")
        t.wait_for("stopped after ")
        t.wait_for("> ")
        t.type("Why?\r")
        t.wait_for("First.\r\nSecond line.\r\n")
        t.type(f"/save {path}\r")
        t.wait_for("4 messages saved")
        t.type("/quit\r")
        assert t.wait() == 0
    messages = saved(path)
    assert messages[1][1].startswith("krill") and len(messages[1][1]) < len(LONG)
    assert messages[3] == ("assistant", "First.\nSecond line.")


def test_ctrl_c_at_the_prompt_clears_the_line_and_leaves_the_second_time(terminal) -> None:
    with terminal() as t:
        t.type("not sent\x03")
        t.wait_for("> ")
        t.type("\x03")
        t.wait_for("Ctrl-C once more")
        t.type("Why?\r")
        t.wait_for("First.")
        t.wait_for("> ")
        t.type("\x03")
        t.wait_for("Ctrl-C once more")
        t.wait_for("> ")
        t.type("\x03")
        assert t.wait() == 130
        assert "Third" not in t.shown


def test_lines_are_edited_and_remembered(terminal, tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    with terminal() as t:
        t.type("hy\u00e9\u6f22\x7f\x7f?\x01W\x05\x0b\r")  # W in front, two characters erased
        t.wait_for("First.")
        t.type(f"/save {path}\r")
        t.wait_for("2 messages saved")
    assert saved(path)[0] == ("user", "Why?")
    assert (tmp_path / "state/history").read_text() == f"Why?\n/save {path}\n"
    assert (tmp_path / "state/history").stat().st_mode & 0o077 == 0
    with terminal() as t:
        t.type("\x1b[A\x1b[A\r")  # two lines up: of the last run
        t.wait_for("First.")
        t.type("\x1b[A!\x1b[B\x1b[Bx\x15\x1b[200~one\rtwo\x1b[201~\r")
        t.wait_for("Second.")
        t.type(f"/save {path}\r")
        t.wait_for("4 messages saved")
    assert [text for role, text in saved(path) if role == "user"] == ["Why?", "one\ntwo"]


def test_a_tool_result_is_typed_and_not_remembered(terminal, tmp_path: Path) -> None:
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps(TOOLS))
    with terminal("--tools", str(tools)) as t:
        t.type("The weather?\r")
        t.wait_for('[get_weather {"city": "Oslo"}]')
        t.wait_for("get_weather gives: ")
        t.type("12\r")
        t.wait_for("get_weather gives: ")
        t.type("9\r")
        t.wait_for("Bergen 12, Oslo 9.")
        t.wait_for("> ")
        t.type("The weather, again?\r")
        t.wait_for("get_weather gives: ")
        t.type("\x03")  # no result, no further round
        t.wait_for("> ")
        t.type("/context\r")
        t.wait_for("9 messages; ")
    assert "12" not in (tmp_path / "state/history").read_text().splitlines()


def test_reasoning_is_dim_when_shown(terminal) -> None:
    with terminal("--reasoning") as t:
        t.type("Why?\r")
        t.wait_for(f"\x1b[2m{THOUGHT}\x1b[22m")
        t.wait_for("First.")


def test_an_answer_cannot_command_the_terminal(terminal) -> None:
    with terminal() as t:
        t.type("escape\r")
        t.wait_for("a^[]0;taken^Gb")


def test_help_has_options_and_keys(baleen) -> None:
    done = baleen("chat", "--help")
    assert done.returncode == 0 and "--script" in done.stdout and "Ctrl-C" in done.stdout
