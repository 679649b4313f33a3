"""Training rows: token sequences with a loss weight per predicted token and the facts they recall.

Everything is drawn from the generator that the caller seeds, so a step's batch depends on the seed,
the step and the rank only. A row of T tokens has weights[t] for the prediction of tokens[t + 1].
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from . import chat, tokenizer, toolworld

BOS, EOS = 0, 1
VALUE_WEIGHT = 1.0
CONTEXT_WEIGHT = 0.1  # of tokens that a recall row has around its answers


@dataclass
class Row:
    kind: str
    tokens: np.ndarray  # [T] int64
    weights: np.ndarray  # [T] float32, of the prediction made at t
    # (query position, position of the token to be recalled)
    facts: list[tuple[int, int]] = field(default_factory=list)


class Encoder:
    """Texts to ids: control tokens by name, everything else as plain text."""

    def __init__(self) -> None:
        self.controls: dict[str, int] = {}
        spec = json.loads((tokenizer.MODEL_FOLDER / "tokenizer.json").read_text())
        for token in spec["added_tokens"]:
            self.controls[token["content"]] = token["id"]
        from tokenizers import Tokenizer

        self.plain = Tokenizer.from_str(json.dumps({**spec, "added_tokens": []}))
        self.cache: dict[str, list[int]] = {}

    def text(self, text: str) -> list[int]:
        if len(text) > 4000:
            return self.plain.encode(text, add_special_tokens=False).ids
        ids = self.cache.get(text)
        if ids is None:
            ids = self.plain.encode(text, add_special_tokens=False).ids
            if len(self.cache) < 200_000:
                self.cache[text] = ids
        return ids

    def pieces(self, pieces: list[chat.Piece]) -> tuple[list[int], list[bool]]:
        ids: list[int] = []
        learn: list[bool] = []
        for piece in pieces:
            part = [self.controls[piece.text]] if piece.control else self.text(piece.text)
            ids += part
            learn += [piece.learn] * len(part)
        return ids, learn


class Source:
    """All rows of one split. `data` is the folder that pocket.corpus wrote."""

    def __init__(self, data: Path, split: str = "train"):
        self.split = split
        self.encoder = Encoder()
        self.words = tokenizer.common_words()
        self.text_tokens = text_tokens(data, split, self.encoder)

    @cached_property
    def word_ids(self) -> np.ndarray:
        """Ids of the one-token words, each with its leading space."""
        return np.array([self.encoder.text(" " + word)[0] for word in self.words])

    @cached_property
    def ends_line(self) -> np.ndarray:
        """[vocab] bool: tokens that end in a newline."""
        vocab = self.encoder.plain.get_vocab()
        ends = np.zeros(max(vocab.values()) + 1 + len(self.encoder.controls), bool)
        ends[[i for symbol, i in vocab.items() if symbol.endswith("\u010a")]] = True
        return ends

    # ------------------------------------------------------------ rows

    def text(self, rng: random.Random, T: int) -> Row:
        start = rng.randrange(len(self.text_tokens) - T)
        tokens = self.text_tokens[start : start + T].astype(np.int64)
        return Row("text", tokens, np.ones(T, np.float32))

    def repeat(self, rng: random.Random, T: int) -> Row:
        """Random words that come again, within the window or beyond: what induction is learnt from."""
        tokens = np.array(rng.choices(self.word_ids, k=T))
        weights = np.zeros(T, np.float32)
        facts = []
        length = rng.randrange(16, 48)
        at = 2 * length
        while at + length < T:
            source = rng.randrange(0, at - length)
            tokens[at : at + length] = tokens[source : source + length]
            weights[at + 1 : at + length - 1] = VALUE_WEIGHT
            facts += [(at + i, source + i + 1) for i in range(1, length - 1)]
            at += length + rng.randrange(2, 16)
        return Row("repeat", tokens, weights, facts)

    def recall(self, rng: random.Random, T: int, *, facts: int, questions: int) -> Row:
        """Facts spread over text, then questions in chat form."""
        ids = self.encoder.text
        keys = self._distinct_keys(rng, facts)
        stated = [self._fact(rng, key) for key in keys]
        asked = [rng.choice(stated) for _ in range(questions)]
        turns = [self._question(fact) for fact in asked]
        room = T - sum(len(turn[0]) for turn in turns) - 1
        lines = sum(len(fact.ids) for fact in stated)
        while lines > room:  # rows too short for so many
            dropped = stated.pop(rng.randrange(len(stated)))
            lines -= len(dropped.ids)
            asked = [f if f is not dropped else rng.choice(stated) for f in asked]
            turns = [self._question(fact) for fact in asked]
        context, where = self._spread(rng, stated, room)
        tokens = [BOS] + context
        weights = [CONTEXT_WEIGHT] * len(tokens)
        pairs = []
        for fact, (turn, answer_at) in zip(asked, turns):
            start = len(tokens)
            tokens += turn
            weights += [CONTEXT_WEIGHT] * len(turn)
            for i in range(len(fact.value)):
                query = start + answer_at + i
                weights[query] = VALUE_WEIGHT
                pairs.append((query, where[fact.key] + 1 + fact.value_at + i))
        ids_end = tokens[:T]
        tail = T - len(ids_end)
        ids_end += [EOS] * tail
        weights = weights[:T] + [0.0] * tail
        return Row("recall", np.array(ids_end), np.array(weights, np.float32), pairs)

    def tools(self, rng: random.Random, T: int) -> Row:
        """Conversations of the tool world, one after another until the row is full."""
        tokens: list[int] = []
        learn: list[bool] = []
        while len(tokens) <= T:
            session = toolworld.session(rng, self.split, words=self.words, max_turns=4 + T // 256)
            pieces = chat.render(session.messages, session.thinking_mode, session.reasoning_effort)
            ids, flags = self.encoder.pieces(pieces)
            tokens += ids
            learn += flags
        weights = np.array(learn[1 : T + 1], np.float32)
        return Row("tools", np.array(tokens[:T]), weights)

    # ------------------------------------------------------------ facts

    def _distinct_keys(self, rng: random.Random, count: int) -> list[tuple[str, str]]:
        keys: set[tuple[str, str]] = set()
        # Half of the keys share a word with another one.
        while len(keys) < count:
            first = rng.choice(self.words)
            if keys and rng.random() < 0.5:
                first = rng.choice(tuple(keys))[0] if len(keys) < 64 else first
            keys.add((first, rng.choice(self.words)))
        return sorted(keys, key=lambda _: rng.random())

    def _fact(self, rng: random.Random, key: tuple[str, str]) -> Fact:
        if rng.random() < 0.2:
            value = f" {rng.randrange(1000, 10000)}"
        else:
            value = f" {rng.choice(self.words)} {rng.choice(self.words)}"
        before = self.encoder.text(f"The code of {key[0]} {key[1]} is")
        value_ids = self.encoder.text(value)
        end = self.encoder.text(".\n")
        return Fact(key, before + value_ids + end, len(before), value_ids)

    def _question(self, fact: Fact) -> tuple[list[int], int]:
        """Ids of a turn, and where in it the first token of the value is predicted."""
        controls, text = self.encoder.controls, self.encoder.text
        head = [controls["<｜User｜>"], *text(f"What is the code of {fact.key[0]} {fact.key[1]}?"),
                controls["<｜Assistant｜>"], controls["</think>"]]
        answer = [*text(f"The code of {fact.key[0]} {fact.key[1]} is"), *fact.value, *text("."), EOS]
        return head + answer, len(head) + fact.value_at - 1

    def _spread(self, rng: random.Random, stated: list[Fact], room: int):
        """Facts between random lines of a text; and where each begins."""
        filler = room - sum(len(fact.ids) for fact in stated)
        start = rng.randrange(len(self.text_tokens) - filler - 1)
        text = self.text_tokens[start : start + filler]
        ends = np.flatnonzero(self.ends_line[text]) + 1
        cuts = sorted(int(rng.choice(ends)) if len(ends) else 0 for _ in stated)
        text = text.tolist()
        tokens: list[int] = []
        where = {}
        done = 0
        for cut, fact in zip(cuts, stated):
            tokens += text[done:cut]
            done = cut
            where[fact.key] = len(tokens)
            tokens += fact.ids
        return tokens + text[done:], where


@dataclass(frozen=True)
class Fact:
    key: tuple[str, str]
    ids: list[int]  # the whole line
    value_at: int  # index of the value's first token in ids
    value: list[int]


def text_tokens(data: Path, split: str, encoder: Encoder) -> np.ndarray:
    """All documents of a split as one stream, BOS before and EOS after each; cached on disk."""
    cache = data / "text" / f"{split}.npy"
    if not cache.exists():
        lines = (data / "text" / f"{split}.jsonl").read_text().splitlines()
        random.Random(0).shuffle(lines)
        texts = [json.loads(line)["text"] for line in lines]
        parts = []
        for encoded in encoder.plain.encode_batch(texts, add_special_tokens=False):
            parts.append(np.array([BOS, *encoded.ids, EOS], np.uint16))
        np.save(cache, np.concatenate(parts))
    return np.load(cache, mmap_mode="r")
