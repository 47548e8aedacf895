"""The errors a user can meet. Each message is one line: what, where, what was found, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class OmnidistillError(Exception):
    """Base of every error this package raises on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class InputError(OmnidistillError, ValueError):
    """Something the user gave (a file, a setting, a data set) cannot be used. Nothing was written or lost."""

    exit_code = 2


class NotFiniteError(OmnidistillError, ArithmeticError):
    """A computation produced NaN or Inf; the message names stage, modality and iteration. The last good state is
    kept.
    """

    exit_code = 3


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the known name closest to `name`, or an empty string if none is close."""
    close = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
