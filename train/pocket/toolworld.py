"""The tool world: sessions with an oracle's turns for training, and tasks with checks for evaluation.

    python -m pocket.toolworld --count N --seed S --split heldout --out FILE.json

writes N sessions without the oracle's words, the same bytes for the same arguments:

    {"tools": [...], "sessions": [{"system", "tools" (bool: are the tools declared), "thinking_mode",
     "reasoning_effort" (null, "high", "max"), "files": {path: text}, "turns": [
     {"kind", "user", "calls", "checks"}]}]}

A turn is solved if all of this holds. "The answer" is the content of the turn's last message; a text
*occurs* in it if neither neighbour of some match is an ASCII letter or digit, case ignored.

calls      number of calls that the oracle makes. 0: the assistant must make none.
answer     each of these texts occurs in the answer.
any        one of these texts occurs in the answer.
files      path -> text, or null for a file that is gone. After the turn the file tree is the one
           before it with these changes, and no file differs else ({} if absent: nothing changed).
reasoning  {"options": [...]} or {"digits": n}: the *chosen* text is the last of the options (the last
           whole number of n digits) that occurs in the turn's reasoning; there is one, and it does
           not occur in the answer.
recall     {"turn": i, ...}: the text chosen in turn i (from 0) occurs in the answer, and no other of
           the options does.

The assistant may use any tools in any order; only what is checked counts. judge.py decides this way.

With --oracle every turn also has "oracle": {"answer", "reasoning" (of all its messages, joined by
newlines), "calls": [{"name", "arguments", "result"}]}, so that another executor and another judge
can be tested: the calls, run in order on the session's files, give these results, and the turn is
solved.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from random import Random

from .chains import CHAINS, FOLLOW_UPS, MISSING
from .chat import load_tools
from .families import ONE_CALL, Family
from .phrases import SPLITS
from .scene import BUILTIN_WORDS, Scene, Task, Unfit
from .talk import TALK, recall_choice
from .trees import make_tree

SYSTEMS = ("", "you are baleen, a small assistant.",
           "you are a helpful assistant. use the tools.", "answer in one short sentence.")
# (thinking_mode, reasoning_effort, length of the reasoning), with weights.
MODES = (("chat", None, "none"), ("thinking", None, "high"), ("thinking", "high", "high"),
         ("thinking", "max", "max"))
MODE_WEIGHTS = (35, 20, 20, 25)
GROUPS: tuple[dict[str, Family], ...] = (ONE_CALL, CHAINS, FOLLOW_UPS, MISSING, TALK)
GROUP_WEIGHTS = (28, 33, 20, 6, 13)
# Families that come more often than others of their group (weight 1).
WEIGHTS = {"small_talk": 2.0, "choose_word": 3.0, "choose_number": 2.0, "recall_word": 4.0,
           "read_value": 2.5, "read_all": 1.5, "count_lines": 1.5, "calculate": 1.5, "also_file": 6.0,
           "also_key": 4.0, "undo_file": 0.4, "write_that": 0.8, "missing_file": 3.0,
           "list_scale_write": 1.5}
NO_TOOLS = 0.05  # of the sessions declare no tools
PLAIN_TALK = ("small_talk", "repeat_word", "remember", "recall_word", "first_question")
RECALL_NOW = 0.4  # how often a secret choice is asked for at the next turn


@dataclass
class Session:
    """A finished conversation; messages carry tools on the system message where it declares any."""

    files: dict[str, str]  # at the start
    thinking_mode: str
    reasoning_effort: str | None
    messages: list[dict]
    tasks: list[Task]


def session(rng: Random, split: str, *, max_turns: int,
            words: tuple[str, ...] | list[str] = BUILTIN_WORDS) -> Session:
    """A session of one to max_turns user turns, drawn from rng."""
    mode, effort, length = rng.choices(MODES, MODE_WEIGHTS)[0]
    scene = Scene(rng, split, length, tuple(words))
    make_tree(scene)
    files = dict(scene.tree.files)
    has_tools = rng.random() >= NO_TOOLS
    system = {"role": "system", "content": rng.choice(SYSTEMS)}
    if has_tools:
        system["tools"] = [{"type": "function", "function": tool} for tool in load_tools()]
    scene.messages.append(system)
    turns = rng.randint(1, max_turns)
    while len(scene.tasks) < turns:
        add_turn(scene, has_tools, is_last=len(scene.tasks) + 1 >= turns)
    return Session(files, mode, effort, scene.messages, scene.tasks)


def add_turn(scene: Scene, has_tools: bool, is_last: bool) -> None:
    """One more turn of a family that fits; a secret choice is always asked for before the end.

    In a group that does not fit at all (follow-ups to nothing) another group is drawn.
    """
    if scene.choice and (is_last or scene.rng.random() < RECALL_NOW):
        recall_choice(scene)
        return
    while True:
        group = scene.rng.choices(GROUPS, GROUP_WEIGHTS)[0] if has_tools else TALK
        names = tuple(group) if has_tools else PLAIN_TALK
        for name in shuffled(scene.rng, names):
            if is_last and name.startswith("choose_"):
                continue
            try:
                group[name](scene)
                return
            except Unfit:
                continue


def shuffled(rng: Random, names: tuple[str, ...]) -> list[str]:
    """The names in random order; a greater weight makes an early place more likely."""
    return sorted(names, key=lambda name: rng.random() ** (1 / WEIGHTS.get(name, 1.0)), reverse=True)


def exported(made: Session, with_oracle: bool = False) -> dict:
    """A session for an evaluation."""
    system = made.messages[0]
    oracle = [{"oracle": turn} for turn in oracle_turns(made)] if with_oracle else None
    return {"system": system["content"], "tools": "tools" in system,
            "thinking_mode": made.thinking_mode, "reasoning_effort": made.reasoning_effort,
            "files": made.files,
            "turns": [{"kind": task.kind, "user": task.user_text, "calls": task.calls,
                       "checks": task.checks} | (oracle[idx] if oracle else {})
                      for idx, task in enumerate(made.tasks)]}


def oracle_turns(made: Session) -> list[dict]:
    """What the oracle does in each turn (see --oracle)."""
    turns: list[dict] = []
    waiting: list[dict] = []  # calls without a result yet
    for message in made.messages[1:]:
        if message["role"] == "user":
            turns.append({"answer": "", "reasoning": "", "calls": []})
        elif message["role"] == "tool":
            waiting.pop(0)["result"] = message["content"]
        else:
            turn = turns[-1]
            turn["answer"] = message["content"]
            turn["reasoning"] += message.get("reasoning_content", "") + "\n"
            waiting = [{"name": call["function"]["name"],
                        "arguments": json.loads(call["function"]["arguments"])}
                       for call in message.get("tool_calls", ())]
            turn["calls"] += waiting
    return turns


def load_words(path: Path) -> tuple[str, ...]:
    """A JSON list, or one word a line."""
    text = path.read_text(encoding="utf-8")
    return tuple(json.loads(text) if text.lstrip().startswith("[") else text.split())


def main() -> None:
    parser = argparse.ArgumentParser(description="Write an evaluation set of the tool world.")
    parser.add_argument("--count", type=int, required=True, help="number of sessions")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--split", choices=SPLITS, default="heldout")
    parser.add_argument("--max-turns", type=int, default=6)
    parser.add_argument("--words", type=Path, help="the tokenizer's words; default: a built-in list")
    parser.add_argument("--oracle", action="store_true", help="with the oracle's turns")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    words = load_words(options.words) if options.words else BUILTIN_WORDS
    rng = Random(options.seed)
    sessions = [exported(session(rng, options.split, max_turns=options.max_turns, words=words),
                         options.oracle) for _ in range(options.count)]
    text = json.dumps({"tools": load_tools(), "sessions": sessions}, ensure_ascii=False,
                      separators=(",", ":"))
    options.out.write_text(text + "\n", encoding="utf-8")
    tasks = sum(len(each["turns"]) for each in sessions)
    print(f"{options.out}: {len(sessions)} sessions, {tasks} tasks, {len(text) + 1} bytes")


if __name__ == "__main__":
    main()
