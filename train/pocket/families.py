"""Turns with tool calls. Each function makes one turn, or raises Unfit where the session
does not allow it.

Answers and reasoning have one wording each: the point is to choose the right calls and to copy the
right words, not to vary the style.
"""

from __future__ import annotations

from typing import Callable

from . import phrases
from .scene import Last, Scene, Turn
from .trees import files_of, flat_folders, found_once, pairs, words_found_once
from .world import lines_of

Family = Callable[[Scene], None]
NUMBER_WORDS = ("", "one", "two", "three", "four", "five")
# An answer about something missing says one of these.
NOTHING = ("no", "not", "none", "missing")


def read(path: str, limit: int | None = None) -> tuple[str, dict]:
    return "read", {"path": path} | ({"limit": limit} if limit else {})


def grep(pattern: str, path: str = ".") -> tuple[str, dict]:
    return "grep", {"pattern": pattern, "path": path}


def write(path: str, content: str) -> tuple[str, dict]:
    return "write", {"path": path, "content": content}


def shell(command: str) -> tuple[str, dict]:
    return "shell", {"command": command}


def calculator(expression: str) -> tuple[str, dict]:
    return "calculator", {"expression": expression}


def joined(lines: list[str]) -> str:
    return ", ".join(lines)


# ---- one call

def read_value(scene: Scene) -> None:
    path = scene.pick(files_of(scene, "config"))
    key = scene.pick(list(pairs(scene, path)))
    turn = scene.turn("read_value", "read_value", (f"read {path}", f"find {key}", "answer"),
                      path=path, key=key)
    finish_value(turn, path, key)


def finish_value(turn: Turn, path: str, key: str) -> None:
    turn.call(f"i read {path} to find {key}.", read(path))
    value = pairs(turn.scene, path)[key]
    turn.answer(f"{key} is {value}.", f"{key} in {path} is {value}.",
                Last("read_value", value, path, key), f"the line says {key}: {value}", answer=[value])


def read_first(scene: Scene) -> None:
    paths = [p for p in files_of(scene, "list", "note", "config")]
    path = scene.pick(paths)
    count = scene.rng.randint(1, min(5, len(lines_of(scene.tree.files[path]))))
    shown = "line" if count == 1 else f"{scene.rng.choice((str(count), NUMBER_WORDS[count]))} lines"
    turn = scene.turn("read_first", "read_first", (f"read {count} lines of {path}", "answer"),
                      path=path, count=shown)
    finish_first(turn, path, count)


def finish_first(turn: Turn, path: str, count: int) -> None:
    result, = turn.call(f"i read {path} with limit {count}.", read(path, count))
    lines = result.split("\n")
    turn.answer(f"i have {len(lines)} of {count} lines.", f"{path} starts with: {joined(lines)}.",
                Last("read_first", lines[0], count=count), answer=lines)


def read_all(scene: Scene) -> None:
    path = scene.pick(files_of(scene, "text", "number", "note", "list"))
    turn = scene.turn("read_all", "read_all", (f"read {path}", "answer"), path=path)
    finish_all(turn, path)


def finish_all(turn: Turn, path: str) -> None:
    result, = turn.call(f"i read {path}.", read(path))
    lines = result.split("\n")
    value = lines[0] if len(lines) == 1 else ""
    turn.answer("i have the text.", f"{path} says: {joined(lines)}.",
                Last("read_all", value), f"it has {len(lines)} lines", answer=lines)


def list_count(scene: Scene) -> None:
    folders = [f for f in flat_folders(scene) if len(scene.tree.entries(f)) <= 8]
    folder = scene.pick(folders)
    turn = scene.turn("list_count", "list_count", (f"list {folder}", "count the files", "answer"),
                      folder=folder)
    result, = turn.call(f"i list {folder}.", ("list", {"path": folder}))
    names = result.split("\n")
    counted = joined([f"{number} {name}" for number, name in enumerate(names, start=1)])
    turn.answer(f"i count: {counted}.", f"there are {len(names)} files in {folder}.",
                Last("list_count", str(len(names))), f"the last number is {len(names)}",
                answer=[str(len(names))])


