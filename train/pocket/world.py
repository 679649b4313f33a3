"""The six tools of the tool world on an in-memory file tree.

Every tool takes a dictionary of arguments and gives one text. A C++ executor gives the same texts
from real files, so the rules here are exact. A tool's text never ends in a newline; paths are
relative, parts joined by single slashes, "." is the tree's root.

path      Refused: empty, absolute, with a part that is empty, "." or ".." (except "." alone):
          `error: bad path: PATH`. A trailing slash is dropped first.
read      {path, limit?}: the file's text without its last newline; with limit its first `limit`
          lines. An empty text gives `(empty)`. Errors: `error: no such file: PATH`,
          `error: not a file: PATH` (a folder), `error: limit must be at least 1`.
list      {path}: one entry a line, sorted by the bytes of the name, a folder with a slash after its
          name; an empty folder gives `(empty)`. Errors: `error: no such folder: PATH`,
          `error: not a folder: PATH`.
grep      {pattern, path}: lines that contain the pattern, a fixed text, case-sensitive, in the file
          PATH or in every file below the folder PATH: `FILE:LINE:text`, lines counted from 1, sorted
          by the bytes of FILE (relative to the root), then by line; else `no matches`. Errors:
          `error: empty pattern`, `error: no such file: PATH`.
write     {path, content}: replaces or makes the file and the folders above it. A content that is not
          empty and does not end in a newline gets one. `wrote N bytes to PATH`, N with that newline.
          Error: `error: not a file: PATH` (PATH is a folder, or a part above it is a file).
shell     {command}: stdout of the command in the root under LC_ALL=C without the newlines at its
          end; `(no output)` if that is empty; `exit CODE: STDERR` if the code is not 0. In memory
          only the forms of shell.py exist; others give `exit 127: sh: 1: WORD: not found`.
calculator {expression}: integers with + - * and parentheses, blanks allowed, unary minus; the
          result in decimal. Errors: `error: bad expression`, `error: number too large` (a number
          or a result beyond 18 digits).

Before a tool runs: `error: unknown tool: NAME`, `error: missing argument: NAME`,
`error: argument NAME must be a string` (or `an integer`); unknown arguments are ignored. Arguments
are checked in the order above.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from . import shell
from .calculator import calculate

# Tool -> its arguments: (name, type, required), in the order in which they are checked.
ARGUMENTS: dict[str, tuple[tuple[str, type, bool], ...]] = {
    "read": (("path", str, True), ("limit", int, False)),
    "list": (("path", str, True),),
    "grep": (("pattern", str, True), ("path", str, True)),
    "write": (("path", str, True), ("content", str, True)),
    "shell": (("command", str, True),),
    "calculator": (("expression", str, True),),
}


@dataclass
class Tree:
    """Files by path, and the folders that exist (all ancestors of files included; not the root)."""

    files: dict[str, str] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)

    @staticmethod
    def of(files: dict[str, str]) -> Tree:
        tree = Tree()
        for path, text in files.items():
            tree.put(path, text)
        return tree

    def put(self, path: str, text: str) -> None:
        self.files[path] = text
        self.make_folder(parent(path))

    def make_folder(self, path: str) -> None:
        while path != ".":
            self.folders.add(path)
            path = parent(path)

    def is_folder(self, path: str) -> bool:
        return path == "." or path in self.folders

    def entries(self, folder: str) -> list[str]:
        """Names directly in a folder, in byte order, folders with a slash."""
        names = {name_of(p): name_of(p) for p in self.files if parent(p) == folder}
        names |= {name_of(p): name_of(p) + "/" for p in self.folders if parent(p) == folder}
        return [names[name] for name in sorted(names, key=str.encode)]

    def below(self, folder: str) -> list[str]:
        """Paths of all files in a folder and its folders, in byte order."""
        prefix = "" if folder == "." else folder + "/"
        return sorted((p for p in self.files if p.startswith(prefix)), key=str.encode)


def parent(path: str) -> str:
    return path.rpartition("/")[0] or "."


def name_of(path: str) -> str:
    return path.rpartition("/")[2]


def normal_path(path: str) -> str | None:
    """The path without a trailing slash; None where it is refused."""
    if path.endswith("/") and path != "/":
        path = path[:-1]
    parts = path.split("/")
    if path == "." or all(part not in ("", ".", "..") for part in parts):
        return path
    return None


def run_tool(tree: Tree, name: str, arguments: dict) -> str:
    """Runs one call, which may change the tree, and gives the tool's text."""
    if name not in ARGUMENTS:
        return f"error: unknown tool: {name}"
    for key, kind, required in ARGUMENTS[name]:
        if key not in arguments:
            if required:
                return f"error: missing argument: {key}"
        elif type(arguments[key]) is not kind:
            expected = "a string" if kind is str else "an integer"
            return f"error: argument {key} must be {expected}"
    if "path" not in arguments:
        tool = run_shell if name == "shell" else run_calculator
        return tool(tree, arguments)
    path = normal_path(arguments["path"])
    if path is None:
        return f"error: bad path: {arguments['path']}"
    tools = {"read": run_read, "list": run_list, "grep": run_grep, "write": run_write}
    return tools[name](tree, arguments | {"path": path})


def run_read(tree: Tree, arguments: dict) -> str:
    path = arguments["path"]
    if tree.is_folder(path):
        return f"error: not a file: {path}"
    if path not in tree.files:
        return f"error: no such file: {path}"
    text = tree.files[path].removesuffix("\n")
    limit = arguments.get("limit")
    if limit is not None:
        if limit < 1:
            return "error: limit must be at least 1"
        text = "\n".join(text.split("\n")[:limit])
    return text or "(empty)"


def run_list(tree: Tree, arguments: dict) -> str:
    path = arguments["path"]
    if path in tree.files:
        return f"error: not a folder: {path}"
    if not tree.is_folder(path):
        return f"error: no such folder: {path}"
    return "\n".join(tree.entries(path)) or "(empty)"


def run_grep(tree: Tree, arguments: dict) -> str:
    pattern, path = arguments["pattern"], arguments["path"]
    if not pattern:
        return "error: empty pattern"
    if path not in tree.files and not tree.is_folder(path):
        return f"error: no such file: {path}"
    found = [f"{file}:{number}:{line}"
             for file in ([path] if path in tree.files else tree.below(path))
             for number, line in enumerate(lines_of(tree.files[file]), start=1)
             if pattern in line]
    return "\n".join(found) or "no matches"


def run_write(tree: Tree, arguments: dict) -> str:
    path, content = arguments["path"], arguments["content"]
    above = parent(path)
    while above != ".":
        if above in tree.files:
            return f"error: not a file: {path}"
        above = parent(above)
    if tree.is_folder(path):
        return f"error: not a file: {path}"
    if content and not content.endswith("\n"):
        content += "\n"
    tree.put(path, content)
    return f"wrote {len(content.encode())} bytes to {path}"


def run_shell(tree: Tree, arguments: dict) -> str:
    return shell.run(tree, arguments["command"])


def run_calculator(tree: Tree, arguments: dict) -> str:
    del tree
    return calculate(arguments["expression"])


def lines_of(text: str) -> list[str]:
    """Lines without their newlines; a file that does not end in one has a last line all the same."""
    return text.removesuffix("\n").split("\n") if text else []
