"""The in-memory tools: exact texts, and the shell's commands against the real coreutils."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pocket.calculator import calculate
from pocket.world import Tree, run_tool

FILES = {"notes.txt": "oak\nash\nelm\n", "src/amber.cfg": "port: 8080\nmode: dark blue\n",
         "src/deep/leaf.md": "one oak\n", "numbers.txt": "10\n9\n-3\n100\n", "src.txt": "x y\n",
         "empty.txt": ""}

SHELL_COMMANDS = (
    "wc -l notes.txt", "wc -l empty.txt", "wc -l none.txt", "wc -l src/none.txt", "sort notes.txt",
    "sort -r notes.txt", "sort numbers.txt", "sort -n numbers.txt", "sort none.txt", "sort empty.txt",
    "head -n 2 notes.txt", "head -n 9 notes.txt", "head -n 0 notes.txt", "head -n 1 none.txt",
    "head -n x notes.txt", "tail -n 1 notes.txt", "tail -n 9 notes.txt", "tail -n 0 notes.txt",
    "tail -n 1 none.txt", "tail -n x notes.txt", "cat src/amber.cfg", "cat none.txt", "cat src",
    "cat empty.txt", "cp notes.txt copy.txt", "cp notes.txt src", "cp notes.txt src/",
    "cp notes.txt src/new.txt", "cp none.txt a.txt", "cp notes.txt none/a.txt",
    "cp notes.txt notes.txt", "cp src other", "cp notes.txt src/amber.cfg", "cp src/amber.cfg .",
    "mv notes.txt moved.txt", "mv notes.txt src", "mv notes.txt src/deep/", "mv none.txt a.txt",
    "mv notes.txt none/a.txt", "mv notes.txt notes.txt", "mv src/amber.cfg .", "rm notes.txt",
    "rm none.txt", "rm src", "ls src", "ls .", "ls none", "ls notes.txt", "ls src/", "mkdir -p new",
    "mkdir -p new/deep/er", "mkdir -p src", "mkdir -p notes.txt", "sort src", "head -n 1 src",
    "tail -n 1 src", "frobnicate x",
)


def real_shell(folder: Path, command: str) -> str:
    """The shell tool's text from a real shell."""
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"], "LC_ALL": "C"}, check=False)
    if done.returncode:
        return f"exit {done.returncode}: {done.stderr.rstrip(chr(10))}"
    return done.stdout.rstrip("\n") or "(no output)"


def real_tree(folder: Path) -> tuple[dict[str, str], set[str]]:
    paths = {str(path.relative_to(folder)): path for path in folder.rglob("*")}
    return ({name: path.read_text() for name, path in paths.items() if path.is_file()},
            {name for name, path in paths.items() if path.is_dir()})


@pytest.mark.parametrize("command", SHELL_COMMANDS)
def test_shell_equals_coreutils(command: str, tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    tree = Tree.of(FILES)
    assert run_tool(tree, "shell", {"command": command}) == real_shell(tmp_path, command)
    assert (tree.files, tree.folders) == real_tree(tmp_path)


@pytest.mark.parametrize("name, arguments, expected", [
    ("read", {"path": "notes.txt"}, "oak\nash\nelm"),
    ("read", {"path": "notes.txt", "limit": 2}, "oak\nash"),
    ("read", {"path": "notes.txt", "limit": 9}, "oak\nash\nelm"),
    ("read", {"path": "notes.txt", "limit": 0}, "error: limit must be at least 1"),
    ("read", {"path": "notes.txt", "limit": "2"}, "error: argument limit must be an integer"),
    ("read", {"path": "notes.txt", "limit": True}, "error: argument limit must be an integer"),
    ("read", {"path": "none.txt"}, "error: no such file: none.txt"),
    ("read", {"path": "src"}, "error: not a file: src"),
    ("read", {"path": "empty.txt"}, "(empty)"),
    ("read", {"path": "../notes.txt"}, "error: bad path: ../notes.txt"),
    ("read", {"path": "/notes.txt"}, "error: bad path: /notes.txt"),
    ("read", {"path": ""}, "error: bad path: "),
    ("read", {}, "error: missing argument: path"),
    ("list", {"path": "."}, "empty.txt\nnotes.txt\nnumbers.txt\nsrc/\nsrc.txt"),
    ("list", {"path": "src"}, "amber.cfg\ndeep/"),
    ("list", {"path": "src/"}, "amber.cfg\ndeep/"),
    ("list", {"path": "none"}, "error: no such folder: none"),
    ("list", {"path": "notes.txt"}, "error: not a folder: notes.txt"),
    ("grep", {"pattern": "oak", "path": "."}, "notes.txt:1:oak\nsrc/deep/leaf.md:1:one oak"),
    ("grep", {"pattern": "oak", "path": "src"}, "src/deep/leaf.md:1:one oak"),
    ("grep", {"pattern": "elm", "path": "notes.txt"}, "notes.txt:3:elm"),
    ("grep", {"pattern": "Oak", "path": "."}, "no matches"),
    ("grep", {"pattern": "o.k", "path": "."}, "no matches"),
    ("grep", {"pattern": "", "path": "."}, "error: empty pattern"),
    ("grep", {"pattern": "oak", "path": "none"}, "error: no such file: none"),
    ("write", {"path": "new/a.txt", "content": "blue sky"}, "wrote 9 bytes to new/a.txt"),
    ("write", {"path": "notes.txt", "content": "x\n"}, "wrote 2 bytes to notes.txt"),
    ("write", {"path": "a.txt", "content": ""}, "wrote 0 bytes to a.txt"),
    ("write", {"path": "src", "content": "x"}, "error: not a file: src"),
    ("write", {"path": "notes.txt/a", "content": "x"}, "error: not a file: notes.txt/a"),
    ("write", {"path": "a.txt"}, "error: missing argument: content"),
    ("fly", {}, "error: unknown tool: fly"),
    ("calculator", {"expression": "2 * (3 + 4)"}, "14"),
])
def test_tools(name: str, arguments: dict, expected: str) -> None:
    assert run_tool(Tree.of(FILES), name, arguments) == expected


def test_write_changes_the_tree() -> None:
    tree = Tree.of(FILES)
    run_tool(tree, "write", {"path": "new/a.txt", "content": "blue sky"})
    assert tree.files["new/a.txt"] == "blue sky\n"
    assert run_tool(tree, "list", {"path": "new"}) == "a.txt"
    run_tool(tree, "shell", {"command": "rm new/a.txt"})
    assert run_tool(tree, "list", {"path": "new"}) == "(empty)"


@pytest.mark.parametrize("expression, expected", [
    ("1 + 2 * 3", "7"), ("(1 + 2) * 3", "9"), ("2 - 3 - 4", "-5"), ("-3 * -(2 - 5)", "-9"),
    ("007", "7"), ("1+1", "2"), ("", "error: bad expression"), ("1 +", "error: bad expression"),
    ("(1", "error: bad expression"), ("1 2", "error: bad expression"),
    ("2 ** 3", "error: bad expression"), ("8 / 2", "error: bad expression"),
    ("1.5", "error: bad expression"), ("+1", "error: bad expression"),
    ("999999999999999999", "999999999999999999"), ("1000000000000000000", "error: number too large"),
    ("999999999999999999 + 1", "error: number too large"), ("(" * 200 + "1", "error: bad expression"),
])
def test_calculator(expression: str, expected: str) -> None:
    assert calculate(expression) == expected
