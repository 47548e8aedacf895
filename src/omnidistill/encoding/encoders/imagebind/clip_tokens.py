"""CLIP's byte-pair encoding of texts (https://github.com/openai/CLIP), the tokens of ImageBind and LanguageBind.

    clean:  ftfy, HTML entities resolved twice, white space to single blanks, lower case
    split:  words, single digits, runs of anything else; their UTF-8 bytes as characters, the last one marked `</w>`
    merge:  of all neighbours the pair that comes first in the merges, until none is left
    ids:    start, at most 75 tokens, end, zeros up to 77

Bytes, then bytes at the end of a word, then merges in their order, start and end make the vocabulary of 49,408. The
merges are a file of CLIP's; none is shipped.
"""

from __future__ import annotations

import gzip
import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.core.optional import require
from omnidistill.encoding.encoders.imagebind.imagebind_towers import CONTEXT, VOCABULARY
from omnidistill.io.artifacts import read_json

_START, _END = "<|startoftext|>", "<|endoftext|>"
_NUM_MERGES = VOCABULARY - 2 * 256 - 2
_FILES = ("merges.txt", "bpe_simple_vocab_16e6.txt.gz", "tokenizer.json")
_PIECES = rf"{re.escape(_START)}|{re.escape(_END)}|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+"


@dataclass(frozen=True, eq=False)
class Tokenised:
    """ids: n x 77. num_truncated: how many of the n texts were longer and were cut."""

    ids: Int64[Tensor, "n 77"]
    num_truncated: int


class ClipTokenizer:
    """Texts to token ids, from the merges of the vocabulary, most frequent first."""

    def __init__(self, merges: Sequence[tuple[str, str]]) -> None:
        letters = list(_byte_letters().values())
        words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges), _START, _END]
        self._ids = {word: index for index, word in enumerate(words)}
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._known: dict[str, list[int]] = {special: [self._ids[special]] for special in (_START, _END)}

    @classmethod
    def from_file(cls, path: Path, num_merges: int = _NUM_MERGES) -> ClipTokenizer:
        """Read `merges.txt`, `bpe_simple_vocab_16e6.txt.gz` or `tokenizer.json`, or the first of them in a folder.

        Raises InputError if there is none, it cannot be read, or it has fewer merges than the vocabulary.
        """
        return cls(_read_merges(path, num_merges))

    def __call__(self, texts: Sequence[str]) -> Tokenised:
        """The ids of every text, the end token always among them. Raises InputError without ftfy or regex."""
        ids = torch.zeros(len(texts), CONTEXT, dtype=torch.int64)
        num_truncated = 0
        for row, text in zip(ids, texts, strict=True):
            tokens = self.tokens(text)
            num_truncated += len(tokens) > CONTEXT - 2
            whole = [self._ids[_START], *tokens[: CONTEXT - 2], self._ids[_END]]
            row[: len(whole)] = torch.tensor(whole)
        return Tokenised(ids, num_truncated)

    def tokens(self, text: str) -> list[int]:
        """The ids of a text, all of it, without start and end."""
        return [index for piece in self._pieces.findall(_clean(text)) for index in self._piece(piece)]

    @cached_property
    def _pieces(self) -> Any:
        regex = require("regex", "encoders")
        return regex.compile(_PIECES, regex.IGNORECASE)

    def _piece(self, piece: str) -> list[int]:
        if piece not in self._known:
            letters = _byte_letters()
            word = [letters[byte] for byte in piece.encode()]
            word[-1] += "</w>"
            self._known[piece] = [self._ids[part] for part in self._merged(word)]
        return self._known[piece]

    def _merged(self, word: list[str]) -> list[str]:
        while len(word) > 1:
            first = min(pairwise(word), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if first not in self._ranks:
                break
            word = list(_joined(word, first))
        return word


def _joined(word: list[str], pair: tuple[str, str]) -> Iterator[str]:
    """`word` with every occurrence of `pair`, from the left, as one."""
    at = 0
    while at < len(word):
        found = tuple(word[at : at + 2]) == pair
        yield "".join(pair) if found else word[at]
        at += 2 if found else 1


def _clean(text: str) -> str:
    fixed = require("ftfy", "encoders").fix_text(text)
    return " ".join(html.unescape(html.unescape(fixed)).split()).lower()


@cache
def _byte_letters() -> dict[int, str]:
    """A printable character for each byte: itself if it is one, in order first; else one from 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


def find_vocabulary(folder: Path) -> Path | None:
    """The first of the files that may hold the vocabulary in a folder, None where there is none."""
    return next((folder / name for name in _FILES if (folder / name).is_file()), None)


def _read_merges(path: Path, num_merges: int) -> list[tuple[str, str]]:
    if path.is_dir():
        found = find_vocabulary(path)
        if found is None:
            raise InputError(f"{path}: none of {', '.join(_FILES)} in it; these files hold the vocabulary of CLIP")
        path = found
    try:
        pairs = _json_merges(path) if path.suffix == ".json" else _text_merges(path)
        merges = [(first, second) for first, second in pairs][:num_merges]
    except (OSError, EOFError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path}: cannot be read as merges of a vocabulary ({' '.join(str(error).split())})"
        ) from error
    if len(merges) < num_merges:
        raise InputError(f"{path}: {len(merges)} merges, expected {num_merges}: not CLIP's vocabulary, or truncated")
    return merges


def _text_merges(path: Path) -> list[list[str]]:
    """A pair a line, after a line that names the version."""
    data = path.read_bytes()
    lines = (gzip.decompress(data) if path.suffix == ".gz" else data).decode().splitlines()
    return [line.split() for line in lines[1:] if line.strip()]


def _json_merges(path: Path) -> list[Any]:
    merges = read_json(path)["model"]["merges"]
    return [pair.split(" ") if isinstance(pair, str) else pair for pair in merges]
