"""Sessions of the tool world: the same for the same seed, splits apart, an oracle that passes."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from pocket import judge, phrases, scene, toolworld
from pocket.chains import CHAINS, FOLLOW_UPS, MISSING
from pocket.families import ONE_CALL
from pocket.world import Tree, run_tool

TRAIN = Path(toolworld.__file__).resolve().parents[1]
INTENTS = sorted(set(phrases.REQUESTS) | set(phrases.QUESTIONS))


def sessions(split: str, count: int, seed: int = 0) -> list[toolworld.Session]:
    rng = Random(seed)
    return [toolworld.session(rng, split, max_turns=6) for _ in range(count)]


def outcomes(made: toolworld.Session) -> list[judge.Outcome]:
    """The oracle's turns as an evaluation would see them: its calls run on a fresh tree."""
    tree = Tree.of(made.files)
    found: list[judge.Outcome] = []
    for turn in toolworld.oracle_turns(made):
        before = dict(tree.files)
        for call in turn["calls"]:
            assert run_tool(tree, call["name"], call["arguments"]) == call["result"]
        found.append(judge.Outcome(turn["answer"], turn["reasoning"], len(turn["calls"]), before,
                                   dict(tree.files)))
    return found


@pytest.mark.parametrize("split", phrases.SPLITS)
def test_the_oracle_passes_its_own_checks(split: str) -> None:
    for made in sessions(split, 300):
        turns = outcomes(made)
        assert len(turns) == len(made.tasks)
        for idx, task in enumerate(made.tasks):
            assert judge.failures(task.calls, task.checks, turns[idx], turns[:idx]) == [], task
            assert task.calls == turns[idx].calls <= 4


def test_other_turns_fail_the_checks() -> None:
    """An empty answer, files left alone, files changed needlessly, calls for nothing."""
    silent, idle, busy, caller, solved = 0, 0, 0, 0, 0
    for made in sessions("train", 150):
        turns = outcomes(made)
        for idx, task in enumerate(made.tasks):
            def fails(**changes: object) -> bool:
                other = copy.copy(turns[idx])
                for name, value in changes.items():
                    setattr(other, name, value)
                return bool(judge.failures(task.calls, task.checks, other, turns[:idx]))
            solved += 1
            busy += fails(after=turns[idx].after | {"other.txt": "x\n"})
            if task.checks.keys() - {"files", "reasoning"}:
                silent += not fails(answer="")
            if "files" in task.checks:
                idle += not fails(after=turns[idx].before)
            if not task.calls:
                caller += not fails(calls=1)
    assert busy == solved > 0
    assert silent == idle == caller == 0


def test_every_turn_is_checked() -> None:
    """No task passes an assistant that says nothing at all, but for secret choices."""
    for made in sessions("heldout", 200):
        for task in made.tasks:
            assert task.checks, task


def test_secret_choices_are_told_from_the_reasoning() -> None:
    turn = judge.Outcome("ready.", reasoning="i think of 17 and 905. i choose oak. i choose elm.")
    words = {"options": ["oak", "elm", "ash"]}
    assert judge.failures(0, {"reasoning": words}, turn, []) == []
    assert judge.failures(0, {"reasoning": words}, judge.Outcome("elm.", turn.reasoning), [])
    assert judge.failures(0, {"reasoning": words}, judge.Outcome("ready.", "well."), [])
    recall = {"recall": {"turn": 0} | words}
    assert judge.failures(0, recall, judge.Outcome("i chose elm."), [turn]) == []
    assert judge.failures(0, recall, judge.Outcome("i chose oak."), [turn])
    assert judge.failures(0, recall, judge.Outcome("elm, oak."), [turn])
    number = {"recall": {"turn": 0, "digits": 3}}
    assert judge.failures(0, number, judge.Outcome("it was 905."), [turn]) == []
    assert judge.failures(0, number, judge.Outcome("it was 17."), [turn])


def test_occurrence_is_of_whole_words() -> None:
    assert judge.occurs("42", "it is 42.") and judge.occurs("oak", "Oak: yes")
    assert not judge.occurs("42", "it is 142") and not judge.occurs("oak", "soak")


def export(tmp_path: Path, hash_seed: str, *options: str) -> bytes:
    out = tmp_path / "set.json"
    subprocess.run([sys.executable, "-m", "pocket.toolworld", "--split", "heldout", "--out", str(out),
                    *options], cwd=TRAIN, check=True,
                   capture_output=True, env=os.environ | {"PYTHONHASHSEED": hash_seed})
    return out.read_bytes()


