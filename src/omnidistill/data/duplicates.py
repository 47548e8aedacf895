"""Detection of rows that are equal byte for byte: leaks from other splits into test, and repeats within test."""

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
_DIGEST_BYTES = 16
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Duplicates:
    """Test rows that are equal to a row in the split `heads`, `train` or `validation`.

    Attributes:
        modality: modality in which the rows are equal; None if they are equal in every modality.
        rows: number of such test rows.
        examples: the first few pairs of equal rows, as (id of the test row, id of the row in the other split).
    """

    modality: str | None
    rows: int
    examples: tuple[tuple[str, str], ...]


def digest_rows(raw: RawFeatures) -> dict[str, Digests]:
    """Return {modality: digests of its rows}, which the other functions take as input."""
    return {name: _digests(x) for name, x in raw.features.items()}


@dataclass(frozen=True)
class Digests:
    """One digest per row, concatenated: a list of a million `bytes` objects would take 50 MB more."""

    joined: bytes

    def __iter__(self) -> Iterator[bytes]:
        return (self.joined[i : i + _DIGEST_BYTES] for i in range(0, len(self.joined), _DIGEST_BYTES))


def across_splits(raw: RawFeatures, digests: Mapping[str, Digests]) -> tuple[Duplicates, ...]:
    """Return the duplicates across splits, first per modality, then in all modalities at once; omit empty results."""
    all_modalities = _joined(b"".join(parts) for parts in zip(*digests.values(), strict=True))
    per_modality = [_across(name, rows, raw) for name, rows in digests.items()]
    return tuple(duplicates for duplicates in (*per_modality, _across(None, all_modalities, raw)) if duplicates.rows)


def repeated_in_test(raw: RawFeatures, digests: Mapping[str, Digests]) -> dict[str, int]:
    """Return {modality: number of test rows that are equal to a test row from another group}; zeros are omitted.

    Retrieval counts such a row as a wrong answer although its content is right.
    """
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
    test_digests, matches = {digest for digest, _ in test}, dict[bytes, str]()
    for digest, row_id, split in zip(digests, raw.ids, raw.splits, strict=True):
        if split != "test" and digest in test_digests:
            matches.setdefault(digest, row_id)
    pairs = [(row_id, matches[digest]) for digest, row_id in test if digest in matches]
    return Duplicates(modality, len(pairs), tuple(pairs[:_EXAMPLES]))


def _digests(x: Float[Tensor, "n p"]) -> Digests:
    parts = (part.contiguous().view(torch.uint8).numpy() for part in torch.split(x, _ROWS_AT_ONCE))
    return _joined(row for part in parts for row in part)


def _joined(rows: Iterable[Any]) -> Digests:
    """Return the concatenated digests of byte buffers. `bytes.join` would first build a list of all digests."""
    digests = bytearray()
    for row in rows:
        digests += hashlib.blake2b(row, digest_size=_DIGEST_BYTES).digest()
    return Digests(bytes(digests))
