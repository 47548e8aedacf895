"""Rows that occur twice, byte for byte: leaks between the test split and the others, and repeats within test."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.data.raw import RawFeatures

_EXAMPLES = 3


@dataclass(frozen=True)
class Duplicates:
    """Test rows that equal a row of heads, train or validation, byte for byte.

    modality: its name, or None for rows that are equal in every modality. rows: how many test rows.
    examples: the first few as (id of the test row, id of the other row).
    """

    modality: str | None
    rows: int
    examples: tuple[tuple[str, str], ...]


def digest_rows(raw: RawFeatures) -> dict[str, list[bytes]]:
    """{modality: a digest of the bytes of each row}, what the other functions compare."""
    return {name: _digests(x) for name, x in raw.features.items()}


def across_splits(raw: RawFeatures, digests: Mapping[str, Sequence[bytes]]) -> tuple[Duplicates, ...]:
    """The duplicates across splits in each modality, then those in all modalities at once; only where there are any."""
    whole = [b"".join(parts) for parts in zip(*digests.values(), strict=True)]
    found = [_across(name, rows, raw) for name, rows in digests.items()]
    return tuple(duplicates for duplicates in (*found, _across(None, whole, raw)) if duplicates.rows)


def repeated_in_test(raw: RawFeatures, digests: Mapping[str, Sequence[bytes]]) -> dict[str, int]:
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


def _across(modality: str | None, digests: Sequence[bytes], raw: RawFeatures) -> Duplicates:
    seen: dict[bytes, str] = {}
    for digest, row_id, split in zip(digests, raw.ids, raw.splits, strict=True):
        if split != "test":
            seen.setdefault(digest, row_id)
    pairs = [
        (row_id, seen[digest])
        for digest, row_id, split in zip(digests, raw.ids, raw.splits, strict=True)
        if split == "test" and digest in seen
    ]
    return Duplicates(modality, len(pairs), tuple(pairs[:_EXAMPLES]))


def _digests(x: Float[Tensor, "n p"]) -> list[bytes]:
    rows = x.contiguous().view(torch.uint8).numpy()
    return [hashlib.blake2b(row, digest_size=16).digest() for row in rows]
