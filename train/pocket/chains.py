"""Turns with several calls, follow-ups to the turn before, and turns where something is missing."""

from __future__ import annotations

from .families import (NOTHING, Family, calculator, finish_all, finish_calculation, finish_count,
                       finish_first, finish_last, finish_remove, finish_value, finish_write, grep,
                       joined, read, scale, shell, write)
from .scene import Last, Scene, Turn, Unfit
from .trees import files_of, flat_folders, found_once, number_pairs, pairs, words_found_once
from .world import name_of


# ---- two calls

def scale_value(scene: Scene) -> None:
    found = number_pairs(scene)
    path, key, value = scene.pick(found)
    said, expression = scale(scene)
    turn = scene.turn("scale_value", "scale_value",
                      (f"read {path}", f"find {key}", "calculate", "answer"),
                      path=path, key=key, scale=said)
    turn.call(f"i read {path} to find {key}.", read(path))
    expression = expression.format(x=value)
    finish_calculation(turn, f"{key} is {value}. now i calculate {expression}.", expression)
    scene.last.path, scene.last.key = path, key


def find_first(scene: Scene) -> None:
    found = words_found_once(scene)
    word, path, _ = scene.pick(found)
    turn = scene.turn("find_first", "find_first",
                      (f"search for {word}", "read the first line of that file", "answer"), word=word)
    turn.call(f"i search for {word}.", grep(word))
    line, = turn.call(f"it is in {path}. now i read its first line.", read(path, 1))
    turn.answer(f"the first line is {line}.", f"{path} starts with: {line}.",
                Last("find_first", line), answer=[line])


def append_line(scene: Scene) -> None:
    path = scene.pick(files_of(scene, "list", "note", "text"))
    text = scene.names.text()
    turn = scene.turn("append_line", "append_line", (f"read {path}", f"write it with {text} added"),
                      path=path, text=text)
    old, = turn.call(f"i read {path}.", read(path))
    turn.call(f"now i write {path} with {text} at the end.", write(path, f"{old}\n{text}"))
    turn.answer("it is written.", f"i added {text} to {path}.", Last("append_line"))


def set_value(scene: Scene) -> None:
    path = scene.pick(files_of(scene, "config"))
    key, value = scene.pick(list(pairs(scene, path))), scene.names.value()
    turn = scene.turn("set_value", "set_value", (f"read {path}", f"write it with {key}: {value}"),
                      path=path, key=key, value=value)
    old, = turn.call(f"i read {path}.", read(path))
    lines = [f"{key}: {value}" if line.startswith(f"{key}: ") else line for line in old.split("\n")]
    turn.call(f"now i write {path} with {key}: {value}.", write(path, "\n".join(lines)))
    turn.answer("it is written.", f"{key} in {path} is now {value}.", Last("set_value"))


def copy_value(scene: Scene) -> None:
    path, new = scene.pick(files_of(scene, "config")), scene.new_path()
    key = scene.pick(list(pairs(scene, path)))
    turn = scene.turn("copy_value", "copy_value", (f"read {path}", f"find {key}", f"write it to {new}"),
                      path=path, key=key, new=new)
    turn.call(f"i read {path} to find {key}.", read(path))
    value = pairs(scene, path)[key]
    finish_write(turn, new, value, f"{key} is {value}. ")


def single_file(scene: Scene, kinds: tuple[str, ...]) -> tuple[str, str]:
    """(folder, path) of a folder with one file only, of one of these kinds."""
    found = [(folder, path) for folder in flat_folders(scene)
             if len(scene.tree.entries(folder)) == 1
             and (path := scene.tree.below(folder)[0]) in files_of(scene, *kinds)]
    return scene.pick(found)


def read_only(scene: Scene) -> None:
    folder, path = single_file(scene, ("text", "number", "note"))
    turn = scene.turn("read_only", "read_only", (f"list {folder}", "read the file", "answer"),
                      folder=folder)
    turn.call(f"i list {folder}.", ("list", {"path": folder}))
    text, = turn.call(f"the file is {name_of(path)}. now i read {path}.", read(path))
    lines = text.split("\n")
    turn.answer("i have the text.", f"{path} says: {joined(lines)}.",
                Last("read_only", lines[0] if len(lines) == 1 else ""), answer=lines)


