#!/usr/bin/env python3
"""Compares `baleen tokenize` and `detokenize` with the reference, the `tokenizers` package.

    pip install tokenizers==0.23.2
    tools/check_tokenizer.py --tokenizer ../shared/data/deepseek-v4-tokenizer.json /usr/include ...

Texts: every Unicode scalar value between letters, digits and blanks; random strings over all classes
of the pre-tokenizer; added tokens whole, cut and glued; long runs; and the files named, in chunks.
Each text is encoded with and without added tokens. Decoding is compared on random ids. Prints counts;
exit status 1 if anything differs.

    tools/check_tokenizer.py --tokenizer FILE --golden tests/golden/tokenizer-stress.json

writes the golden file of the unit test instead: the strings of golden_texts() with reference ids.
"""

import argparse
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator

import tokenizers
from tokenizers import Tokenizer

SEED = 20260420
# Characters that the three patterns treat differently, or that sit at the edge of a class.
EDGES = ("aZéßжאहกㄱ한ｶ" "0٣Ⅷ²①〇𝟙" ".,-_<>'\"$^`|~!/\\" "«»“”—…、。・゠，￥" "+=©→∞♥👍🏽🇩🇪"
         "\u0301\u0903\u20dd\u3099\u309a\ufe0f" "一龥龦々〆ぁ゛ゖ\u3040\u3097ヿㇰ㐀" "\u200b\u200d\u00ad\ufeff"
         "\x00\x01\x1b\x7f\x85\u0378\ue000\U000e0001\U0010ffff" "｜▁Ġ Ċ")
BLANKS = [" ", "  ", "\t", "\n", "\r", "\r\n", "\n\n", "\u00a0", "\u2028", "\u3000", "\x0b", "\x1c"]
WORDS = ["the", " The", "don't", "I'll", "naïve", " größer", "123", "1234567", "٣٤٥٦", "こんにちは",
         "テスト・コード", "你好", "한국어", "😀", "def f(", "://", "...", "</", "🇺🇸", "e\u0301"]


class Baleen:
    def __init__(self, binary: str, tokenizer: str):
        self.binary, self.tokenizer = binary, tokenizer

    def lines(self, command: str, values: list, *flags: str) -> list:
        text = "".join(json.dumps(value) + "\n" for value in values)
        done = subprocess.run(
            [self.binary, command, "--tokenizer", self.tokenizer, "--lines", *flags],
            input=text.encode(), stdout=subprocess.PIPE, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]


def every_scalar() -> Iterator[str]:
    for code in range(0x110000):
        if not 0xD800 <= code <= 0xDFFF:
            c = chr(code)
            yield f"a{c}b {c}{c} 1{c}2  {c}\n{c}カ{c}.{c}"


def random_texts(rng: random.Random, added: list[str], count: int) -> Iterator[str]:
    pools = [list(EDGES), BLANKS, WORDS, list("abcXYZ"), list("0123456789"), list("!\"#$%&()*+,-./")]
    for _ in range(count):
        pieces = []
        for _ in range(rng.randint(1, 40)):
            kind = rng.random()
            if kind < 0.03:
                token = rng.choice(added)
                pieces.append(token[:rng.randint(1, len(token))] if rng.random() < 0.5 else token)
            elif kind < 0.1:
                pieces.append(rng.choice(EDGES) * rng.randint(1, 12))
            elif kind < 0.2:
                pieces.append(chr(rng.choice([rng.randint(0, 0x2FFF), rng.randint(0x3000, 0xD7FF),
                                              rng.randint(0xE000, 0x1FFFF)])))
            else:
                pieces.append(rng.choice(rng.choice(pools)))
        yield "".join(pieces)


def long_runs() -> Iterator[str]:
    for unit in ["a", " ", "\n", "é", "一", "か", "0", "!", "😀", "\u0301", "\x00", " \n", "ab", "<",
                 "｜", "=", "-", "\t", "\u3000", "The "]:
        for count in [127, 128, 129, 1000, 20000]:
            yield unit * count
            yield unit * count + "x"


def file_texts(rng: random.Random, paths: list[str], bytes_max: int) -> Iterator[str]:
    names = []
    for path in paths:
        if os.path.isfile(path):
            names.append(path)
        for folder, _, files in os.walk(path):
            names += [os.path.join(folder, name) for name in files]
    rng.shuffle(names)
    total = 0
    for name in names:
        if total >= bytes_max:
            return
        try:
            with open(name, encoding="utf-8", newline="") as file:
                text = file.read(1 << 20)
        except (OSError, UnicodeDecodeError):
            continue
        total += len(text.encode())
        at = 0
        while at < len(text):
            size = rng.choice([50, 500, 5000, 50000])
            yield text[at:at + size]
            at += size


def without_added_tokens(path: str) -> Tokenizer:
    with open(path, encoding="utf-8") as file:
        tree = json.load(file)
    tree["added_tokens"] = []
    return Tokenizer.from_str(json.dumps(tree))


