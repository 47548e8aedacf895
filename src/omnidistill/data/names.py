"""Valid names of splits and modalities."""

from __future__ import annotations

import re
from collections.abc import Iterable

from omnidistill.core.errors import InputError, nearest

SPLITS = ("heads", "train", "validation", "test")
"""The known splits. `heads` (optional) is used to pre-train the projection heads; the others have their usual role."""

_MODALITY = re.compile(r"\w[\w.+-]*")


def check_modality_names(names: Iterable[str]) -> None:
    """Raise InputError unless each name consists of letters, digits and `_.+-` and starts with none of `.+-`."""
    for name in names:
        if not _MODALITY.fullmatch(name):
            raise InputError(
                f"modality {name!r}: not a usable name; "
                "use letters, digits, '_', '.', '+' or '-', and start with a letter, a digit or '_'"
            )


def check_split_names(splits: Iterable[str]) -> None:
    """Raise InputError, suggesting the nearest known name, for the first split that is not one of `SPLITS`."""
    for split in sorted(set(splits) - set(SPLITS)):
        raise InputError(f"split {split!r}: unknown; known splits are {', '.join(SPLITS)}{nearest(split, SPLITS)}")
