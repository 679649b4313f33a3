"""`baleen parse`: the forms of docs/cli.md. The parsers' rules are tested beside their code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

EOS = "<｜end▁of▁sentence｜>"
CALL = ('<｜DSML｜tool_calls>\n<｜DSML｜invoke name="ls">\n'
        '<｜DSML｜parameter name="path" string="true">é</｜DSML｜parameter>\n'
        "</｜DSML｜invoke>\n</｜DSML｜tool_calls>")
CALLS = [{"name": "ls", "arguments": '{"path": "é"}', "complete": True}]


def lines_of(done: Any) -> list[Any]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_one_text_gives_one_message(baleen) -> None:
    done = baleen("parse", "--mode", "thinking", stdin=f"Hm.\n</think>\n\nHere.\n\n{CALL}{EOS}")
    assert lines_of(done) == [{"reasoning_content": "Hm.", "content": "Here.", "tool_calls": CALLS,
                               "stopped": False}]


def test_stream_gives_events_then_the_message(baleen) -> None:
    text = f"Hm.</think>Here.\n\n{CALL}"
    whole = lines_of(baleen("parse", "--mode", "thinking", stdin=text))[0]
    for size in (1, 2, 3, 50, 10000):
        *events, message = lines_of(baleen("parse", "--mode", "thinking", "--stream", size,
                                           stdin=text))
        assert message == whole

        def joined(kind: str, events: list[Any] = events) -> str:
            return "".join(event["text"] for event in events if event["event"] == kind)

        assert joined("reasoning") == "Hm." and joined("content") == "Here."
        assert joined("call_arguments") == CALLS[0]["arguments"]
        assert {"event": "call_begin", "index": 0, "name": "ls"} in events
        assert events[-1] == {"event": "call_end", "index": 0}


def test_options_of_the_serving_parser(baleen) -> None:
    def message(*options: str, stdin: str) -> Any:
        return lines_of(baleen("parse", "--mode", "chat", *options, stdin=stdin))[0]

    stopped = message("--stop", "x", "--stop", "END", stdin="one END two")
    assert (stopped["content"], stopped["stopped"]) == ("one ", True)
    plain = message("--no-tools", stdin=CALL)
    assert (plain["content"], plain["tool_calls"]) == (CALL, [])
    assert message("--json-mode", stdin='So:\n```json\n{"a": 1}\n```')["content"].strip() == '{"a": 1}'


def test_strict_refuses_in_one_line(baleen) -> None:
    good = f"Hm.</think>Here.\n\n{CALL}{EOS}"
    assert lines_of(baleen("parse", "--strict", "--mode", "thinking", stdin=good)) == [
        {"reasoning_content": "Hm.", "content": "Here.", "tool_calls": CALLS}]
    for bad in ("Hm.", good + "x", good.replace("\n\n", "\n")):
        done = baleen("parse", "--strict", "--mode", "thinking", stdin=bad)
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.startswith("baleen: stdin: ") and done.stderr.count("\n") == 1


def test_lines_answers_line_by_line(baleen) -> None:
    lines: list[Any] = [
        {"text": "a</think>b", "mode": "thinking", "stream": 1},
        {"text": "a END", "mode": "chat", "stop": ["END"], "strict": False},
        {"text": f"a{EOS}", "mode": "chat", "strict": True},
        {"text": "a", "mode": "chat", "strict": True},
        {"text": "x[1]", "mode": "chat", "json_mode": True},
        {"text": CALL, "mode": "chat", "parse_tools": False},
        {"text": "a", "mode": "loud"},
        {"text": "a", "mode": "chat", "stream": -1},
        {"text": "a", "mode": "chat", "stop": [""]},
        {"text": "a", "mode": "chat", "stop": [1]},
        {"text": "a", "mode": "chat", "strict": 1},
        {"text": "a"},
        {"mode": "chat"},
        [],
    ]
    answers = lines_of(baleen("parse", "--lines",
                              stdin="".join(json.dumps(line) + "\n" for line in lines) + "{\n"))
    assert len(answers) == len(lines) + 1
    nothing: Any = {"reasoning_content": "", "content": "", "tool_calls": []}
    assert answers[:3] == [
        {**nothing, "reasoning_content": "a", "content": "b", "stopped": False},
        {**nothing, "content": "a ", "stopped": True},
        {**nothing, "content": "a"},
    ]
    assert answers[4]["content"] == " [1]" and answers[5]["content"] == CALL
    for i in (3, *range(6, len(answers))):
        assert list(answers[i]) == ["error"] and answers[i]["error"], i


def test_lines_take_what_they_leave_out_from_the_options(baleen) -> None:
    done = baleen("parse", "--lines", "--mode", "chat", "--stop", "b", "--strict",
                  stdin=json.dumps({"text": "abc", "strict": False}))
    assert lines_of(done) == [{"reasoning_content": "", "content": "a", "tool_calls": [],
                               "stopped": True}]


@pytest.mark.parametrize("arguments", [[], ["--mode", "loud"], ["--mode", "chat", "--stop", ""],
                                       ["--mode", "chat", "--stream", "-1"],
                                       ["--mode", "chat", "--strict", "--dialect", "v3"]])
def test_bad_options_are_one_line(baleen, arguments: list[str]) -> None:
    done = baleen("parse", *arguments, stdin="x")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("baleen: ") and done.stderr.count("\n") == 1


def test_published_examples(baleen, shared: Path) -> None:
    examples = json.loads((shared / "spec/encoding-examples.json").read_text())["stream"]
    sizes = (0, 1, 2, 5)
    lines = [{"text": example["text"], "stream": size,
              "mode": "thinking" if example["start"] == "after <think> in the prompt" else "chat"}
             for example in examples for size in sizes]
    answers = lines_of(baleen("parse", "--lines",
                              stdin="".join(json.dumps(line) + "\n" for line in lines)))
    assert answers == [example["expected"] for example in examples for _ in sizes]
