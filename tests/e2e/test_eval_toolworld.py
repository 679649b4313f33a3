"""baleen eval toolworld: the loop of prompt, answer, tools and judge, with an assistant that says
what a script says. The oracle's conversations are those of tests/golden/toolworld_oracle.json."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from conftest import REPOSITORY
from test_cli import assert_bad_input

ORACLE = REPOSITORY / "tests/golden/toolworld_oracle.json"
SESSIONS = (3, 5)  # thinking high with a secret; chat with calls and without


@pytest.fixture(scope="module")
def pocket(baleen, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pocket model's shape and tokenizer, with random weights."""
    folder = tmp_path_factory.mktemp("checkpoint") / "pocket"
    model = REPOSITORY / "models/pocket"
    done = baleen("synth", "--config", model / "config.json", "--out", folder)
    assert done.returncode == 0, done.stderr
    shutil.copy(model / "tokenizer.json", folder)
    return folder


@pytest.fixture(scope="module")
def tasks() -> dict[str, Any]:
    tasks = json.loads(ORACLE.read_text(encoding="utf-8"))
    tasks["sessions"] = [tasks["sessions"][idx] for idx in SESSIONS]
    return tasks


def script_of(tasks: dict[str, Any]) -> dict[str, Any]:
    """One message for each call of the oracle, one for its answer."""
    messages = []
    for session in tasks["sessions"]:
        for turn in session["turns"]:
            oracle = turn["oracle"]
            reasoning = oracle["reasoning"].strip()
            for call in oracle["calls"]:
                messages.append({"content": "", "tool_calls": [
                    {"name": call["name"], "arguments": call["arguments"]}]})
            messages.append({"reasoning": reasoning, "content": oracle["answer"]})
    return {"turns": messages}


