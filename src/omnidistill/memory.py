"""Peak memory of a piece of work: the largest resident set of this process while it ran."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


@contextmanager
def peak_memory() -> Iterator[Callable[[], int | None]]:
    """Gives a function that says the peak since the block began, in bytes; None where the system does not tell.

    Counts everything the process holds, data and libraries included, so it is what the machine must have.
    """
    fresh = False
    with suppress(OSError):
        _CLEAR.write_text("5")  # Linux: forget the peak so far
        fresh = True
    yield lambda: _high_water() if fresh else None


def _high_water() -> int | None:
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return None
