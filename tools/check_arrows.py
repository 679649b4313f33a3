#!/usr/bin/env python3
"""Checks that the folders of src/ include and link only what the house map allows.

    tools/check_arrows.py [ROOT]    ROOT defaults to the repository of this script

Prints one line per violation (file:line: what, allowed) and exits 1 if there is any.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

# The arrows: a folder of src/ and the folders it may include besides itself and `base`.
ARROWS: dict[str, set[str]] = {
    "base": set(),
    "tensor": set(),
    "quant": {"tensor"},
    "kernels": {"quant", "tensor"},
    "kv": {"quant", "tensor"},
    "model": {"kv", "kernels", "quant", "tensor"},
    "engine": {"model", "kv", "tensor"},
    "text": set(),
    "net": set(),
    "serve": {"engine", "text", "net"},
    "sandbox": {"net"},
    "agent": {"engine", "text", "serve", "sandbox"},
    "cli": {"tensor", "quant", "kernels", "kv", "model", "engine", "text", "net", "serve",
            "sandbox", "agent"},
}

# The folders of src/sandbox: each may include itself and those before it.
SANDBOX_ORDER: list[str] = ["wire", "log", "image", "guest", "jail", "daemon"]

# Single headers where a folder as a whole would be too much.
ONLY_HEADER: dict[tuple[str, str], str] = {("agent", "sandbox"): "sandbox/client.h"}


@dataclass(frozen=True)
class Home:
    """Where a library may be included: `header` and `path` match the include and the file."""

    library: str
    header: re.Pattern[str]
    path: re.Pattern[str]
    where: str


def home(library: str, header: str, path: str, where: str) -> Home:
    return Home(library, re.compile(header), re.compile(path), where)


HOMES: list[Home] = [
    home("nlohmann-json", r"nlohmann/", r"base/json[^/]*$", "src/base/json.*"),
    home("CLI11", r"CLI/", r"cli/", "src/cli"),
    home("PCRE2", r"pcre2", r"text/", "src/text"),
    home("Highway", r"hwy/", r"kernels/", "src/kernels"),
    home("Boost", r"boost/", r"net/", "src/net"),
    home("spdlog", r"spdlog/", r"base/log\.", "src/base/log.*"),
    home("OpenSSL", r"openssl/", r"base/sha256\.", "src/base/sha256.*"),
    home("SQLite", r"sqlite3", r"sandbox/log/index[^/]*\.cc$", "src/sandbox/log/index*.cc"),
    home("zlib and zstd", r"(zlib|zstd)\.h$", r"sandbox/image/(decompress.*|tar_test)\.cc$",
         "src/sandbox/image/decompress* and tar_test.cc"),
    home("SIMD intrinsics", r"(\w*intrin|arm_neon|arm_sve)\.h$", r"kernels/[^/]*_avx512\.(cc|h)$",
         "src/kernels/*_avx512.cc and headers of that name"),
    home("CUDA", r"(cuda|cublas|nv)\w*(\.h|/)", r"kernels/cuda/", "src/kernels/cuda"),
    home("GoogleTest", r"g(test|mock)/", r"(_test\.cc|_fixture\.h)$", "*_test.cc and *_fixture.h"),
    home("Google Benchmark", r"benchmark/", r"$^", "bench/"),
]

# Kernels are pure functions on views: they know no configuration, files or model.
KERNELS_NEVER = re.compile(
    r"(config|checkpoint|safetensors|session|layer|expert|tokenizer|base/file|base/json|fstream|"
    r"filesystem|fcntl|sys/mman)", re.IGNORECASE)
# The exception: it measures the machine, so it maps memory of its own and asks how much there is.
KERNELS_EXEMPT = {"kernels/machine_probe.cc"}

# Test code of a folder: may read files, does not count as a use that the library must link.
TEST_CODE = re.compile(r"(_test\.cc|_fixture\.h)$")
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')
SOURCE_SUFFIXES = {".cc", ".h", ".cu", ".cuh"}


def folder_of(header: str) -> str | None:
    """The folder of src/ that a quoted include names, if it names one of the house map."""
    first = header.split("/", 1)[0]
    return first if "/" in header and first in ARROWS else None


def sandbox_part(path: str) -> str | None:
    """The folder of src/sandbox that a file or a quoted include lies in, if in one."""
    parts = path.split("/")
    return parts[1] if len(parts) > 2 and parts[0] == "sandbox" else None


def check_sandbox_include(part: str, header: str) -> list[str]:
    """Violations of the order of the folders of src/sandbox; part is the including one."""
    if part not in SANDBOX_ORDER:
        return [f"folder sandbox/{part} is not in the house map"]
    target = sandbox_part(header)
    allowed = SANDBOX_ORDER[:SANDBOX_ORDER.index(part) + 1]
    if target is None or target in allowed:
        return []
    return [f"sandbox/{part} may not include {header} (allowed: {', '.join(allowed)})"]


def check_include(path: str, header: str) -> list[str]:
    """Violations of one include; path is relative to src/."""
    found: list[str] = []
    folder = path.split("/", 1)[0]
    target = folder_of(header)
    allowed = ARROWS[folder] | {folder, "base"}
    if target is not None and target not in allowed:
        found.append(f"{folder} may not include {header} (allowed: {', '.join(sorted(allowed))})")
    part = sandbox_part(path)
    if part is not None:
        found += check_sandbox_include(part, header)
    only = ONLY_HEADER.get((folder, target or ""))
    if only is not None and header != only:
        found.append(f"{folder} may include only {only} of {target}, not {header}")
    for entry in HOMES:
        if target is None and entry.header.match(header) and not entry.path.search(path):
            found.append(f"{entry.library} ({header}) may be included only in {entry.where}")
    is_kernel = folder == "kernels" and path not in KERNELS_EXEMPT and not TEST_CODE.search(path)
    if is_kernel and KERNELS_NEVER.search(header):
        found.append(f"kernels know no configuration, files or model words: {header}")
    return found


def check_sources(src: Path) -> tuple[list[str], dict[str, set[str]]]:
    """All include violations, and for each folder the folders its library code includes."""
    found: list[str] = []
    uses: dict[str, set[str]] = {}
    for file in sorted(p for p in src.rglob("*") if p.suffix in SOURCE_SUFFIXES):
        path = file.relative_to(src).as_posix()
        folder = path.split("/", 1)[0]
        if folder not in ARROWS:
            found.append(f"src/{path}:1: folder {folder} is not in the house map")
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            match = INCLUDE.match(line)
            if match is None:
                continue
            found += [f"src/{path}:{number}: {v}" for v in check_include(path, match[1])]
            target = folder_of(match[1])
            if target is not None and target != folder and not TEST_CODE.search(path):
                uses.setdefault(folder, set()).add(target)
    return found, uses


def linked_folders(cmake_text: str) -> set[str]:
    """The folders whose libraries (baleen_NAME, baleen_sandbox_PART) a CMakeLists.txt names."""
    text = re.sub(r"#.*", "", cmake_text)
    names = re.findall(r"\bbaleen_(sandbox(?=_)|\w+)", text)
    return {name for name in names if name in ARROWS}


def reachable(folder: str, links: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [folder]
    while waiting:
        for target in links.get(waiting.pop(), set()) - seen:
            seen.add(target)
            waiting.append(target)
    return seen


def check_cmake(src: Path, uses: dict[str, set[str]]) -> list[str]:
    """Linked libraries obey the arrows, and every included folder is linked, directly or through
    another library."""
    found: list[str] = []
    links: dict[str, set[str]] = {}
    for file in sorted(src.glob("*/**/CMakeLists.txt")):
        path = file.relative_to(src).as_posix()
        folder = path.split("/", 1)[0]
        if folder not in ARROWS:
            found.append(f"src/{path}:1: folder {folder} is not in the house map")
            continue
        linked = linked_folders(file.read_text(encoding="utf-8")) - {folder}
        for target in sorted(linked - ARROWS[folder] - {"base"}):
            found.append(f"src/{path}:1: {folder} may not link baleen_{target}")
        links.setdefault(folder, set()).update(linked)
    for folder, targets in sorted(uses.items()):
        permitted = ARROWS[folder] | {"base"}  # the rest is reported where it is included
        for target in sorted((targets & permitted) - reachable(folder, links)):
            found.append(f"src/{folder}/CMakeLists.txt:1: {folder} includes {target} but does not "
                         f"link baleen_{target}")
    return found


def check(root: Path) -> list[str]:
    src = root / "src"
    if not src.is_dir():
        return [f"{src}: no such folder"]
    found, uses = check_sources(src)
    return found + check_cmake(src, uses)


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    found = check(root)
    for line in found:
        print(line)
    print(f"arrows: {len(found)} violations" if found else "arrows: every include is allowed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
