"""The shell tool in memory: the few commands that the tool world uses, as coreutils answer.

`wc -l F`, `sort [-n|-r] F`, `head -n N F`, `tail -n N F`, `cat F`, `cp A B`, `mv A B`, `rm F`,
`ls D`, `mkdir -p D`; words are separated by blanks, nothing is quoted. Texts and exit codes are
those of Debian 12's coreutils under LC_ALL=C (a test compares them), for the errors that can happen
with paths that do not exist or are folders. NOTE: real files may differ where no test looks, for
instance `mv` of a folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from .world import Tree

MISSING = "No such file or directory"


class Failed(Exception):
    """A command's exit code and what it writes to stderr."""

    def __init__(self, code: int, stderr: str) -> None:
        super().__init__(stderr)
        self.code = code
        self.stderr = stderr


def run(tree: Tree, command: str) -> str:
    """stdout without newlines at its end, `(no output)`, or `exit CODE: STDERR`."""
    words = command.split()
    try:
        return find(words)(tree, *words[-ARITY[words[0]]:]).rstrip("\n") or "(no output)"
    except Failed as failed:
        return f"exit {failed.code}: {failed.stderr}"


def find(words: list[str]) -> Callable[..., str]:
    """The function of a command line, which takes its last words."""
    for count in (2, 1):
        function = COMMANDS.get(" ".join(words[:count]))
        if function and len(words) == count + ARITY[words[0]]:
            return function
    raise Failed(127, f"sh: 1: {words[0] if words else ''}: not found")


def text_of(tree: Tree, path: str, code: int, missing: str, folder: str) -> str:
    """A file's text; the error texts are used where it is missing or a folder."""
    path = path.removesuffix("/")
    if tree.is_folder(path):
        raise Failed(code, folder)
    if path not in tree.files:
        raise Failed(code, missing)
    return tree.files[path]


def lines_with_ends(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def wc_lines(tree: Tree, path: str) -> str:
    text = text_of(tree, path, 1, f"wc: {path}: {MISSING}", f"wc: {path}: Is a directory")
    return f"{text.count(chr(10))} {path}"


def cat(tree: Tree, path: str) -> str:
    return text_of(tree, path, 1, f"cat: {path}: {MISSING}", f"cat: {path}: Is a directory")


def sorted_lines(tree: Tree, path: str) -> list[str]:
    text = text_of(tree, path, 2, f"sort: cannot read: {path}: {MISSING}",
                   f"sort: read failed: {path}: Is a directory")
    return sorted(text.removesuffix("\n").split("\n"), key=str.encode) if text else []


def sort(tree: Tree, path: str) -> str:
    return "\n".join(sorted_lines(tree, path))


def sort_reverse(tree: Tree, path: str) -> str:
    return "\n".join(reversed(sorted_lines(tree, path)))


def sort_numbers(tree: Tree, path: str) -> str:
    return "\n".join(sorted(sorted_lines(tree, path), key=leading_number))


def leading_number(line: str) -> int:
    """What `sort -n` compares, for whole numbers; a line without one counts as 0."""
    digits = line.lstrip(" ").removeprefix("-")
    digits = digits[:len(digits) - len(digits.lstrip("0123456789"))]
    return int(digits or "0") * (-1 if line.lstrip(" ").startswith("-") else 1)


def head(tree: Tree, count: str, path: str) -> str:
    text = text_of(tree, path, 1, f"head: cannot open '{path}' for reading: {MISSING}",
                   f"head: error reading '{path}': Is a directory")
    return "".join(lines_with_ends(text)[:line_count(count, "head")])


def tail(tree: Tree, count: str, path: str) -> str:
    text = text_of(tree, path, 1, f"tail: cannot open '{path}' for reading: {MISSING}",
                   f"tail: error reading '{path}': Is a directory")
    wanted = line_count(count, "tail")
    return "".join(lines_with_ends(text)[-wanted:] if wanted else [])


def line_count(word: str, program: str) -> int:
    if not word.isascii() or not word.isdigit():
        raise Failed(1, f"{program}: invalid number of lines: '{word}'")
    return int(word)


def target_of(tree: Tree, source: str, target: str, program: str) -> str:
    """Where `cp` and `mv` put a file: into a folder under its own name."""
    if tree.is_folder(target.removesuffix("/")):
        folder = target.removesuffix("/")
        name = source.rpartition("/")[2]
        return name if folder == "." else f"{folder}/{name}"
    above = target.rpartition("/")[0]
    if above and not tree.is_folder(above):
        action = {"cp": f"cannot create regular file '{target}'",
                  "mv": f"cannot move '{source}' to '{target}'"}[program]
        raise Failed(1, f"{program}: {action}: {MISSING}")
    return target


def copy(tree: Tree, source: str, target: str) -> str:
    text = text_of(tree, source, 1, f"cp: cannot stat '{source}': {MISSING}",
                   f"cp: -r not specified; omitting directory '{source}'")
    place = target_of(tree, source, target, "cp")
    if place == source:
        raise Failed(1, f"cp: '{source}' and '{target}' are the same file")
    tree.put(place, text)
    return ""


def move(tree: Tree, source: str, target: str) -> str:
    text = text_of(tree, source, 1, f"mv: cannot stat '{source}': {MISSING}",
                   f"mv: cannot move folder '{source}'")
    place = target_of(tree, source, target, "mv")
    if place == source:
        raise Failed(1, f"mv: '{source}' and '{target}' are the same file")
    del tree.files[source]
    tree.put(place, text)
    return ""


def remove(tree: Tree, path: str) -> str:
    text_of(tree, path, 1, f"rm: cannot remove '{path}': {MISSING}",
            f"rm: cannot remove '{path}': Is a directory")
    del tree.files[path]
    return ""


def list_folder(tree: Tree, path: str) -> str:
    folder = path.removesuffix("/")
    if folder in tree.files:
        return path
    if not tree.is_folder(folder):
        raise Failed(2, f"ls: cannot access '{path}': {MISSING}")
    return "\n".join(entry.removesuffix("/") for entry in tree.entries(folder))


def make_folder(tree: Tree, path: str) -> str:
    folder = path.removesuffix("/")
    if folder in tree.files:
        raise Failed(1, f"mkdir: cannot create directory '{path}': File exists")
    tree.make_folder(folder)
    return ""


# The words before the operands -> the function; ARITY counts the operands of a program.
COMMANDS: dict[str, Callable[..., str]] = {
    "wc -l": wc_lines, "cat": cat, "sort": sort, "sort -r": sort_reverse, "sort -n": sort_numbers,
    "head -n": head, "tail -n": tail, "cp": copy, "mv": move, "rm": remove, "ls": list_folder,
    "mkdir -p": make_folder,
}
ARITY = {"wc": 1, "cat": 1, "sort": 1, "head": 2, "tail": 2, "cp": 2, "mv": 2, "rm": 1, "ls": 1,
         "mkdir": 1}
