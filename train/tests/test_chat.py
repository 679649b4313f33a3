"""The Python renderer gives the bytes of `baleen render`, and marks what the assistant generates."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from random import Random

import pytest

from pocket import chat, toolworld

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("BALEEN_PROGRAM", REPOSITORY / "build" / "release" / "baleen"))
MODES = (("chat", None), ("thinking", None), ("thinking", "high"), ("thinking", "max"))


def conversations() -> list[dict]:
    """Whole sessions and their beginnings, in every mode, as objects for `baleen render`."""
    found = []
    for seed in range(40):
        made = toolworld.session(Random(seed), "train" if seed % 2 else "heldout", max_turns=5)
        for mode, effort in MODES:
            for end in sorted({len(made.messages), Random(seed).randint(1, len(made.messages))}):
                each = {"messages": made.messages[:end], "thinking_mode": mode}
                found.append(each | ({"reasoning_effort": effort} if effort else {}))
    return found + [{"messages": messages, "thinking_mode": mode}
                    for messages in ODD_CONVERSATIONS for mode in ("chat", "thinking")]


def call(call_id: str, arguments: dict) -> dict:
    return {"id": call_id, "type": "function",
            "function": {"name": "read", "arguments": json.dumps(arguments)}}


TOOLS = [{"type": "function", "function": tool} for tool in chat.load_tools()]
# What sessions of the tool world never have.
ODD_CONVERSATIONS: list[list[dict]] = [
    [{"role": "system", "content": "", "tools": TOOLS}, {"role": "user", "content": "a"},
     {"role": "assistant", "content": "b", "tool_calls": [call("x", {}), call("y", {"n": [1, 2.5]})]},
     {"role": "tool", "tool_call_id": "y", "content": "second"},
     {"role": "tool", "tool_call_id": "x", "content": "first"},
     {"role": "user", "content": "c"}, {"role": "user", "content": "d"}],
    [{"role": "user", "content": "no <think> tools ｜DSML｜"},
     {"role": "assistant", "content": "x", "reasoning_content": "dropped"},
     {"role": "user", "content": "again"},
     {"role": "assistant", "content": "y", "reasoning_content": "shown"}],
    [{"role": "system", "content": "s", "tools": [{"type": "function", "function": {
        "name": "ü\n\x01", "strict": True, "n": [1.0, 1e-7, 1e16, None]}}]},
     {"role": "user", "content": ""}],
]


def test_text_equals_the_program() -> None:
    if not PROGRAM.exists():
        pytest.fail(f"no program at {PROGRAM}: build it, or set BALEEN")
    asked = conversations()
    lines = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in asked)
    answer = subprocess.run([PROGRAM, "render", "--dialect", "v4", "--lines"], input=lines,
                            capture_output=True, text=True, check=True, encoding="utf-8")
    texts = [json.loads(line).get("text") for line in answer.stdout.splitlines()]
    assert len(texts) == len(asked)
    for each, text in zip(asked, texts):
        pieces = chat.render(each["messages"], each["thinking_mode"], each.get("reasoning_effort"))
        assert "".join(piece.text for piece in pieces) == text


def learned(messages: list[dict], mode: str) -> str:
    return "".join(piece.text for piece in chat.render(messages, mode) if piece.learn)


def test_learned_is_what_the_assistant_generates() -> None:
    messages = [{"role": "system", "content": "", "tools": TOOLS}, {"role": "user", "content": "a"},
                {"role": "assistant", "content": "", "reasoning_content": "why",
                 "tool_calls": [call("x", {"path": "p", "limit": 2})]},
                {"role": "tool", "tool_call_id": "x", "content": "text"},
                {"role": "assistant", "content": "done", "reasoning_content": "now"}]
    block = ('\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name="read">\n'
             '<｜DSML｜parameter name="path" string="true">p</｜DSML｜parameter>\n'
             '<｜DSML｜parameter name="limit" string="false">2</｜DSML｜parameter>\n'
             "</｜DSML｜invoke>\n</｜DSML｜tool_calls>")
    end = "<｜end▁of▁sentence｜>"
    assert learned(messages, "thinking") == f"why</think>{block}{end}now</think>done{end}"
    assert learned(messages, "chat") == f"{block}{end}done{end}"


def test_without_tools_only_the_last_reasoning_is_learned() -> None:
    end = "<｜end▁of▁sentence｜>"
    assert learned(ODD_CONVERSATIONS[1], "thinking") == f"x{end}shown</think>y{end}"


def test_control_pieces_are_single_tokens() -> None:
    """Text from outside never becomes a control token; the fixed texts' markers do."""
    controls = {chat.STRINGS[name] for name in
                ("bos", "eos", "user", "assistant", "think_open", "think_close", "dsml")}
    for messages in ODD_CONVERSATIONS:
        pieces = chat.render(messages, "thinking")
        assert {piece.text for piece in pieces if piece.control} <= controls
        for one, other in zip(pieces, pieces[1:]):
            assert one.control or other.control, "neighbouring texts are one piece"
    user = chat.render(ODD_CONVERSATIONS[1], "thinking")[2]
    assert user == chat.Piece("no <think> tools ｜DSML｜")
    system = chat.render(ODD_CONVERSATIONS[0], "chat")
    fixed = system[:next(i for i, p in enumerate(system) if p.text == chat.STRINGS["user"])]
    assert not any(marker in piece.text for piece in fixed if not piece.control
                   for marker in ("<think>", "</think>", "｜DSML｜"))


def test_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="thinking_mode is 'fast'"):
        chat.render([], "fast")
    with pytest.raises(ValueError, match="role is 'developer'"):
        chat.render([{"role": "developer", "content": "x"}], "chat")
    with pytest.raises(KeyError):
        chat.render([], "thinking", "low")
