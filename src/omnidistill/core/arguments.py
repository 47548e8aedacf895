"""How messages name arguments: as Python keywords, or as options when the command line is running.

call                                       in Python                     on the command line
argument("seeds", 3)                       seeds=3                       --seeds 3
argument("resume", True)                   resume=True                   --resume
argument("encoders", {"image": "NAME"})    encoders={'image': 'NAME'}    --encoder image=NAME
argument("heads")                          heads                         --heads
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_AS_OPTIONS: ContextVar[bool] = ContextVar("arguments as options", default=False)

_OPTIONS = {
    "initial_set": "from",
    "add_to": "from",
    "encoders": "encoder",
    "num_students": "students",
    "num_seeds": "seeds",
    "num_steps": "steps",
    "out": "output",
    "folder": "output",
    "id_column": "id",
    "group_column": "group",
    "split_column": "split",
}
"""Maps an argument's name to the option's name where the two differ."""


def argument(name: str, value: object = None) -> str:
    """Return an argument as the user writes it: in Python or on the command line.

    Args:
        name: name of the argument in the public function.
        value: value of the argument; None returns only the name.
    """
    if not _AS_OPTIONS.get():
        if value is None:
            return name
        return f"{name}={str(value)!r}" if isinstance(value, Path) else f"{name}={value!r}"
    option = f"--{_OPTIONS.get(name, name).replace('_', '-')}"
    if isinstance(value, Mapping):
        return " ".join(f"{option} {key}={each}" for key, each in value.items())
    return option if value is None or value is True else f"{option} {value}"


def setting(text: str) -> str:
    """Return "setting key=value", or "--set key=value" if the command line is running.

    Call this only for settings that the user passed directly, not for settings from a file.

    Args:
        text: the setting as "key=value".
    """
    return f"--set {text}" if _AS_OPTIONS.get() else f"setting {text}"


@contextmanager
def written_as_options() -> Iterator[None]:
    """Context manager for commands: messages inside the block name arguments as options of the command line."""
    before = _AS_OPTIONS.set(True)
    try:
        yield
    finally:
        _AS_OPTIONS.reset(before)
