"""Rows that occur twice, byte for byte: leaks between the test split and the others, and repeats within test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.data.raw import RawFeatures

_EXAMPLES = 3
_SIZE = 16
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Duplicates:
    """Test rows that equal a row of heads, train or validation, byte for byte.

    modality: its name, or None for rows that are equal in every modality. rows: how many test rows.
    examples: the first few as (id of the test row, id of the other row).
    """

    modality: str | None
    rows: int
    examples: tuple[tuple[str, str], ...]


def digest_rows(raw: RawFeatures) -> dict[str, Digests]:
    """{modality: a digest of the bytes of each row}, what the other functions compare."""
    return {name: _digests(x) for name, x in raw.features.items()}


@dataclass(frozen=True)
class Digests:
    """A digest a row, kept as one string of bytes: a list of a million would take 50 MB more."""

    joined: bytes

    def __iter__(self) -> Iterator[bytes]:
        return (self.joined[begin : begin + _SIZE] for begin in range(0, len(self.joined), _SIZE))


def across_splits(raw: RawFeatures, digests: Mapping[str, Digests]) -> tuple[Duplicates, ...]:
    """The duplicates across splits in each modality, then those in all modalities at once; only where there are any."""
    whole = _joined(b"".join(parts) for parts in zip(*digests.values(), strict=True))
    found = [_across(name, rows, raw) for name, rows in digests.items()]
    return tuple(duplicates for duplicates in (*found, _across(None, whole, raw)) if duplicates.rows)


def repeated_in_test(raw: RawFeatures, digests: Mapping[str, Digests]) -> dict[str, int]:
    """{modality: test rows that equal a test row of another group}: right answers that will be counted as wrong."""
    counts = {}
    for name, rows in digests.items():
        groups: dict[bytes, set[str]] = {}
        test = [
            (digest, group)
            for digest, group, split in zip(rows, raw.groups, raw.splits, strict=True)
            if split == "test"
        ]
        for digest, group in test:
            groups.setdefault(digest, set()).add(group)
        counts[name] = sum(len(groups[digest]) > 1 for digest, _ in test)
    return {name: count for name, count in counts.items() if count}


def _across(modality: str | None, digests: Digests, raw: RawFeatures) -> Duplicates:
    test = [
        (digest, row_id) for digest, row_id, split in zip(digests, raw.ids, raw.splits, strict=True) if split == "test"
    ]
    wanted, seen = {digest for digest, _ in test}, dict[bytes, str]()
    for digest, row_id, split in zip(digests, raw.ids, raw.splits, strict=True):
        if split != "test" and digest in wanted:
            seen.setdefault(digest, row_id)
    pairs = [(row_id, seen[digest]) for digest, row_id in test if digest in seen]
    return Duplicates(modality, len(pairs), tuple(pairs[:_EXAMPLES]))


def _digests(x: Float[Tensor, "n p"]) -> Digests:
    parts = (part.contiguous().view(torch.uint8).numpy() for part in torch.split(x, _ROWS_AT_ONCE))
    return _joined(row for part in parts for row in part)


def _joined(rows: Iterable[Any]) -> Digests:
    """The digests of buffers of bytes; a join would first make a list of them."""
    digests = bytearray()
    for row in rows:
        digests += hashlib.blake2b(row, digest_size=_SIZE).digest()
    return Digests(bytes(digests))