def sort_save(scene: Scene) -> None:
    path, new = scene.pick(files_of(scene, "list", "note")), scene.new_path()
    turn = scene.turn("sort_save", "sort_save", (f"sort {path}", f"write the lines to {new}"),
                      path=path, new=new)
    lines, = turn.call(f"i sort {path}.", shell(f"sort {path}"))
    turn.call(f"now i write the lines to {new}.", write(new, lines))
    turn.answer("it is written.", f"i sorted {path} and saved it to {new}.",
                Last("sort_save", made=new))


def move_into(scene: Scene) -> None:
    path, folder = scene.pick(files_of(scene)), scene.new_folder()
    turn = scene.turn("move_into", "move_into", (f"make {folder}", f"move {path} to {folder}"),
                      path=path, folder=folder)
    turn.call(f"i make the folder {folder}.", shell(f"mkdir -p {folder}"))
    turn.call(f"now i move {path} to {folder}.", shell(f"mv {path} {folder}"))
    turn.answer("it is moved.", f"i moved {path} to {folder}.", Last("move_into"))


def read_or(scene: Scene) -> None:
    """The second file is read only where the first is missing."""
    other = scene.pick(files_of(scene, "text", "number", "list"))
    exists = scene.rng.random() < 0.35
    path = scene.pick(files_of(scene, "text", "number", "list")) if exists else scene.new_path()
    if path == other:
        raise Unfit
    turn = scene.turn("read_or", "read_or", (f"read {path}", f"if it is missing read {other}", "answer"),
                      path=path, path2=other)
    text, = turn.call(f"i read {path}.", read(path))
    thought = "i have the text."
    if not exists:
        text, = turn.call(f"there is no {path}. now i read {other}.", read(other))
        path = other
    lines = text.split("\n")
    turn.answer(thought, f"{path} says: {joined(lines)}.",
                Last("read_or", lines[0] if len(lines) == 1 else ""), answer=lines)


# ---- three and four calls

def sum_files(scene: Scene) -> None:
    sum_of_files(scene, "sum_files")


def sum_at_once(scene: Scene) -> None:
    sum_of_files(scene, "sum_at_once")


def sum_write(scene: Scene) -> None:
    sum_of_files(scene, "sum_write")


def sum_of_files(scene: Scene, kind: str) -> None:
    """Reads two numbers (in one block where the user says so), adds, and perhaps writes."""
    first, second = scene.pick_two(files_of(scene, "number"))
    new = scene.new_path() if kind == "sum_write" else ""
    plan = (f"read {first}", f"read {second}", "add", f"write the sum to {new}" if new else "answer")
    turn = scene.turn(kind, kind, plan, path=first, path2=second, new=new)
    if kind == "sum_at_once":
        a, b = turn.call(f"i read {first} and {second}.", read(first), read(second))
        known = f"the numbers are {a} and {b}."
    else:
        a, = turn.call(f"i read {first}.", read(first))
        b, = turn.call(f"the first number is {a}. now i read {second}.", read(second))
        known = f"the second number is {b}."
    finish_sum(turn, known, a, b, new)


def finish_sum(turn: Turn, known: str, a: str, b: str, new: str) -> None:
    expression = f"{a} + {b}"
    total, = turn.call(f"{known} now i calculate {expression}.", calculator(expression))
    if new:
        finish_write(turn, new, total, f"the sum is {total}. now ")
        return
    turn.answer(f"the sum is {total}.", f"the sum is {total}.", Last("sum", total),
                f"{expression} gives {total}", answer=[total])


def sum_keys(scene: Scene) -> None:
    sum_of_keys(scene, "sum_keys")


def sum_keys_write(scene: Scene) -> None:
    sum_of_keys(scene, "sum_keys_write")


def sum_of_keys(scene: Scene, kind: str) -> None:
    found = [(key, value) for _, key, value in number_pairs(scene) if found_once(scene, key + ":")]
    (key, a), (key2, b) = scene.pick_two(found)
    new = scene.new_path() if kind == "sum_keys_write" else ""
    plan = (f"search for {key}:", f"search for {key2}:", "add",
            f"write the sum to {new}" if new else "answer")
    turn = scene.turn(kind, kind, plan, key=key, key2=key2, new=new)
    turn.call(f"i search for {key}:.", grep(key + ":"))
    turn.call(f"{key} is {a}. now i search for {key2}:.", grep(key2 + ":"))
    finish_sum(turn, f"{key2} is {b}.", a, b, new)