def list_names(scene: Scene) -> None:
    folders = flat_folders(scene)
    folder = scene.pick(folders)
    turn = scene.turn("list_names", "list_names", (f"list {folder}", "name the files"),
                      folder=folder)
    result, = turn.call(f"i list {folder}.", ("list", {"path": folder}))
    names = result.split("\n")
    turn.answer("i have the names.", f"the files in {folder} are: {joined(names)}.",
                check=f"it has {len(names)} files", answer=names)


def grep_file(scene: Scene) -> None:
    found = words_found_once(scene)
    word, path, _ = scene.pick(found)
    turn = scene.turn("grep_file", "grep_file", (f"search for {word}", "name the file"), word=word)
    turn.call(f"i search for {word}.", grep(word))
    turn.answer(f"the match is in {path}.", f"{word} is in {path}.", Last("grep_file", path),
                f"the line has {word}", answer=[path])


def grep_value(scene: Scene) -> None:
    keys = [(key, value) for path in files_of(scene, "config")
            for key, value in pairs(scene, path).items() if found_once(scene, key + ":")]
    key, value = scene.pick(keys)
    turn = scene.turn("grep_value", "grep_value", (f"search for {key}:", "answer"), key=key)
    turn.call(f"i search for {key}:.", grep(key + ":"))
    turn.answer(f"{key} is {value}.", f"{key} is {value}.", Last("grep_value", value),
                f"the line says {key}: {value}", answer=[value])


def grep_line(scene: Scene) -> None:
    found = [place for place in words_found_once(scene)
             if len(lines_of(scene.tree.files[place[1]])) > 1]
    word, path, number = scene.pick(found)
    turn = scene.turn("grep_line", "grep_line", (f"search for {word} in {path}", "answer"),
                      word=word, path=path)
    turn.call(f"i search for {word} in {path}.", grep(word, path))
    turn.answer(f"it is line {number}.", f"{word} is in line {number} of {path}.",
                Last("grep_line", str(number)), f"the match is {path}:{number}",
                answer=[str(number)])


def write_text(scene: Scene) -> None:
    path = scene.new_path()
    text = scene.names.any_number() if scene.rng.random() < 0.2 else scene.names.text()
    turn = scene.turn("write_text", "write_text", (f"write {text} to {path}", "answer"),
                      path=path, text=text)
    finish_write(turn, path, text)


def finish_write(turn: Turn, path: str, text: str, before: str = "") -> None:
    turn.call(f"{before}i write {text} to {path}.", write(path, text))
    turn.answer("it is written.", f"i wrote {text} to {path}.",
                Last("write_text", made="" if path in turn.before else path))


def count_lines(scene: Scene) -> None:
    path = scene.pick(files_of(scene))
    turn = scene.turn("count_lines", "count_lines", (f"count the lines of {path}", "answer"),
                      path=path)
    finish_count(turn, path)


def finish_count(turn: Turn, path: str) -> None:
    result, = turn.call(f"i count the lines of {path}.", shell(f"wc -l {path}"))
    number = result.split(" ")[0]
    turn.answer(f"it has {number} lines.", f"{path} has {number} lines.",
                Last("count_lines", number), f"wc says {number}", answer=[number])


def sort_file(scene: Scene) -> None:
    path = scene.pick(files_of(scene, "list", "note"))
    turn = scene.turn("sort_file", "sort_file", (f"sort {path}", "answer"), path=path)
    result, = turn.call(f"i sort {path}.", shell(f"sort {path}"))
    lines = result.split("\n")
    turn.answer("i have the order.", f"sorted: {joined(lines)}.",
                check=f"it has {len(lines)} lines", answer=[joined(lines)])


