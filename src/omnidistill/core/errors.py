"""Exceptions for users. Each message is one line that says what is wrong, where, what was found and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SIMILAR = 0.6  # difflib's similarity of two names; below it, a suggestion is far-fetched (nonsense and seed: 0.5)


class OmnidistillError(Exception):
    """Base class for all errors that omnidistill raises. The command line exits with the status `exit_code`."""

    exit_code = 1


class InputError(OmnidistillError, ValueError):
    """A file, setting or dataset from the user cannot be used. Nothing was written or lost."""

    exit_code = 2


class NotFiniteError(OmnidistillError, ArithmeticError):
    """A computation produced NaN or Inf. The message names the stage, modality and iteration.

    The last finite state remains on disk.
    """

    exit_code = 3


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return `; did you mean 'x'?`, where x is the known name closest to `name`; or "" if no known name is close.

    Upper and lower case do not matter.

    Args:
        name: the unknown name.
        known: the known names.
        prefix: text that is put before x, such as the section of a setting.
    """
    by_lower_case = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), list(by_lower_case), n=1, cutoff=_SIMILAR)
    return f"; did you mean {prefix + by_lower_case[close[0]]!r}?" if close else ""