def find_write(scene: Scene) -> None:
    found = words_found_once(scene)
    (word, path, _), new = scene.pick(found), scene.new_path()
    turn = scene.turn("find_write", "find_write",
                      (f"search for {word}", "read the first line of that file",
                       f"write it to {new}"), word=word, new=new)
    turn.call(f"i search for {word}.", grep(word))
    line, = turn.call(f"it is in {path}. now i read its first line.", read(path, 1))
    finish_write(turn, new, line, f"the first line is {line}. now ")


def scale_write(scene: Scene) -> None:
    found = number_pairs(scene)
    (path, key, value), new = scene.pick(found), scene.new_path()
    said, expression = scale(scene)
    turn = scene.turn("scale_write", "scale_write",
                      (f"read {path}", f"find {key}", "calculate", f"write the result to {new}"),
                      path=path, key=key, scale=said, new=new)
    turn.call(f"i read {path} to find {key}.", read(path))
    finish_scale(turn, f"{key} is {value}.", expression.format(x=value), new)


def finish_scale(turn: Turn, known: str, expression: str, new: str) -> None:
    result, = turn.call(f"{known} now i calculate {expression}.", calculator(expression))
    finish_write(turn, new, result, f"the result is {result}. now ")


def list_scale_write(scene: Scene) -> None:
    (folder, path), new = single_file(scene, ("number",)), scene.new_path(".")
    said, expression = scale(scene)
    turn = scene.turn("list_scale_write", "list_scale_write",
                      (f"list {folder}", "read the file", "calculate", f"write the result to {new}"),
                      folder=folder, scale=said, new=new)
    turn.call(f"i list {folder}.", ("list", {"path": folder}))
    value, = turn.call(f"the file is {name_of(path)}. now i read {path}.", read(path))
    finish_scale(turn, f"the number is {value}.", expression.format(x=value), new)


# ---- follow-ups: each needs what the turn before left

def scale_that(scene: Scene) -> None:
    value = scene.last.value
    if not value.lstrip("-").isdigit() or len(value) > 12:
        raise Unfit
    said, expression = scale(scene)
    expression = expression.format(x=value)
    turn = scene.turn("scale_that", "scale_that", (f"calculate {expression}", "answer"), scale=said)
    finish_calculation(turn, f"the number is {value}. i calculate {expression}.", expression)


def write_that(scene: Scene) -> None:
    value = scene.last.value
    if not value:
        raise Unfit
    path = scene.new_path()
    turn = scene.turn("write_that", "write_that", (f"write {value} to {path}", "answer"), path=path)
    finish_write(turn, path, value, f"the result was {value}. ")


def undo_file(scene: Scene) -> None:
    path = scene.last.made
    if not path or scene.rng.random() < 0.5:  # else nearly every new file would go again
        raise Unfit
    turn = scene.turn("undo_file", "undo_file", (f"remove {path}", "answer"))
    finish_remove(turn, path)


def also_file(scene: Scene) -> None:
    """The same question about another file."""
    last = scene.last
    asked = scene.messages[-1]["content"] if scene.messages else ""
    paths = {"read_value": [p for p in files_of(scene, "config") if last.key in pairs(scene, p)],
             "read_first": files_of(scene, "list", "note", "config"),
             "read_all": files_of(scene, "text", "number", "list", "note"),
             "count_lines": files_of(scene),
             "last_line": files_of(scene, "list", "note", "config")}.get(last.kind, [])
    paths = [path for path in paths if path not in asked]
    path = scene.pick(paths)
    turn = scene.turn("also_file", "also_file", (f"do the same for {path}", "answer"), path=path)
    if last.kind == "read_value":
        finish_value(turn, path, last.key)
    elif last.kind == "read_first":
        finish_first(turn, path, last.count)
    else:
        {"read_all": finish_all, "count_lines": finish_count, "last_line": finish_last}[last.kind](
            turn, path)


