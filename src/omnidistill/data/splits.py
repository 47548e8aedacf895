"""Names of splits, and random splits that depend only on the name of a group.

A hash of the group's name determines its split, so adding groups does not change the splits of other groups.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from omnidistill.data.names import SPLITS

SYNONYMS = {"val": "validation", "valid": "validation", "dev": "validation"}
"""{other name of a split: its name here}."""
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
"""Shares of random splits."""


def split_name(text: str) -> str | None:
    """Return the split with this name (`val`, `valid` and `dev` mean `validation`), or None if it is unknown."""
    split = SYNONYMS.get(text, text)
    return split if split in SPLITS else None


def random_split(key: str, seed: int = 0) -> str:
    """Draw a split with the probabilities in `SHARES`. The result depends only on `key` and `seed`."""
    digest = hashlib.sha256(f"{seed}:{key}".encode(errors="surrogateescape")).digest()
    remainder = int.from_bytes(digest[:6]) / 2**48
    for split, share in SHARES.items():
        remainder -= share
        if remainder < 0:
            return split
    return split


def draw_missing(splits: Sequence[str], groups: Sequence[str], seed: int = 0) -> tuple[tuple[str, ...], list[str]]:
    """Fill a missing validation or test split with training groups that are drawn at random.

    Rows in other splits than "train" do not change. If neither split is missing, nothing changes.

    Args:
        splits: split of each row.
        groups: group of each row.
        seed: seed of the random choice.

    Returns:
        The new split of each row, and a list with one note for the user; the list is empty if no split was missing.
    """
    missing = [split for split in ("validation", "test") if split not in splits]
    if not missing:
        return tuple(splits), []
    drawn = {group: split for group in dict.fromkeys(groups) if (split := random_split(group, seed)) in missing}
    result = tuple(
        drawn.get(group, split) if split == "train" else split for group, split in zip(groups, splits, strict=True)
    )
    share = "10 %" if len(missing) == 1 else "10 % each"
    names = " and ".join(missing)
    return result, [f"the data has no {names} rows: {share} of the training groups, drawn at random, become {names}"]