def sort_first(scene: Scene) -> None:
    path = scene.pick(files_of(scene, "list", "note"))
    turn = scene.turn("sort_first", "sort_first", (f"sort {path}", "answer the first line"),
                      path=path)
    result, = turn.call(f"i sort {path}.", shell(f"sort {path}"))
    first = result.split("\n")[0]
    turn.answer(f"the first line is {first}.", f"{first} comes first.", Last("sort_first", first),
                answer=[first])


def last_line(scene: Scene) -> None:
    path = scene.pick(files_of(scene, "list", "note", "config"))
    turn = scene.turn("last_line", "last_line", (f"read the end of {path}", "answer"), path=path)
    finish_last(turn, path)


def finish_last(turn: Turn, path: str) -> None:
    line, = turn.call(f"i read the end of {path}.", shell(f"tail -n 1 {path}"))
    turn.answer(f"the last line is {line}.", f"{path} ends with: {line}.", Last("last_line", line),
                answer=[line])


def copy_file(scene: Scene) -> None:
    path, new = scene.pick(files_of(scene)), scene.new_path()
    turn = scene.turn("copy_file", "copy_file", (f"copy {path} to {new}", "answer"),
                      path=path, new=new)
    turn.call(f"i copy {path} to {new}.", shell(f"cp {path} {new}"))
    turn.answer("it is copied.", f"i copied {path} to {new}.", Last("copy_file", made=new))


def move_file(scene: Scene) -> None:
    path, new = scene.pick(files_of(scene)), scene.new_path()
    turn = scene.turn("move_file", "move_file", (f"move {path} to {new}", "answer"),
                      path=path, new=new)
    turn.call(f"i move {path} to {new}.", shell(f"mv {path} {new}"))
    turn.answer("it is moved.", f"i moved {path} to {new}.", Last("move_file"))


def remove_file(scene: Scene) -> None:
    path = scene.pick(files_of(scene))
    turn = scene.turn("remove_file", "remove_file", (f"remove {path}", "answer"), path=path)
    finish_remove(turn, path)


def finish_remove(turn: Turn, path: str) -> None:
    turn.call(f"i remove {path}.", shell(f"rm {path}"))
    turn.answer("it is removed.", f"i removed {path}.", Last("remove_file"))


def calculate(scene: Scene) -> None:
    """Numbers with signs, in words, or three numbers with parentheses."""
    a, b, c = (scene.names.any_number(3) for _ in range(3))
    word, sign = scene.rng.choice((("plus", "+"), ("minus", "-"), ("times", "*")))
    said, expression = scene.rng.choice((
        (f"{a} {sign} {b}",) * 2, (f"{a} {word} {b}", f"{a} {sign} {b}"),
        (f"({a} + {b}) * {c}",) * 2, (f"{a} * {b} {scene.rng.choice('+-')} {c}",) * 2,
        (f"{a} * ({b} - {c})",) * 2))
    turn = scene.turn("calculate", "calculate", (f"calculate {expression}", "answer"), expr=said)
    finish_calculation(turn, f"i calculate {expression}.", expression)


def finish_calculation(turn: Turn, thought: str, expression: str) -> None:
    value, = turn.call(thought, calculator(expression))
    turn.answer(f"the result is {value}.", f"the result is {value}.", Last("calculate", value),
                f"{expression} gives {value}", answer=[value])


def scale(scene: Scene) -> tuple[str, str]:
    """(what <scale> says, the expression with {x})."""
    said = scene.rng.choice(tuple(phrases.SCALES))
    number = scene.names.any_number(3)
    return said.format(n=number), phrases.SCALES[said].format(n=number, x="{x}")


ONE_CALL: dict[str, Family] = {
    function.__name__: function for function in (
        read_value, read_first, read_all, list_count, list_names, grep_file, grep_value, grep_line,
        write_text, count_lines, sort_file, sort_first, last_line, copy_file, move_file, remove_file,
        calculate)}
