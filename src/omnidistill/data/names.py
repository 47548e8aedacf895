"""The names a data set may use: its splits, its modalities, and the nearest allowed name for a wrong one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from omnidistill.errors import InputError

SPLITS = ("heads", "train", "validation", "test")
"""Every known split: `heads` (optional) pre-trains the projection heads; the other three are the usual ones."""

_MODALITY = re.compile(r"\w[\w.+-]*")


def nearest(name: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the allowed name closest to `name`, or an empty string if none is close."""
    close = difflib.get_close_matches(name.lower(), list(allowed), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


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