class Comparison:
    def __init__(self, args: argparse.Namespace):
        self.baleen = Baleen(args.binary, args.tokenizer)
        self.reference = Tokenizer.from_file(args.tokenizer)
        self.plain = without_added_tokens(args.tokenizer)
        self.num_different = 0

    def differs(self, what: str, value: object, ours: object, theirs: object) -> None:
        self.num_different += 1
        if self.num_different <= 20:
            print(f"{what} differs: {value!a:.300}\n  baleen    {ours!a:.300}\n"
                  f"  reference {theirs!a:.300}")

    def encode(self, name: str, texts: Iterator[str]) -> None:
        num_texts = num_bytes = num_ids = 0
        batch: list[str] = []

        def flush() -> None:
            nonlocal num_texts, num_bytes, num_ids
            for flags, reference in [((), self.reference), (("--plain",), self.plain)]:
                ours = self.baleen.lines("tokenize", batch, *flags)
                theirs = reference.encode_batch(batch, add_special_tokens=False)
                assert len(ours) == len(batch)
                for text, a, b in zip(batch, ours, theirs):
                    if a != b.ids:
                        self.differs(f"{name} {flags}", text, a, b.ids)
                    num_ids += len(b.ids)
            num_texts += len(batch)
            num_bytes += sum(len(text.encode()) for text in batch)
            batch.clear()

        size = 0
        for text in texts:
            batch.append(text)
            size += len(text)
            if size > 4_000_000:
                flush()
                size = 0
        flush()
        print(f"{name}: {num_texts} texts, {num_bytes} bytes, each encoded twice, {num_ids} ids,"
              f" {self.num_different} differences so far", flush=True)

    def decode(self, rng: random.Random, count: int) -> None:
        size = self.reference.get_vocab_size()
        lists = [[rng.randrange(260 if rng.random() < 0.7 else size)
                  for _ in range(rng.randint(0, 30))] for _ in range(count)]
        for ids, ours in zip(lists, self.baleen.lines("detokenize", lists)):
            theirs = self.reference.decode(ids, skip_special_tokens=False)
            if ours != theirs:
                self.differs("decode", ids, ours, theirs)
        print(f"decode: {count} lists, {self.num_different} differences so far", flush=True)


def golden_texts(rng: random.Random, added: list[str]) -> list[str]:
    texts = ["", " ", "\n", "  \n  x", "a \n b", "  \r\n\t x", "x  ", "x \u00a0y", " \u3000 字",
             "１２３４٣", "1a2", "12345 678", "𝟙𝟚𝟛𝟜", "²³¹⁰", "a\u0301\u0301b", "\u0301a", " \u0301",
             "\u200da", "\u200d\u200d!", "👩\u200d👩\u200d👧\u200d👦", "🇩🇪🇫🇷", "・・テスト・", "か\u3099き゛く\u309a",
             "゠ヿ\u3040\u3097", "一龥龦", "漢字かなカナ漢字", "한글ｶﾅ漢", "“quotes”—dash…", "'s 't 'LL $x_y", "_a__b",
             "<a", "< a", "<<a", "!!a", "\n!\n\na", " !\r\n\r\n ?", "\x00\x01a\x02", "\x85x\x85", "\x1c\x1d",
             "\u0378\u0379", "\ue000", "\U0010ffff", "\ufeffBOM", "\U0001fae9\U0001cd00",
             "\u1c89\ua7cb\U00010d40", "\U00016d6d\u2427", "\U000323af", "Ġthe Ċ", "▁a", "x" * 300,
             " " * 300, " " * 300 + "x", "😀" * 40, "<｜", "<｜User｜", "<<｜User｜>>", "<think></think>",
             "<think><think", "｜DSML｜DSML｜", "<｜/table>｜DSML｜", "</｜DSML｜tool_calls>", "<dsml:</dsml:",
             "<｜User｜> <｜Assistant｜>\n", "<|EOT|>", "a<｜begin▁of▁sentence｜>b"]
    return texts + list(random_texts(rng, added, 60))


def write_golden(args: argparse.Namespace, added: list[str]) -> None:
    reference, plain = Tokenizer.from_file(args.tokenizer), without_added_tokens(args.tokenizer)
    cases = [{"text": text, "ids": reference.encode(text, add_special_tokens=False).ids,
              "plain": plain.encode(text, add_special_tokens=False).ids}
             for text in golden_texts(random.Random(SEED), added)]
    about = (f"Reference ids (tokenizers {tokenizers.__version__}) of texts that tokenizers get wrong."
             " plain: no added token is recognised. Made by tools/check_tokenizer.py --golden.")
    with open(args.golden, "w", encoding="ascii") as file:
        rows = ",\n".join(json.dumps(case) for case in cases)
        file.write(f'{{"about": {json.dumps(about)},\n"cases": [\n{rows}\n]}}\n')
    print(f"{args.golden}: {len(cases)} cases")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="build/release/baleen")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--golden", help="write this file instead of comparing")
    parser.add_argument("--random", type=int, default=100_000, help="number of random texts")
    parser.add_argument("--file-bytes", type=int, default=40_000_000, help="most bytes of files")
    parser.add_argument("paths", nargs="*", help="files and folders with text")
    args = parser.parse_args()
    with open(args.tokenizer, encoding="utf-8") as file:
        added = [token["content"] for token in json.load(file)["added_tokens"]]
    if args.golden:
        write_golden(args, added)
        return 0
    comparison = Comparison(args)
    rng = random.Random(SEED)
    comparison.encode("random", random_texts(rng, added, args.random))
    comparison.encode("long runs", long_runs())
    comparison.encode("every scalar value", every_scalar())
    comparison.encode("files", file_texts(rng, args.paths, args.file_bytes))
    comparison.decode(rng, args.random)
    return 1 if comparison.num_different else 0


if __name__ == "__main__":
    sys.exit(main())
