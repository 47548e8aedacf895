"""The result of one trial. Every module `*_trials.py` has a function `trials(options)` that yields trials."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Trial:
    """The result of one trial: its name, "KIND: ...", whether it passed, and what was observed, in one line."""

    name: str
    passed: bool
    detail: str
