"""Valid names of splits and modalities, and valid texts."""

from __future__ import annotations

import re
from collections.abc import Iterable

from omnidistill.core.errors import InputError, nearest

SPLITS = ("heads", "train", "validation", "test")
"""The known splits. The optional split `heads` is for pre-training the projection heads."""

_MODALITY = re.compile(r"\w[\w.+-]*")


def check_modality_names(names: Iterable[str]) -> None:
    """Raise InputError if a name has characters other than letters, digits and `_.+-`, or starts with `.`, `+`, `-`."""
    for name in names:
        if not _MODALITY.fullmatch(name):
            raise InputError(
                f"modality {name!r}: this name is not allowed; "
                "use letters, digits, '_', '.', '+' or '-', and start with a letter, a digit or '_'"
            )


def check_encodable(text: str, where: str) -> None:
    """Raise InputError if the text contains half of a surrogate pair, which no file or page can contain."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{where}: {text!r} contains half of a surrogate pair, which is not a character; correct the text"
        ) from None


def check_split_names(splits: Iterable[str]) -> None:
    """Raise InputError for the first split that is not in `SPLITS`. The message suggests the closest known name."""
    for split in sorted(set(splits) - set(SPLITS)):
        raise InputError(f"split {split!r}: unknown; known splits: {', '.join(SPLITS)}{nearest(split, SPLITS)}")