def also_key(scene: Scene) -> None:
    """Another key of the file just read: its text is known, no call is needed."""
    last = scene.last
    if not last.path or last.path not in files_of(scene, "config"):
        raise Unfit
    others = [key for key in pairs(scene, last.path) if key != last.key]
    key = scene.pick(others)
    value = pairs(scene, last.path)[key]
    turn = scene.turn("also_key", "also_key", (f"find {key} in the text", "answer"), key=key)
    turn.answer(f"i know {last.path}. {key} is {value}.", f"{key} in {last.path} is {value}.",
                Last("read_value", value, last.path, key), f"the line says {key}: {value}",
                answer=[value])


# ---- something is missing

def missing_file(scene: Scene) -> None:
    """A read, count or removal of a file that does not exist."""
    path = scene.new_path()
    intent = scene.rng.choice(("read_value", "read_all", "count_lines", "remove_file", "last_line"))
    command = {"count_lines": shell(f"wc -l {path}"), "remove_file": shell(f"rm {path}"),
               "last_line": shell(f"tail -n 1 {path}")}.get(intent, read(path))
    key = scene.names.word()
    thought = {"read_value": f"i read {path} to find {key}.", "read_all": f"i read {path}.",
               "count_lines": f"i count the lines of {path}.", "remove_file": f"i remove {path}.",
               "last_line": f"i read the end of {path}."}[intent]
    plan = {"read_value": (f"read {path}", f"find {key}", "answer"),
            "read_all": (f"read {path}", "answer"),
            "count_lines": (f"count the lines of {path}", "answer"),
            "remove_file": (f"remove {path}", "answer"),
            "last_line": (f"read the end of {path}", "answer")}[intent]
    turn = scene.turn(f"missing_{intent}", intent, plan, path=path, key=key)
    turn.call(thought, command)
    turn.answer(f"there is no {path}.", f"there is no file {path}.", Last("missing"),
                "the tool gives an error", any=list(NOTHING))


def missing_key(scene: Scene) -> None:
    path, key = scene.pick(files_of(scene, "config")), scene.names.word()
    if key in scene.tree.files[path]:
        raise Unfit
    turn = scene.turn("missing_key", "read_value", (f"read {path}", f"find {key}", "answer"),
                      path=path, key=key)
    turn.call(f"i read {path} to find {key}.", read(path))
    turn.answer(f"there is no {key}.", f"there is no {key} in {path}.",
                Last("missing", path=path, key=key),
                "no line has it", any=list(NOTHING))


def missing_word(scene: Scene) -> None:
    word = scene.names.word()
    if any(word in text for text in scene.tree.files.values()):
        raise Unfit
    turn = scene.turn("missing_word", "grep_file", (f"search for {word}", "name the file"), word=word)
    turn.call(f"i search for {word}.", grep(word))
    turn.answer("there are no matches.", f"there is no file with {word}.", Last("missing"),
                "the tool finds nothing", any=list(NOTHING))


def missing_folder(scene: Scene) -> None:
    folder = scene.new_folder()
    intent = scene.rng.choice(("list_count", "list_names"))
    plan = (f"list {folder}", "count the files", "answer")
    plan = plan if intent == "list_count" else (f"list {folder}", "name the files")
    turn = scene.turn("missing_folder", intent, plan, folder=folder)
    turn.call(f"i list {folder}.", ("list", {"path": folder}))
    turn.answer(f"there is no {folder}.", f"there is no folder {folder}.", Last("missing"),
                "the tool gives an error", any=list(NOTHING))


CHAINS: dict[str, Family] = {
    function.__name__: function for function in (
        scale_value, find_first, append_line, set_value, copy_value, read_only, sort_save, move_into,
        read_or, sum_files, sum_at_once, sum_write, sum_keys, sum_keys_write, find_write, scale_write,
        list_scale_write)}
FOLLOW_UPS: dict[str, Family] = {
    function.__name__: function for function in (
        scale_that, write_that, undo_file, also_file, also_key)}
MISSING: dict[str, Family] = {
    function.__name__: function for function in (
        missing_file, missing_key, missing_word, missing_folder)}
