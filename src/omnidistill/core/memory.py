"""What this process may use and did use: cores, and the largest resident set while a piece of work ran."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(eq=False)
class _Block:
    """A block that is being measured."""

    seen: int = 0  # its peak until the system last forgot it


_open: list[_Block] = []


@contextmanager
def peak_memory() -> Iterator[Callable[[], int | None]]:
    """Gives a function that says, within the block, the peak since it began, in bytes; None where the system does not
    tell. Blocks may lie in each other.

    Counts everything the process holds, data and libraries included, so it is what the machine must have.
    """
    before, block, fresh = _high_water() or 0, _Block(), False
    with suppress(OSError):
        _CLEAR.write_text("5")  # Linux: forget the peak so far
        fresh = True
        for outer in _open:
            outer.seen = max(outer.seen, before)
    _open.append(block)

    def peak() -> int | None:
        now = _high_water() if fresh else None
        return None if now is None else max(now, block.seen)

    try:
        yield peak
    finally:
        _open.remove(block)


def _high_water() -> int | None:
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return None
