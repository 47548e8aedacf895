"""Names of arguments in messages: Python keywords, or options if the command line is running.

argument("seeds", 3)          seeds=3              --seeds 3
argument("resume", True)      resume=True          --resume
argument("heads")             heads                --heads
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_AS_OPTIONS: ContextVar[bool] = ContextVar("arguments as options", default=False)

_OPTIONS = {
    "initial_set": "from",
    "num_students": "students",
    "num_seeds": "seeds",
    "out": "output",
    "folder": "output",
}
"""Names of options that differ from the names of the arguments."""


def argument(name: str, value: object = None) -> str:
    """Return an argument in the form in which the user wrote it.

    Args:
        name: name of the argument of a public function.
        value: its value; None returns the name alone.
    """
    if not _AS_OPTIONS.get():
        if value is None:
            return name
        return f"{name}={str(value)!r}" if isinstance(value, Path) else f"{name}={value!r}"
    option = f"--{_OPTIONS.get(name, name).replace('_', '-')}"
    return option if value is None or value is True else f"{option} {value}"


def setting(text: str) -> str:
    """Return a setting "key=value" in the form in which the user wrote it; for settings that are not in a file."""
    return f"--set {text}" if _AS_OPTIONS.get() else f"setting {text}"


@contextmanager
def written_as_options() -> Iterator[None]:
    """Name arguments as options within the block. The command line runs every command in such a block."""
    before = _AS_OPTIONS.set(True)
    try:
        yield
    finally:
        _AS_OPTIONS.reset(before)
