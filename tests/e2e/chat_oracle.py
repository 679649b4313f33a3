"""The chat encoding of V4 and V4-0731 once more, from spec/chat-encoding.md, in plain Python.

What test_render.py compares `baleen render` with on random conversations. Python's own json module
reads and writes here, which is the point: the program has its own. V4.1 is checked by examples.
"""

from __future__ import annotations

import json

BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
USER, ASSISTANT, REMINDER = "<｜User｜>", "<｜Assistant｜>", "<｜latest_reminder｜>"
DSML = "｜DSML｜"


class Refused(Exception):
    """The reference fails, or a product rule refuses."""


def dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def merged(messages: list[dict]) -> list[dict]:
    turns: list[dict] = []
    for message in messages:
        role = message["role"]
        if role not in ("tool", "user"):
            turns.append(message)
            continue
        last = turns[-1] if turns else {}
        if last.get("role") != "user" or (role == "user" and last["task"] is not None):
            task = message.get("task") if role == "user" else None
            turns.append({"role": "user", "task": task, "parts": []})
        turns[-1]["parts"].append(message)
    return turns


def sort_results(turns: list[dict]) -> None:
    order: dict[str, int] = {}
    for turn in turns:
        if turn["role"] == "assistant" and turn.get("tool_calls"):
            order = {call["id"]: i for i, call in enumerate(turn["tool_calls"]) if call.get("id")}
        elif turn["role"] == "user" and order:
            results = sorted((part for part in turn["parts"] if part["role"] == "tool"),
                             key=lambda part: order.get(part.get("tool_call_id", ""), 0))
            turn["parts"] = [results.pop(0) if part["role"] == "tool" else part
                             for part in turn["parts"]]


def last_user(turns: list[dict]) -> int:
    found = [i for i, turn in enumerate(turns) if turn["role"] in ("user", "developer")]
    return found[-1] if found else -1


class Encoder:
    def __init__(self, strings: dict, request: dict) -> None:
        self.strings = strings
        self.dialect = request.get("dialect", "v4")
        self.thinking = request["thinking_mode"] == "thinking"
        self.effort = request.get("reasoning_effort")
        self.context = merged(request.get("context", []))
        self.turns = self.context + merged(request["messages"])
        self.bos = request.get("add_bos", True) and not self.context
        sort_results(self.turns)
        self.drops = request.get("drop_thinking", True) and not any(
            turn.get("tools") for turn in self.turns)
        last = last_user(self.turns)
        self.first_new = len(self.context)
        if self.thinking and self.drops:
            gone = [i for i, turn in enumerate(self.turns)
                    if i < last and turn["role"] == "developer"]
            self.first_new -= sum(i < len(self.context) for i in gone)
            self.turns = [turn for i, turn in enumerate(self.turns) if i not in gone]
        self.last = last_user(self.turns)

    def text(self) -> str:
        prefix = self.strings["effort_prefix"][self.dialect].get(
            self.effort or ("none" if self.dialect == "v4" else "low"))
        if prefix is None:
            raise Refused("effort")
        out = BOS if self.bos else ""
        for i in range(self.first_new, len(self.turns)):
            if i == 0 and self.thinking and not self.context:
                out += prefix
            out += self.body(i) + self.header(i)
        return out

    def body(self, i: int) -> str:
        turn = self.turns[i]
        content = turn.get("content") or ""
        match turn["role"]:
            case "system":
                return content + self.sections(turn)
            case "developer":
                if not content:
                    raise Refused("developer")
                return USER + content + self.sections(turn)
            case "latest_reminder":
                return REMINDER + content
            case "user":
                return USER + "\n\n".join(map(self.part, turn["parts"]))
        return self.assistant(i)

    def part(self, message: dict) -> str:
        content = message.get("content") or ""
        if isinstance(content, list):
            content = "\n\n".join(
                part.get("text", "") if part["type"] == "text" else f"[Unsupported {part['type']}]"
                for part in content)
        return f"<tool_result>{content}</tool_result>" if message["role"] == "tool" else content

    def sections(self, turn: dict) -> str:
        out = ""
        if turn.get("tools"):
            section = self.strings["tools_section"]["v4"]
            schemas = "\n".join(dumps(tool["function"]) for tool in turn["tools"])
            out += "\n\n" + section["before_schemas"] + schemas + section["after_schemas"]
        if turn.get("response_format"):
            out += "\n\n" + self.strings["response_format_prefix"] + dumps(turn["response_format"])
        return out

    def answers_task(self, i: int) -> bool:
        return i > 0 and self.turns[i - 1].get("task") is not None

    def assistant(self, i: int) -> str:
        turn = self.turns[i]
        content, reasoning = turn.get("content") or "", turn.get("reasoning_content") or ""
        calls = turn.get("tool_calls") or []
        out = ""
        if self.thinking and not self.answers_task(i) and (not self.drops or i > self.last):
            is_open = (i == len(self.turns) - 1 and turn.get("wo_eos") and reasoning
                       and not content and not calls)
            out += reasoning + ("" if is_open else "</think>")
        out += content
        if calls:
            invokes = "\n".join(map(self.invoke, calls))
            out += f"\n\n<{DSML}tool_calls>\n{invokes}\n</{DSML}tool_calls>"
        return out if turn.get("wo_eos") else out + EOS

    def invoke(self, call: dict) -> str:
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        try:
            members = json.loads(arguments)
        except ValueError:
            members = {"arguments": arguments}
        if not isinstance(members, dict):
            raise Refused("arguments")
        parameters = "\n".join(
            f'<{DSML}parameter name="{key}" string="{"true" if isinstance(value, str) else "false"}">'
            f"{value if isinstance(value, str) else dumps(value)}</{DSML}parameter>"
            for key, value in members.items())
        return f'<{DSML}invoke name="{name}">\n{parameters}\n</{DSML}invoke>'

    def header(self, i: int) -> str:
        turn = self.turns[i]
        if i + 1 < len(self.turns):
            if self.turns[i + 1]["role"] not in ("assistant", "latest_reminder"):
                return ""
        if (task := turn.get("task")) is not None:
            think = "<think>" if self.thinking else "</think>"
            token = self.strings["task_tokens"][task]
            return ASSISTANT + think + token if task == "action" else token
        if turn["role"] not in ("user", "developer"):
            return ""
        shown = self.thinking and (not self.drops or i >= self.last)
        return ASSISTANT + ("<think>" if shown else "</think>")
