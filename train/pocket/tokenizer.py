"""The pocket's tokenizer: byte-level BPE with DeepSeek's cuts and control tokens, 2,048 ids.

    python -m pocket.tokenizer --data DATA --baleen build/release/baleen

trains the merges on the corpus and on the fixed texts of prompts, and writes
models/pocket/tokenizer.json. The file's sections and control tokens are those that `baleen synth`
writes, so that they stand in one place. Digits are never merged: numbers are copied digit by digit.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import tempfile
from pathlib import Path

from .config import MODEL_FOLDER, Config

CORPUS_BYTES = 8_000_000
FIXED_TEXT_REPEATS = 400  # weight of the texts that open every tool conversation
HERE = Path(__file__).resolve().parent


def template(baleen: Path) -> dict:
    """The tokenizer.json of a synthesised checkpoint: bytes and control tokens, no merges."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "tiny"
        subprocess.run([baleen, "synth", "--preset", "tiny", "--out", out], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return json.loads((out / "tokenizer.json").read_text())


def control_tokens(base: dict) -> list[dict]:
    """Added tokens after the byte symbols, numbered placeholders left out."""
    return [t for t in base["added_tokens"] if t["id"] > 2 and "holder" not in t["content"]]


def sample_texts(data: Path, rng: random.Random) -> list[str]:
    lines = (data / "text" / "train.jsonl").read_text().splitlines()
    rng.shuffle(lines)
    texts, size = [], 0
    for line in lines:
        text = json.loads(line)["text"][:20_000]
        texts.append(text)
        size += len(text)
        if size > CORPUS_BYTES:
            break
    return texts


def fixed_texts() -> list[str]:
    """Prompt texts of the chat format, schemas of the tool world and the tags of calls."""
    strings = json.loads((HERE / "prompt_strings.json").read_text())
    schemas = [json.dumps(tool) for tool in json.loads((HERE / "tools.json").read_text())]
    tags = ['tool_calls>\n', 'invoke name="read">\n', 'parameter name="path" string="true">',
            'parameter name="limit" string="false">', "parameter>\n", "invoke>\n", "tool_calls>",
            "<tool_result>", "</tool_result>", "\n\n<"]
    return [strings["tools_before_schemas"], strings["tools_after_schemas"], strings["effort_prefix"]["max"],
            *schemas, *tags, *tags]


def train_merges(texts: list[str], base: dict, count: int) -> list[str]:
    from tokenizers import Tokenizer, models, trainers

    tokenizer = Tokenizer.from_str(json.dumps({**base, "added_tokens": []}))
    tokenizer.model = models.BPE()
    trainer = trainers.BpeTrainer(vocab_size=256 + count, show_progress=False, max_token_length=24,
                                  initial_alphabet=list(base["model"]["vocab"])[3:])
    tokenizer.train_from_iterator((re.sub(r"\d", " ", t) for t in texts), trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [m if isinstance(m, str) else " ".join(m) for m in merges][:count]


def build(data: Path, baleen: Path, vocab_size: int) -> dict:
    base = template(baleen)
    controls = control_tokens(base)
    vocab = {symbol: i for symbol, i in base["model"]["vocab"].items() if i < 259}
    merge_count = vocab_size - len(vocab) - len(controls)
    texts = sample_texts(data, random.Random(1)) + fixed_texts() * FIXED_TEXT_REPEATS
    merges = train_merges(texts, base, merge_count)
    for merge in merges:
        vocab[merge.replace(" ", "")] = len(vocab)
    assert len(vocab) == vocab_size - len(controls), "two merges gave the same token"
    reserved = [t for t in base["added_tokens"] if t["id"] <= 2]
    added = [{**t, "id": len(vocab) + i} for i, t in enumerate(controls)]
    base["added_tokens"] = reserved + added
    base["model"] |= {"vocab": vocab, "merges": merges}
    return base


def load(folder: Path = MODEL_FOLDER):
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def common_words(folder: Path = MODEL_FOLDER) -> list[str]:
    """Words that are one token after a space: lower case, three letters or more."""
    vocab = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    return sorted(symbol[1:] for symbol in vocab if re.fullmatch(r"\u0120[a-z]{3,}", symbol))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that pocket.corpus wrote")
    parser.add_argument("--baleen", type=Path, default=Path("build/release/baleen"))
    args = parser.parse_args()
    built = build(args.data, args.baleen, Config.load().vocab_size)
    path = MODEL_FOLDER / "tokenizer.json"
    path.write_text(json.dumps(built, ensure_ascii=False, indent=0) + "\n")
    print(f"{path}: {len(built['model']['merges'])} merges, {len(common_words())} words of one token")


if __name__ == "__main__":
    main()
