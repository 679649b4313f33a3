"""One session while it is being made: names, files, and the turns written so far.

A family (families.py, talk.py) makes a turn: `scene.turn(...)` starts it, `turn.call(...)` runs tools
as the oracle does and gives their texts, `turn.answer(...)` ends it with what an evaluation checks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import Sequence, TypeVar

from . import phrases
from .world import Tree, run_tool

T = TypeVar("T")
HELDOUT_NAMES = 4  # one word and one number of so many is held out
EXTENSIONS = ("txt", "txt", "md", "cfg", "log")

# Words for tests and for a first tokenizer; a training run gives the tokenizer's own.
BUILTIN_WORDS = tuple("""
amber anchor apple arrow autumn badge baker banana barley basket beach bean bear bell berry bird blue
board boat bone book bottle bowl branch brass bread brick bridge bronze brook brown brush bucket butter
button cabin cable cake camel candle canyon carbon card castle cedar chain chair chalk cherry circle
citrus clay cliff clock cloud clover coal coast coffee coin copper coral corn cotton crane cream creek
crow crown crystal curtain daisy dawn deer desert diamond dolphin donkey door dragon drum duck dust
eagle earth elbow ember engine falcon feather fern field finch fire flame flint flower forest fossil
fountain fox frost fruit garden garlic ginger glass globe goat gold goose grain grape grass gravel
green grove hammer harbor hawk hazel heron hill honey horse ice iron island ivory jacket jade jasmine
kettle kitten ladder lagoon lake lamp lantern leaf lemon lily lime linen lion maple marble meadow melon
mint mirror moon moss mountain nest night north oak oat ocean olive onion orange orchid otter owl
paper parrot peach pearl pebble pepper pine planet plum pony poppy pumpkin purple quartz rabbit rain
raven red reef ribbon rice ring river robin rocket rose ruby saddle salmon salt sand sea seed shadow
shell silk silver sky snow spring spruce squash star stone storm straw sugar summer sun swan table
tea thunder tiger timber tomato tower trumpet tulip turtle valley velvet violet wagon walnut water
wave whale wheat willow wind window winter wolf wood yellow zebra
""".split())


@dataclass
class Task:
    """A user turn and how to judge what the assistant did in it (checks: see toolworld.py)."""

    kind: str
    user_text: str
    calls: int  # tool calls of the oracle
    checks: dict
    wording: str  # "intent: wording", to compare splits


@dataclass
class Last:
    """What the turn just before left for a follow-up; fields that do not apply are empty."""

    kind: str = ""
    value: str = ""  # what "it" and "that" mean
    path: str = ""  # the file read as a whole, for "and KEY?"
    key: str = ""
    made: str = ""  # a new file, for "remove that file"
    count: int = 0  # lines asked for


class Unfit(Exception):
    """A family that the session does not allow now; raised before its turn is started."""


class Names:
    """Words and numbers of one split."""

    def __init__(self, rng: Random, split: str, words: tuple[str, ...]) -> None:
        self.rng = rng
        self.split = split
        self.words = split_words(words, split)
        self.pool: list[str] = []

    def word(self) -> str:
        """A word not yet used in the session, as long as there are any."""
        if not self.pool:
            self.pool = list(self.words)
            self.rng.shuffle(self.pool)
        return self.pool.pop()

    def different_words(self, count: int) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            word = self.word()
            if word not in found:
                found.append(word)
        return found

    def number(self, digits: int) -> str:
        """A number of exactly so many digits; those of one digit (2 to 9) are in both splits."""
        if digits == 1:
            return str(self.rng.randint(2, 9))
        while True:
            text = str(self.rng.randrange(10 ** (digits - 1), 10**digits))
            if phrases.split_of("number", text, HELDOUT_NAMES) == self.split:
                return text

    def any_number(self, digits_max: int = 5) -> str:
        """A number of one to digits_max digits; one digit is half as likely as any other length."""
        lengths = range(1, digits_max + 1)
        return self.number(self.rng.choices(lengths, [1] + [2] * (digits_max - 1))[0])

    def text(self, words_max: int = 3) -> str:
        return " ".join(self.word() for _ in range(self.rng.randint(1, words_max)))

    def value(self) -> str:
        """A value of a key: mostly a number, else one or two words."""
        return self.any_number() if self.rng.random() < 0.6 else self.text(2)


def split_words(words: tuple[str, ...], split: str) -> tuple[str, ...]:
    """The words of a split, without those that users say anyway."""
    fixed = phrases.phrase_words()
    return tuple(word for word in words if word not in fixed
                 and phrases.split_of("word", word, HELDOUT_NAMES) == split)


class Scene:
    """The session in the making. `effort` is "none" (chat), "high" or "max"."""

    def __init__(self, rng: Random, split: str, effort: str, words: tuple[str, ...]) -> None:
        self.rng = rng
        self.split = split
        self.effort = effort
        self.names = Names(rng, split, words)
        self.tree = Tree()
        self.messages: list[dict] = []
        self.tasks: list[Task] = []
        self.last = Last()
        self.remembered = ""  # the word of a "remember" turn
        self.choice: dict | None = None  # "turn", "said" and the options or digits of a secret choice
        self.call_count = 0

    @property
    def thinks(self) -> bool:
        return self.effort != "none"

    def pick(self, options: Sequence[T]) -> T:
        if not options:
            raise Unfit
        return self.rng.choice(options)

    def pick_two(self, options: Sequence[T]) -> list[T]:
        if len(options) < 2:
            raise Unfit
        return self.rng.sample(options, 2)

    def new_path(self, folder: str | None = None) -> str:
        """A path that is neither file nor folder, in the given or any folder that exists."""
        if folder is None:
            folder = self.rng.choice([".", "."] + sorted(self.tree.folders))
        while True:
            name = f"{self.names.word()}.{self.rng.choice(EXTENSIONS)}"
            path = name if folder == "." else f"{folder}/{name}"
            if path not in self.tree.files and not self.tree.is_folder(path):
                return path

    def new_folder(self) -> str:
        while True:
            name = self.names.word()
            if not self.tree.is_folder(name):
                return name

    def turn(self, kind: str, intent: str, plan: tuple[str, ...] = ("answer",), **slots: str) -> Turn:
        text, wording = phrases.say(self.rng, self.split, intent, slots)
        return Turn(self, kind, text, plan, f"{intent}: {wording}")


class Turn:
    """One user turn and the oracle's answer to it."""

    def __init__(self, scene: Scene, kind: str, text: str, plan: tuple[str, ...],
                 wording: str) -> None:
        self.scene = scene
        self.kind = kind
        self.text = text
        self.plan = plan
        self.wording = wording
        self.calls = 0
        self.before = dict(scene.tree.files)
        scene.messages.append({"role": "user", "content": text})

    def call(self, thought: str, *calls: tuple[str, dict]) -> list[str]:
        """One assistant message with calls, and their results."""
        message = self.assistant(thought, "")
        message["tool_calls"] = []
        results = []
        for name, arguments in calls:
            self.calls += 1
            self.scene.call_count += 1
            call_id = f"call_{self.scene.call_count}"
            message["tool_calls"].append({
                "id": call_id, "type": "function",
                "function": {"name": name,
                             "arguments": json.dumps(arguments, ensure_ascii=False)}})
            text = run_tool(self.scene.tree, name, arguments)
            results.append({"role": "tool", "tool_call_id": call_id, "content": text})
        self.scene.messages += [message, *results]
        return [result["content"] for result in results]

    def answer(self, thought: str, text: str, last: Last | None = None, check: str = "",
               **checks: object) -> None:
        """The final message; `check` is what a maximum of reasoning looks at once more."""
        if self.scene.effort == "max":
            thought = f"{thought} check: {check or 'this is what was asked'}. done."
        self.scene.messages.append(self.assistant(thought, text))
        changed = self.changed_files()
        if changed:
            checks["files"] = changed
        self.scene.tasks.append(Task(self.kind, self.text, self.calls, checks, self.wording))
        self.scene.last = last or Last(kind=self.kind)

    def assistant(self, thought: str, content: str) -> dict:
        message = {"role": "assistant", "content": content}
        if self.scene.thinks:
            message["reasoning_content"] = self.planned() + thought
        return message

    def planned(self) -> str:
        """The plan, in the first message of a turn with a maximum of reasoning."""
        if self.scene.effort != "max" or not self.plan:
            return ""
        steps = " ".join(f"{number}. {step}." for number, step in enumerate(self.plan, start=1))
        self.plan = ()
        return f"plan: {steps} "

    def changed_files(self) -> dict[str, str | None]:
        """Files that the turn changed: the new text, or None where the file is gone."""
        now = self.scene.tree.files
        paths = sorted(set(now) | set(self.before))
        return {path: now.get(path) for path in paths if now.get(path) != self.before.get(path)}
