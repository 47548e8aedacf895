"""Exceptions raised for users. Each message is one line: what is wrong, where, what was found, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class OmnidistillError(Exception):
    """Base class of all errors that omnidistill raises; `exit_code` is the exit status of the command line."""

    exit_code = 1


class InputError(OmnidistillError, ValueError):
    """A file, setting or dataset given by the user cannot be used. Nothing was written or lost."""

    exit_code = 2


class NotFiniteError(OmnidistillError, ArithmeticError):
    """A computation produced NaN or Inf; the message names stage, modality and iteration.

    The last finite state remains on disk.
    """

    exit_code = 3


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` with the known name closest to `name`, or an empty string if none is close."""
    close = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