def run(baleen, pocket: Path, folder: Path, tasks: dict[str, Any], script: dict[str, Any],
        *options: str) -> dict[str, Any]:
    (folder / "tasks.json").write_text(json.dumps(tasks), encoding="utf-8")
    (folder / "script.json").write_text(json.dumps(script), encoding="utf-8")
    done = baleen("eval", "toolworld", "--model", pocket, "--tasks", folder / "tasks.json",
                  "--script", folder / "script.json", "--json", "-", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def report(baleen, pocket: Path, tasks: dict[str, Any],
           tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(baleen, pocket, tmp_path_factory.mktemp("oracle"), tasks, script_of(tasks), "--mtp")


def test_the_oracle_solves_everything(report: dict[str, Any], tasks: dict[str, Any]) -> None:
    turns = [turn for session in tasks["sessions"] for turn in session["turns"]]
    assert report["solved"]["trials"] == len(turns)
    assert [task["failures"] for task in report["tasks"]] == [[] for _ in turns]
    assert report["solved"]["percent"] == 100
    assert report["well_formed"]["hits"] == report["well_formed"]["trials"] == len(
        script_of(tasks)["turns"])
    assert report["spurious"]["hits"] == 0
    assert report["spurious"]["trials"] == sum(turn["calls"] == 0 for turn in turns)


def test_breakdowns_add_up(report: dict[str, Any], tasks: dict[str, Any]) -> None:
    for breakdown in ("by_calls", "by_mode", "by_kind"):
        assert sum(share["trials"] for share in report[breakdown].values()) == report["solved"][
            "trials"]
    turns = [turn for session in tasks["sessions"] for turn in session["turns"]]
    assert set(report["by_kind"]) == {turn["kind"] for turn in turns}
    assert set(report["by_calls"]) == {str(turn["calls"]) for turn in turns}
    for task, turn in zip(report["tasks"], turns):
        assert task["kind"] == turn["kind"] and task["calls"] == len(turn["oracle"]["calls"])
        assert task["answer"] == turn["oracle"]["answer"]


def test_drafts_are_counted(report: dict[str, Any]) -> None:
    mtp = report["mtp"]
    assert 0 <= mtp["accepted"] <= mtp["drafts"] and mtp["drafts"] > 0
    assert mtp["tokens_per_forward"] == pytest.approx(
        report["sampled_tokens"] / (report["sampled_tokens"] - mtp["accepted"]))


def test_wrong_answers_and_calls_fail(baleen, pocket: Path, tasks: dict[str, Any],
                                      tmp_path: Path) -> None:
    tasks = {**tasks, "sessions": tasks["sessions"][1:]}
    script = script_of(tasks)
    for message in script["turns"]:
        if "tool_calls" not in message:
            message["content"] = "i do not know the value."
            message["reasoning"] = "hm."
    # One more thing: a call where none is needed.
    first_talk = next(i for i, task in enumerate(all_turns(tasks)) if task["calls"] == 0)
    at = sum(len(turn["oracle"]["calls"]) + 1 for turn in all_turns(tasks)[:first_talk])
    script["turns"].insert(at, {"content": "", "tool_calls": [
        {"name": "list", "arguments": {"path": "."}}]})
    report = run(baleen, pocket, tmp_path, tasks, script)
    for task, turn in zip(report["tasks"], all_turns(tasks)):
        asks_words = any(key in turn["checks"] for key in ("answer", "recall", "reasoning"))
        assert not (asks_words and task["solved"]), task
    assert report["spurious"]["hits"] == 1
    assert report["tasks"][first_talk]["calls"] == 1
    assert report["mtp"] is None


def all_turns(tasks: dict[str, Any]) -> list[dict[str, Any]]:
    return [turn for session in tasks["sessions"] for turn in session["turns"]]


def one_task(mode: str = "chat", has_tools: bool = True) -> dict[str, Any]:
    tools = json.loads(ORACLE.read_text(encoding="utf-8"))["tools"]
    turn = {"kind": "count", "user": "how many lines has a.txt?", "calls": 1,
            "checks": {"answer": ["3"]}}
    return {"tools": tools, "sessions": [
        {"system": "", "tools": has_tools, "thinking_mode": mode, "reasoning_effort": None,
         "files": {"a.txt": "x\ny\nz\n"}, "turns": [turn, copy.deepcopy(turn)]}]}


COUNT = {"content": "", "tool_calls": [{"name": "shell", "arguments": {"command": "wc -l a.txt"}}]}


def test_malformed_messages_are_counted_and_the_turn_goes_on(baleen, pocket: Path,
                                                             tmp_path: Path) -> None:
    # A parameter without its closing tag: the serving parser may repair it, the strict one refuses.
    raw = ("\n\n<\uff5cDSML\uff5ctool_calls>\n<\uff5cDSML\uff5cinvoke name=\"list\">\n"
           "<\uff5cDSML\uff5cparameter name=\"path\" string=\"true\">.\n")
    script = {"turns": [{"raw": raw}, COUNT, {"content": "it has 3 lines."}]}
    report = run(baleen, pocket, tmp_path, one_task(), script)
    assert report["well_formed"] == {**report["well_formed"], "hits": 2, "trials": 3}
    first, second = report["tasks"]
    assert not first["solved"] and first["messages"][0]["malformed"]
    assert second["solved"] and [m["calls"] for m in second["messages"]] == [1, 0]


def test_rounds_and_tokens_have_limits(baleen, pocket: Path, tmp_path: Path) -> None:
    script = {"turns": [{**COUNT, "repeat": True}]}
    tasks = one_task(has_tools=False)
    del tasks["sessions"][0]["turns"][1]
    report = run(baleen, pocket, tmp_path, tasks, script)
    assert [len(task["messages"]) for task in report["tasks"]] == [8]
    assert not any(task["solved"] for task in report["tasks"])
    report = run(baleen, pocket, tmp_path, tasks, {"turns": [
        {"content": "3 " * 100, "repeat": True}]}, "--max-tokens", "20")
    assert all(task["messages"][0]["malformed"] == "it has no end" for task in report["tasks"])


def test_reasoning_of_earlier_turns_stays_unless_dropped(baleen, pocket: Path,
                                                         tmp_path: Path) -> None:
    script = {"turns": [{"reasoning": "r" * 80, "content": "3", "repeat": True}]}
    kept = run(baleen, pocket, tmp_path, one_task("thinking"), script)
    dropped = run(baleen, pocket, tmp_path, one_task("thinking"), script, "--drop-reasoning")
    assert kept["prompt_tokens"] > dropped["prompt_tokens"] + 20
    assert dropped["drop_reasoning"] and dropped["solved"]["percent"] == 100


def test_without_a_script_it_is_deterministic(baleen, pocket: Path, tasks: dict[str, Any],
                                              tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")

    def texts(*options: str) -> list[str]:
        done = baleen("eval", "toolworld", "--model", pocket, "--tasks", path, "--limit", "2",
                      "--max-tokens", "6", "--json", "-", *options)
        assert done.returncode == 0, done.stderr
        return [m["text"] for task in json.loads(done.stdout)["tasks"] for m in task["messages"]]

    alone = texts("--parallel", "1")
    assert alone and texts("--parallel", "2", "--mtp") == alone
    assert texts("--temperature", "1", "--seed", "3") != alone


def test_table(baleen, pocket: Path, tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps(one_task()), encoding="utf-8")
    done = baleen("eval", "toolworld", "--model", pocket, "--tasks", path, "--max-tokens", "3")
    assert done.returncode == 0, done.stderr
    for words in ("tasks solved", "messages well-formed", "solved, by mode", "tok/s"):
        assert words in done.stdout


@pytest.mark.parametrize(("change", "words"), [
    ({"sessions": []}, ["no sessions"]),
    ({"tools": {}}, ["tools"]),
    ({"sessions": [{"system": 1}]}, ["session 0", "system"]),
    ({"sessions": [{**one_task()["sessions"][0], "thinking_mode": "deep"}]}, ["session 0", "deep"]),
    ({"sessions": [{**one_task()["sessions"][0], "turns": [{"kind": "x"}]}]},
     ["session 0", "turn 0", "user"]),
    ({"sessions": [{**one_task()["sessions"][0], "files": {"../x": "y"}}]}, ["../x"]),
], ids=lambda value: str(value)[:30])
def test_bad_task_files(baleen, pocket: Path, tmp_path: Path, change: dict[str, Any],
                        words: list[str]) -> None:
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps({**one_task(), **change}), encoding="utf-8")
    assert_bad_input(baleen("eval", "toolworld", "--model", pocket, "--tasks", path), *words)


def test_missing_and_broken_files(baleen, pocket: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{", encoding="utf-8")
    for path in (broken, tmp_path / "missing.json"):
        assert_bad_input(baleen("eval", "toolworld", "--model", pocket, "--tasks", path), str(path))
    assert_bad_input(baleen("eval", "toolworld", "--model", pocket),
                     str(pocket / "eval" / "toolworld.json"))
