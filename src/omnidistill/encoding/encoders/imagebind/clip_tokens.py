"""CLIP's byte-pair encoding (https://github.com/openai/CLIP), which ImageBind and LanguageBind use for texts.

    1. Clean the text: repair it with ftfy, resolve HTML entities twice, replace white space with single spaces, and
       convert it to lower case.
    2. Split the text into pieces: words, English endings such as `'s`, single digits, and sequences of other
       characters. Represent each UTF-8 byte of a piece by one character, and append `</w>` to the last character.
    3. Join the characters of each piece into longer parts: find the pair of neighbouring parts that comes first in the
       list of merges, and join it wherever it occurs in the piece. Repeat this until no pair of neighbours is in the
       list. The remaining parts are the tokens.
    4. Look up the id of each token, and keep at most 75 ids. Put the start token before them and the end token after
       them, and append zeros up to a length of 77.

The vocabulary has 49,408 tokens: the 256 bytes, the same bytes followed by `</w>`, one token per merge in the order of
the list, the start token, and the end token. The file with the merges belongs to CLIP and is not part of this package.
"""

from __future__ import annotations

import gzip
import html
import re
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
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
from omnidistill.io.input_files import open_input, read_json

_START, _END = "<|startoftext|>", "<|endoftext|>"
_NUM_MERGES = VOCABULARY - 2 * 256 - 2
_MOST_BYTES = 2**24  # CLIP's vocabulary has 3.2 MB
VOCABULARY_FILES = ("merges.txt", "bpe_simple_vocab_16e6.txt.gz", "tokenizer.json")
"""Names under which a vocabulary is found: a text file, a .gz file and a .json file."""
_PIECES = rf"{re.escape(_START)}|{re.escape(_END)}|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+"


@dataclass(frozen=True, eq=False)
class Tokenised:
    """Token ids of n texts.

    Attributes:
        ids: token ids, of shape n x 77.
        num_truncated: number of texts that were truncated because they are too long.
    """

    ids: Int64[Tensor, "n 77"]
    num_truncated: int


class ClipTokenizer:
    """Converts texts to token ids.

    Args:
        merges: pairs of tokens that are joined, in the order of the vocabulary file.
    """

    def __init__(self, merges: Sequence[tuple[str, str]]) -> None:
        letters = list(_byte_letters().values())
        words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges), _START, _END]
        self._ids = {word: index for index, word in enumerate(words)}
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._cache: dict[str, list[int]] = {special: [self._ids[special]] for special in (_START, _END)}

    @classmethod
    def from_file(cls, path: Path, num_merges: int = _NUM_MERGES) -> ClipTokenizer:
        """Create a tokenizer from a vocabulary file.

        Args:
            path: `merges.txt`, `bpe_simple_vocab_16e6.txt.gz` or `tokenizer.json`, or a folder that contains at least
                one of these files. If a folder contains several, the first in this order is used.
            num_merges: number of merges to read from the file.

        Raises:
            InputError: the file is missing, cannot be read, or has fewer than `num_merges` merges.
        """
        return cls(_read_merges(path, num_merges))

    def __call__(self, texts: Sequence[str]) -> Tokenised:
        """Return the token ids of the texts. Long texts are truncated before the end token.

        Raises:
            InputError: the `ftfy` or `regex` package is not installed.
        """
        ids = torch.zeros(len(texts), CONTEXT, dtype=torch.int64, device="cpu")
        num_truncated = 0
        for row, text in zip(ids, texts, strict=True):
            tokens = self.tokens(text)
            num_truncated += len(tokens) > CONTEXT - 2
            complete = [self._ids[_START], *tokens[: CONTEXT - 2], self._ids[_END]]
            row[: len(complete)] = torch.tensor(complete, device="cpu")
        return Tokenised(ids, num_truncated)

    def tokens(self, text: str) -> list[int]:
        """Return the token ids of the complete text, without the start token and the end token."""
        return [index for piece in self._pieces.findall(_clean(text)) for index in self._piece(piece)]

    @cached_property
    def _pieces(self) -> Any:
        regex = require("regex", "encoders")
        return regex.compile(_PIECES, regex.IGNORECASE)

    def _piece(self, piece: str) -> list[int]:
        if piece not in self._cache:
            letters = _byte_letters()
            word = [letters[byte] for byte in piece.encode()]
            word[-1] += "</w>"
            self._cache[piece] = [self._ids[part] for part in self._merged(word)]
        return self._cache[piece]

    def _merged(self, word: list[str]) -> list[str]:
        while len(word) > 1:
            first = min(pairwise(word), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if first not in self._ranks:
                break
            word = list(_joined(word, first))
        return word


def _joined(word: list[str], pair: tuple[str, str]) -> Iterator[str]:
    """Yield the parts of `word`, with every occurrence of `pair` joined to a single part."""
    at = 0
    while at < len(word):
        matches = tuple(word[at : at + 2]) == pair
        yield "".join(pair) if matches else word[at]
        at += 2 if matches else 1


def _clean(text: str) -> str:
    fixed = require("ftfy", "encoders").fix_text(text)
    return " ".join(html.unescape(html.unescape(fixed)).split()).lower()


@cache
def _byte_letters() -> dict[int, str]:
    """Map each byte to a character: to itself if it is printable, otherwise to one of the code points 256, 257, ..."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


def find_vocabulary(folder: Path) -> Path | None:
    """Return the path of the vocabulary file in a folder; None if the folder contains none."""
    return next((folder / name for name in VOCABULARY_FILES if (folder / name).is_file()), None)


def vocabulary_name(path: Path) -> str:
    """Return the file name under which `find_vocabulary` finds a vocabulary in the format of this file."""
    text, packed, json = VOCABULARY_FILES
    return {".gz": packed, ".json": json}.get(path.suffix, text)


def _read_merges(path: Path, num_merges: int) -> list[tuple[str, str]]:
    if path.is_dir():
        file = find_vocabulary(path)
        if file is None:
            raise InputError(f"{path}: contains no CLIP vocabulary; add one of the files {', '.join(VOCABULARY_FILES)}")
        path = file
    try:
        pairs = _json_merges(path) if path.suffix == ".json" else _text_merges(path)
        merges = [(first, second) for first, second in pairs][:num_merges]
    except (OSError, EOFError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path}: cannot be read as a BPE vocabulary ({' '.join(str(error).split())}); "
            "use the vocabulary file of CLIP"
        ) from error
    if len(merges) < num_merges:
        raise InputError(
            f"{path}: contains {len(merges)} BPE merges instead of {num_merges}; "
            "the file is truncated or is not CLIP's vocabulary, so download the vocabulary file of CLIP again"
        )
    return merges


def _text_merges(path: Path) -> list[list[str]]:
    """Read the pairs of tokens from a text file with one pair per line. The first line (the version) is skipped."""
    with open_input(path) as file, gzip.open(file) if path.suffix == ".gz" else nullcontext(file) as content:
        data = content.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES:,} bytes")
    lines = data.decode().splitlines()
    return [line.split() for line in lines[1:] if line.strip()]


def _json_merges(path: Path) -> list[Any]:
    merges = read_json(path)["model"]["merges"]
    return [pair.split(" ") if isinstance(pair, str) else pair for pair in merges]
