"""Detection of identical rows: leaks between splits, and repeats within the test split.

Two rows are identical in a modality if all their values are equal in float32, the type in which a feature set stores
them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from omnidistill.data.names import SPLITS
from omnidistill.data.raw_rows import RawRows

SCORED = ("test", "validation")
"""The splits that scores and choices are based on; a row of one of them leaks if a split of `earlier_splits` has it."""

_EXAMPLES = 3
_DIGEST_BYTES = 16


@dataclass(frozen=True)
class Duplicates:
    """Rows of the test or validation split that also occur in other splits.

    Attributes:
        modality: the modality in which the rows are identical. None means that they are identical in every modality.
        split: `test` or `validation`.
        others: the splits that also contain these rows: `heads`, `train`, or (for test rows) `validation`.
        rows: number of duplicates in `split`.
        examples: the first few duplicates, as (id of the row in `split`, id of an identical row in `others`).
    """

    modality: str | None
    split: str
    others: tuple[str, ...]
    rows: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class CodedRows:
    """The rows of a feature set without their features. Codes show which rows are identical.

    Attributes:
        numbers: index of each row in the source.
        ids, groups, splits: see `RawFeatures`.
        codes: {modality: one code per row}; two rows have the same code if and only if they are identical.
    """

    numbers: Int[Tensor, " n"]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    splits: tuple[str, ...]
    codes: dict[str, Int[Tensor, " n"]]

    def in_split(self, *names: str) -> Bool[Tensor, " n"]:
        """Return for each row whether it is in one of these splits."""
        return torch.tensor([split in names for split in self.splits], dtype=torch.bool, device="cpu")

    def repeats(self, name: str, split: str) -> Bool[Tensor, " n"]:
        """Return for each row whether it is identical to a row of `split` in the modality `name`."""
        codes = self.codes[name]
        present = torch.zeros(int(codes.max()) + 1 if len(codes) else 0, dtype=torch.bool, device="cpu")
        present[codes[self.in_split(split)]] = True
        return present[codes]

    def select(self, rows: Bool[Tensor, " n"]) -> CodedRows:
        """Return only the rows for which the mask `rows` is true, in the same order."""
        index = rows.nonzero()[:, 0]
        order = index.tolist()
        return CodedRows(
            self.numbers[index],
            tuple(self.ids[row] for row in order),
            tuple(self.groups[row] for row in order),
            tuple(self.splits[row] for row in order),
            {name: codes[index] for name, codes in self.codes.items()},
        )


def code_rows(raw: RawRows) -> CodedRows:
    """Return rows with codes instead of features. Identical rows have equal codes. Rows are read once, in chunks."""
    numbers = torch.arange(len(raw.ids), device="cpu")
    codes = {name: _codes(_digests(raw, name, numbers)) for name in raw.widths}
    return CodedRows(numbers, raw.ids, raw.groups, raw.splits, codes)


def find_leaks(rows: CodedRows) -> tuple[Duplicates, ...]:
    """Return the leaks into the test split, followed by the leaks into the validation split.

    Each split has one entry per modality, and one more entry for rows that are identical in all modalities. Entries
    without rows are omitted.
    """
    leaks = []
    for split in SCORED:
        others = earlier_splits(split)
        leaks += [_leak(rows, name, codes, split, others) for name, codes in rows.codes.items()]
        candidates = torch.stack([rows.repeats(name, split) for name in rows.codes]).all(0)
        part = rows.select(candidates)
        joint = _codes(torch.stack(list(part.codes.values()), dim=1).numpy())
        leaks.append(_leak(part, None, joint, split, others))
    return tuple(leak for leak in leaks if leak.rows)


def earlier_splits(split: str) -> tuple[str, ...]:
    """Return the splits that must not share rows with `split`: heads and train, and for test also validation."""
    return SPLITS[: SPLITS.index(split)]


def repeated_in_test(rows: CodedRows) -> dict[str, int]:
    """Return {modality: number of test rows that equal a test row from another group}, omitting zeros.

    Retrieval counts such a row as a wrong answer although its content is right.
    """
    test = rows.select(rows.in_split("test"))
    counts = {name: _in_several_groups(codes, test.groups) for name, codes in test.codes.items()}
    return {name: count for name, count in counts.items() if count}


def _in_several_groups(codes: Int[Tensor, " n"], groups: tuple[str, ...]) -> int:
    groups_of: dict[int, set[str]] = {}
    for code, group in zip(codes.tolist(), groups, strict=True):
        groups_of.setdefault(code, set()).add(group)
    return sum(len(groups_of[code]) > 1 for code in codes.tolist())


def _leak(
    rows: CodedRows, modality: str | None, codes: Int[Tensor, " n"], split: str, others: tuple[str, ...]
) -> Duplicates:
    """Return the rows of `split` that have the same code as a row of the splits `others`."""
    scored, other = rows.in_split(split), rows.in_split(*others)
    shared = torch.isin(codes, codes[scored]) & torch.isin(codes, codes[other])
    repeated, originals = (scored & shared).nonzero()[:, 0].tolist(), (other & shared).nonzero()[:, 0]
    examples = []
    for row in repeated[:_EXAMPLES]:
        first = originals[codes[originals] == codes[row]][0]
        examples.append((rows.ids[row], rows.ids[int(first)]))
    names = {rows.splits[row] for row in originals.tolist()}
    return Duplicates(modality, split, tuple(each for each in others if each in names), len(repeated), tuple(examples))


def _digests(raw: RawRows, name: str, numbers: Int[Tensor, " n"]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Return a 16-byte digest for each of n rows, as two 64-bit integers (n x 2).

    Rows that differ only in the sign of zeros have the same digest.
    """
    digests = bytearray()
    for _, x in raw.chunks(name, numbers):
        for row in (x.float() + 0).numpy():  # + 0 turns -0 into 0
            digests += hashlib.blake2b(row, digest_size=_DIGEST_BYTES).digest()
    return np.frombuffer(digests, dtype=np.int64).reshape(-1, 2)


def _codes(keys: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Int[Tensor, " n"]:
    """Return one code from 0 to n - 1 for each row of `keys` (n x k). Equal rows have equal codes."""
    order = np.lexsort(keys.T)
    ordered = keys[order]
    codes = np.zeros(len(keys), dtype=np.int64)
    codes[order[1:]] = np.cumsum((ordered[1:] != ordered[:-1]).any(axis=1))
    return torch.from_numpy(codes)
