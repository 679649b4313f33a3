#!/usr/bin/env python3
"""Writes requirements.txt beside each tests/clients/installs/*/requirements.in.

Every package that an installation on Debian 12 needs, with the version that pip picks now and the
hashes of the wheels for x86-64 and aarch64. Needs the network. The npm locks beside them are
written by `npm install --package-lock-only` in their folders.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

INSTALLS = Path(__file__).resolve().parents[1] / "tests/clients/installs"
# The wheel tags that pip accepts on Debian 12 (glibc 2.36), the newest first.
GLIBC = ["2_36", "2_35", "2_34", "2_31", "2_28", "2_27", "2_24", "2_17"]


def wheels(requirements: list[str], machine: str) -> dict[str, tuple[str, str]]:
    """Package -> (version, sha256), as pip resolves `requirements` for Python 3.11 on `machine`."""
    platforms = [f"--platform=manylinux_{version}_{machine}" for version in GLIBC]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed",
             "--target", folder, "--only-binary=:all:", "--python-version=3.11", *platforms,
             f"--platform=manylinux2014_{machine}", "--report=-", *requirements],
            stdout=subprocess.PIPE, check=True)
    chosen = {}
    for item in json.loads(done.stdout)["install"]:
        metadata = item["metadata"]
        chosen[metadata["name"].lower()] = (metadata["version"],
                                            item["download_info"]["archive_info"]["hashes"]["sha256"])
    return chosen


def lock(folder: Path) -> None:
    requirements = (folder / "requirements.in").read_text().split()
    x86 = wheels(requirements, "x86_64")
    pins = [f"{name}=={version}" for name, (version, _) in x86.items()]
    arm = wheels(pins, "aarch64")
    lines = [f"# Written by tools/lock_clients.py from requirements.in."]
    for name, (version, sha256) in sorted(x86.items()):
        hashes = sorted({sha256, arm[name][1]})
        lines.append(" \\\n".join([f"{name}=={version}", *(f"    --hash=sha256:{h}" for h in hashes)]))
    (folder / "requirements.txt").write_text("\n".join(lines) + "\n")


def main() -> None:
    for requirements in sorted(INSTALLS.glob("*/requirements.in")):
        lock(requirements.parent)


if __name__ == "__main__":
    main()
