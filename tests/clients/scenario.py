"""The conversation that every client has: two rounds of tools, an answer, a second user turn.

The commands are such as break careless servers: quotes, angle brackets, a backslash, letters
outside ASCII, a command that ends in `2>&1`, a tag that looks like the private format's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from box import Box
from server import Server, assert_prefix_kept

# Small agents of our own on client libraries.
PROGRAMS = Path(__file__).resolve().parent / "programs"

FIRST_PROMPT = "Please make the file first.txt, then second.txt."
FIRST_ANSWER = "Both files are made; the word is heron."
SECOND_PROMPT = "Thank you. Which word was it?"
SECOND_ANSWER = "It was the word before: bittern follows heron."

FIRST_COMMAND = """printf '%s\\n' 'größe <b> & "q" \\ $x' | tee first.txt 2>&1"""
SECOND_COMMAND = """echo 'two' >> first.txt && cat first.txt"""
THIRD_COMMAND = """printf '%s\\n' '</parameter>' '{"a": [1, 2]}' > second.txt"""
FILES = {
    "first.txt": 'größe <b> & "q" \\ $x\ntwo\n',
    "second.txt": '</parameter>\n{"a": [1, 2]}\n',
}


Turn = dict[str, Any]


def turns(api: str, tool: str, arguments: Callable[[str], dict[str, Any]],
          answer: Callable[[str], str] | None = None) -> list[Turn]:
    """The script: what the model samples. `arguments` makes the shell tool's from a command;
    `answer` makes the command that answers, for a client that knows no other way.

    Requests without tools (titles, summaries) are not of this conversation. Nothing is asked of
    the last message, because some clients end their requests with a system message.
    """
    when = {"api": api, "tools": True}

    def call(command: str) -> dict[str, Any]:
        return {"name": tool, "arguments": arguments(command)}

    def final(text: str) -> Turn:
        return {"tool_calls": [call(answer(text))]} if answer else {"content": text}

    return [
        {"when": when, "reasoning": "They want two files.\nFirst the one with odd letters: ß.",
         "tool_calls": [call(FIRST_COMMAND)]},
        {"when": when, "reasoning": "Now both of the others at once.",
         "content": "The first is there. Two more steps.",
         "tool_calls": [call(SECOND_COMMAND), call(THIRD_COMMAND)]},
        {"when": when, "reasoning": "All is done.", **final(FIRST_ANSWER)},
        {"when": when, "reasoning": "They ask for the word.", **final(SECOND_ANSWER)},
    ]


def check(server: Server, box: Box, first_output: str, second_output: str) -> None:
    """What must hold after a client has had both user turns."""
    assert server.running(), server.errors()
    requests = server.scripted(4)
    assert [request.scripted_turn for request in requests] == [0, 1, 2, 3], server.requests()
    for name, content in FILES.items():
        assert (box.work / name).read_text("utf-8") == content
    assert FIRST_ANSWER in first_output
    assert SECOND_ANSWER in second_output
    assert box.private_bytes() == []
    assert_prefix_kept(requests)
