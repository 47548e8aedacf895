"""The names a data set may use: its splits and its modalities."""

from __future__ import annotations

import re
from collections.abc import Iterable

from omnidistill.core.errors import InputError, nearest

SPLITS = ("heads", "train", "validation", "test")
"""Every known split: `heads` (optional) pre-trains the projection heads; the other three are the usual ones."""

_MODALITY = re.compile(r"\w[\w.+-]*")


def check_modality_names(names: Iterable[str]) -> None:
    """Raise InputError unless each name is made of letters, digits, `_`, `.`, `+`, `-`, the first none of `.+-`."""
    for name in names:
        if not _MODALITY.fullmatch(name):
            raise InputError(
                f"modality {name!r}: not a usable name; "
                "use letters, digits, '_', '.', '+' or '-', and begin with a letter, a digit or '_'"
            )


def check_split_names(splits: Iterable[str]) -> None:
    """Raise InputError, with the nearest known name, at the first split that is not one of `SPLITS`."""
    for split in sorted(set(splits) - set(SPLITS)):
        raise InputError(f"split {split!r}: unknown; known splits are {', '.join(SPLITS)}{nearest(split, SPLITS)}")
