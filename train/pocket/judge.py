"""Decides whether a turn of the tool world is solved: the checks that toolworld.py describes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """What the assistant did in one turn."""

    answer: str  # content of its last message
    reasoning: str = ""  # of all its messages, joined
    calls: int = 0
    before: dict[str, str] = field(default_factory=dict)  # path -> text when the turn began
    after: dict[str, str] = field(default_factory=dict)  # and when it ended


def failures(task_calls: int, checks: dict, outcome: Outcome,
             earlier: list[Outcome]) -> list[str]:
    """What is wrong with the turn, empty if it is solved. earlier: the session's turns before it."""
    found = [f"the answer lacks {text!r}" for text in checks.get("answer", ())
             if not occurs(text, outcome.answer)]
    options = checks.get("any")
    if options and not any(occurs(text, outcome.answer) for text in options):
        found.append(f"the answer has none of {options}")
    if task_calls == 0 and outcome.calls:
        found.append(f"{outcome.calls} calls where none is needed")
    expected = outcome.before | checks.get("files", {})
    expected = {path: text for path, text in expected.items() if text is not None}
    if outcome.after != expected:
        wrong = sorted(path for path in set(expected) | set(outcome.after)
                       if expected.get(path) != outcome.after.get(path))
        found.append(f"files differ: {wrong}")
    return found + choice_failures(checks, outcome, earlier)


def choice_failures(checks: dict, outcome: Outcome, earlier: list[Outcome]) -> list[str]:
    """Failures of a secret choice, made in this turn or asked for."""
    if "reasoning" in checks:
        text = chosen(checks["reasoning"], outcome.reasoning)
        if text is None:
            return ["the reasoning chooses nothing"]
        return [f"the answer tells {text!r}"] if occurs(text, outcome.answer) else []
    if "recall" not in checks:
        return []
    text = chosen(checks["recall"], earlier[checks["recall"]["turn"]].reasoning)
    if text is None or not occurs(text, outcome.answer):
        return [f"the answer lacks the choice {text!r}"]
    others = [other for other in checks["recall"].get("options", ()) if other != text]
    return [f"the answer names {other!r} too" for other in others if occurs(other, outcome.answer)]


def whole(pattern: str) -> str:
    """A pattern that matches only with no ASCII letter or digit on either side."""
    return rf"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])"


def occurs(text: str, where: str) -> bool:
    """Whether the text is in `where` with no ASCII letter or digit next to it, case ignored."""
    return re.search(whole(re.escape(text)), where, re.IGNORECASE) is not None


def chosen(choice: dict, reasoning: str) -> str | None:
    """The last of the options, or the last number of so many digits, in the reasoning."""
    if "digits" in choice:
        numbers = re.findall(whole(f"[0-9]{{{choice['digits']}}}"), reasoning)
        return numbers[-1] if numbers else None
    places = [(match.start(), option) for option in choice["options"]
              for match in re.finditer(whole(re.escape(option)), reasoning, re.IGNORECASE)]
    return max(places)[1] if places else None
