"""The text corpus: freely licensed documentation from Debian packages, cleaned and split.

    python -m pocket.corpus --out DATA

fetches the packages of SOURCES by name with apt-get, extracts their text and writes
DATA/text/{train,heldout}.jsonl (one document per line: {"source", "text"}) and DATA/text/manifest.json
with sizes, versions and licences. A document is held out by the hash of its name, so a new package
version keeps the split.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

HELDOUT_SHARE = 0.04
DOCUMENT_CHARS_MIN = 200


@dataclass(frozen=True)
class Source:
    package: str
    licence: str
    pattern: str  # files below the unpacked package
    kind: str  # "plain", "html" or "wordnet"


SOURCES = (
    Source("python3.11-doc", "PSF-2.0, examples 0BSD", "usr/share/doc/python3.11/html/_sources/**/*.rst.txt", "plain"),
    Source("sqlite3-doc", "public domain", "usr/share/doc/sqlite3/**/*.html", "html"),
    Source("postgresql-doc-15", "PostgreSQL", "usr/share/doc/postgresql-doc-15/html/*.html", "html"),
    Source("wordnet-base", "WordNet 3.0", "usr/share/wordnet/data.*", "wordnet"),
)


class _Text(HTMLParser):
    """Visible text of a page, one line per block element."""

    SKIPPED = {"script", "style", "head", "nav", "svg"}
    BLOCKS = {"p", "div", "br", "li", "tr", "pre", "h1", "h2", "h3", "h4", "dt", "dd", "table", "ul", "blockquote"}

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.skipping = 0

    def handle_starttag(self, tag, attrs):
        self.skipping += tag in self.SKIPPED
        if tag in self.BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag):
        self.skipping -= tag in self.SKIPPED and self.skipping > 0
        if tag in self.BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data):
        if not self.skipping:
            self.parts.append(data)


def html_text(html: str) -> str:
    parser = _Text()
    parser.feed(html)
    return "".join(parser.parts)


def tidy(text: str) -> str:
    """Unix newlines, no trailing blanks, at most one empty line, no long rules or tables of art."""
    text = text.replace("\r\n", "\n").replace("\t", "    ").replace("\u00a0", " ")
    text = re.sub(r"([-=~^*#+_.])\1{7,}", lambda m: m.group(1) * 4, text)
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def wordnet_entries(text: str) -> Iterator[str]:
    """`word, word: gloss` of each synset."""
    for line in text.split("\n"):
        fields, bar, gloss = line.partition(" | ")
        if not bar or line.startswith("  "):
            continue
        columns = fields.split()
        words = [columns[4 + 2 * i].replace("_", " ") for i in range(int(columns[3], 16))]
        yield f"{', '.join(re.sub(r'[(].*[)]$', '', w) for w in words)}: {gloss.strip()}"


def wordnet_documents(name: str, text: str) -> Iterator[tuple[str, str]]:
    entries = list(wordnet_entries(text))
    for start in range(0, len(entries), 40):
        yield f"{name}/{start}", "\n".join(entries[start : start + 40])


def documents(source: Source, root: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(root.glob(source.pattern)):
        name = str(path.relative_to(root))
        raw = path.read_text(encoding="utf-8", errors="replace")
        if source.kind == "wordnet":
            yield from wordnet_documents(name, raw)
        else:
            yield name, html_text(raw) if source.kind == "html" else raw


def is_heldout(name: str) -> bool:
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:4], "big") < HELDOUT_SHARE * 2**32


def unpack(package: str, folder: Path) -> str:
    """Downloads and unpacks a Debian package; returns its version."""
    subprocess.run(["apt-get", "download", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (deb,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", deb, folder / "root"], check=True)
    shown = subprocess.run(["dpkg-deb", "-f", deb, "Version"], check=True, capture_output=True, text=True)
    return shown.stdout.strip()


def build(out: Path) -> dict:
    out.mkdir(parents=True, exist_ok=True)
    manifest = {}
    with open(out / "train.jsonl", "w") as train, open(out / "heldout.jsonl", "w") as heldout:
        for source in SOURCES:
            with tempfile.TemporaryDirectory() as scratch:
                version = unpack(source.package, Path(scratch))
                sizes = {"train": 0, "heldout": 0}
                for name, text in documents(source, Path(scratch) / "root"):
                    text = tidy(text)
                    if len(text) < DOCUMENT_CHARS_MIN:
                        continue
                    split = "heldout" if is_heldout(name) else "train"
                    sizes[split] += len(text.encode())
                    line = json.dumps({"source": source.package, "text": text}, ensure_ascii=False)
                    (heldout if split == "heldout" else train).write(line + "\n")
            manifest[source.package] = {"version": version, "licence": source.licence, "bytes": sizes}
            print(f"{source.package} {version}: {sizes['train']:,} B to train, {sizes['heldout']:,} B held out")
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="data folder")
    build(parser.parse_args().out / "text")


if __name__ == "__main__":
    main()
