"""Resources of this process: the cores it may use, and its peak resident memory during a block of code."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def cores() -> int:
    """Return the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(eq=False)
class _Block:
    """A block of code whose memory is measured."""

    peak_before_reset: int = 0  # bytes; the kernel forgets this peak when a nested block resets it


_open: list[_Block] = []


@contextmanager
def peak_memory() -> Iterator[Callable[[], int | None]]:
    """Measure the peak resident memory of the block.

    Yields a function that returns, within the block, the peak since the block started, in bytes, or None where the
    system does not report it. Blocks may be nested. The peak includes all memory of the process, data and libraries as
    well, so it is the memory that a machine needs.
    """
    before, block, was_reset = _high_water() or 0, _Block(), False
    with suppress(OSError):
        _CLEAR.write_text("5")  # Linux: reset the peak
        was_reset = True
        for outer in _open:
            outer.peak_before_reset = max(outer.peak_before_reset, before)
    _open.append(block)

    def peak() -> int | None:
        now = _high_water() if was_reset else None
        return None if now is None else max(now, block.peak_before_reset)

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
