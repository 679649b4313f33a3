"""The files of a session: what is made at its start, and what kinds of files there are now.

Kinds: "config" (`key: value` lines), "list" (one word a line), "note" (lines of several words),
"number" (one number), "text" (one line of words). A kind is read off the text, so that files which
the assistant wrote are used again.
"""

from __future__ import annotations

import re

from .scene import Scene
from .world import lines_of, run_tool

CONFIG_LINE = re.compile(r"[a-z]+: [a-z0-9 ]+")


def make_tree(scene: Scene) -> None:
    """Two folders, one of them with a single file, and six to nine other files."""
    rng = scene.rng
    single, shared = scene.new_folder(), scene.new_folder()
    makers = {"config": make_config, "list": make_list, "note": make_note, "number": make_number,
              "text": make_text}
    scene.tree.put(scene.new_path(single), makers[rng.choice(("number", "number", "text"))](scene))
    kinds = ["config", "config", "number", "number", "list", "note"]
    kinds += rng.sample(("config", "list", "note", "number", "text"), rng.randint(0, 3))
    for kind in kinds:
        folder = shared if rng.random() < 0.45 else "."
        scene.tree.put(scene.new_path(folder), makers[kind](scene))
    if shared not in scene.tree.folders:
        scene.tree.put(scene.new_path(shared), make_text(scene))


def make_config(scene: Scene) -> str:
    """Two to four keys, the first of them a number; now and then a key that another file has too."""
    keys = scene.names.different_words(scene.rng.randint(2, 4))
    others = [key for path in files_of(scene, "config") for key in pairs(scene, path)
              if key not in keys]
    if others and scene.rng.random() < 0.5:
        keys[-1] = scene.rng.choice(others)
    values = [scene.names.any_number()] + [scene.names.value() for _ in keys[1:]]
    lines = [f"{key}: {value}" for key, value in zip(keys, values)]
    scene.rng.shuffle(lines)
    return "\n".join(lines) + "\n"


def make_list(scene: Scene) -> str:
    return "".join(scene.names.word() + "\n" for _ in range(scene.rng.randint(2, 6)))


def make_note(scene: Scene) -> str:
    lines = [" ".join(scene.names.word() for _ in range(scene.rng.randint(2, 4)))
             for _ in range(scene.rng.randint(1, 3))]
    return "\n".join(lines) + "\n"


def make_number(scene: Scene) -> str:
    return scene.names.any_number(4) + "\n"


def make_text(scene: Scene) -> str:
    return f"{scene.names.word()} {scene.names.text(2)}\n"


def kind_of(text: str) -> str:
    lines = lines_of(text)
    if all(CONFIG_LINE.fullmatch(line) for line in lines):
        return "config"
    if len(lines) == 1:
        return "number" if lines[0].isdigit() else "text"
    return "list" if all(" " not in line for line in lines) else "note"


def files_of(scene: Scene, *kinds: str) -> list[str]:
    """Paths of these kinds (all if none is given), in byte order."""
    files = scene.tree.files
    return [path for path in sorted(files) if files[path] and (not kinds
                                                              or kind_of(files[path]) in kinds)]


def pairs(scene: Scene, path: str) -> dict[str, str]:
    """Keys and values of a config."""
    return dict(line.split(": ", 1) for line in lines_of(scene.tree.files[path]))


def number_pairs(scene: Scene) -> list[tuple[str, str, str]]:
    """(path, key, value) of every value that is a number."""
    return [(path, key, value) for path in files_of(scene, "config")
            for key, value in pairs(scene, path).items() if value.isdigit()]


def found_once(scene: Scene, pattern: str, path: str = ".") -> bool:
    """Whether a search for the pattern finds exactly one line."""
    found = run_tool(scene.tree, "grep", {"pattern": pattern, "path": path})
    return found != "no matches" and "\n" not in found


def words_found_once(scene: Scene) -> list[tuple[str, str, int]]:
    """(word, path, line from 1) of words in lists, notes and texts that no other line contains."""
    places = [(word, path, number) for path in files_of(scene, "list", "note", "text")
              for number, line in enumerate(lines_of(scene.tree.files[path]), start=1)
              for word in line.split()]
    return [place for place in places if found_once(scene, place[0])]


def flat_folders(scene: Scene) -> list[str]:
    """Folders that hold files only, at least one."""
    tree = scene.tree
    return [folder for folder in sorted(tree.folders)
            if (entries := tree.entries(folder)) and not any(e.endswith("/") for e in entries)]