def test_same_arguments_same_bytes(tmp_path: Path) -> None:
    few = ("--count", "60", "--seed")
    assert export(tmp_path, "1", *few, "5") == export(tmp_path, "2", *few, "5")
    assert export(tmp_path, "1", *few, "5") != export(tmp_path, "1", *few, "6")


def test_the_oracle_is_written_on_request(tmp_path: Path) -> None:
    made = json.loads(export(tmp_path, "1", "--count", "20", "--seed", "5", "--oracle"))
    for each in made["sessions"]:
        tree = Tree.of(each["files"])
        for turn in each["turns"]:
            assert turn["oracle"]["answer"]
            assert len(turn["oracle"]["calls"]) == turn["calls"]
            assert bool(turn["oracle"]["reasoning"].strip()) == (each["thinking_mode"] == "thinking")
            for call in turn["oracle"]["calls"]:
                assert run_tool(tree, call["name"], call["arguments"]) == call["result"]


def test_an_evaluation_set_is_small_and_without_oracle(tmp_path: Path) -> None:
    raw = export(tmp_path, "1", "--count", "150", "--seed", "5")
    made = json.loads(raw)
    turns = [turn for each in made["sessions"] for turn in each["turns"]]
    assert len(turns) > 400
    assert len(raw) < 400_000 * len(turns) / 500
    assert {key for turn in turns for key in turn} == {"kind", "user", "calls", "checks"}
    assert {key for turn in turns for key in turn["checks"]} <= {
        "answer", "any", "files", "reasoning", "recall"}


@pytest.mark.parametrize("intent", INTENTS)
def test_wordings_are_many_and_split(intent: str) -> None:
    train, heldout = (dict(phrases.wordings(intent, split)) for split in phrases.SPLITS)
    assert len(train) + len(heldout) >= 20
    assert len(heldout) >= 2
    assert not train.keys() & heldout.keys()


def test_splits_share_no_wordings_words_or_numbers() -> None:
    seen = {split: {task.wording for made in sessions(split, 300) for task in made.tasks}
            for split in phrases.SPLITS}
    assert not seen["train"] & seen["heldout"]
    train, heldout = (set(scene.split_words(scene.BUILTIN_WORDS, split)) for split in phrases.SPLITS)
    assert not train & heldout and len(heldout) >= 40
    for split, other in (("train", heldout), ("heldout", train)):
        for made in sessions(split, 100):
            said = " ".join(task.user_text for task in made.tasks) + " ".join(
                f"{path} {text}" for path, text in made.files.items())
            assert not set(re.findall("[a-z]+", said)) & other
            numbers = set(re.findall(r"\d{2,}", " ".join(made.files.values())))
            assert all(phrases.split_of("number", text, scene.HELDOUT_NAMES) == split
                       for text in numbers)


def all_text(made: toolworld.Session) -> str:
    """Everything that is said, reasoned, called and found in a session."""
    return "\n".join(str(value) for message in made.messages for key, value in message.items()
                     if key != "tools") + json.dumps(made.files)


def test_no_character_of_a_marker_occurs() -> None:
    for made in sessions("train", 200) + sessions("heldout", 200):
        text = all_text(made)
        assert text.isascii()
        assert not set(text) & set("<>|&\t")


def test_names_are_never_words_of_the_protocol() -> None:
    """With names that are no English words, all other words are ones that names avoid."""
    words = [f"zq{a}{b}" for a in "abcdefghijklm" for b in "abcdefghijklm"]
    rng = Random(3)
    protocol = phrases.phrase_words()
    for _ in range(400):
        made = toolworld.session(rng, "train", max_turns=6, words=words)
        said = " ".join(f"{m['content']} {m.get('reasoning_content', '')}" for m in made.messages[1:]
                        if m["role"] == "assistant")
        assert set(re.findall("[a-z]+", said)) - set(words) <= protocol


def test_every_family_and_mode_occurs() -> None:
    made = sessions("train", 1500)
    kinds = {task.kind for each in made for task in each.tasks}
    families = set(ONE_CALL) | set(CHAINS) | set(FOLLOW_UPS) | set(MISSING) - {"missing_file"}
    assert families <= kinds
    assert {"missing_read_all", "missing_remove_file", "recall_choice", "recall_number", "greet",
            "first_question", "which_tools"} <= kinds
    assert {(each.thinking_mode, each.reasoning_effort) for each in made} == {
        ("chat", None), ("thinking", None), ("thinking", "high"), ("thinking", "max")}
    assert {task.calls for each in made for task in each.tasks} == {0, 1, 2, 3, 4}
    assert any("tools" not in each.messages[0] for each in made)
