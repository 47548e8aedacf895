"""Entry points of installed packages, cached until a package is installed or removed.

Reading the metadata of all installed packages takes about 10 ms, and registries ask often. An installer changes the
modification time of a folder in `sys.path`, so these times tell whether the metadata must be read again.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from importlib import metadata
from importlib.metadata import EntryPoint


def entry_points(group: str) -> tuple[EntryPoint, ...]:
    """Return the entry points in a group, such as "omnidistill.objectives"."""
    return _read(group, tuple((folder, _changed_at(folder)) for folder in sys.path))


@lru_cache(maxsize=256)
def _read(group: str, folders: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    """Read the entry points in a group. `folders` are those of `sys.path`, with their modification times."""
    return tuple(metadata.entry_points(group=group))


def _changed_at(folder: str) -> int:
    try:
        return os.stat(folder or ".").st_mtime_ns
    except OSError:
        return 0
