"""Resources of this process: cores, memory per chunk, peak memory in a block of code, and errors for lack of memory."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CHUNK_BYTES = 2**29
"""Memory for one chunk when all pairs of rows are compared; it affects only speed and rounding.

Functions read it as `memory.CHUNK_BYTES` when they are called, so that tests can change it.
"""

_STATUS = Path("/proc/self/status")


def cores() -> int:
    """Return the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or an error that caused it, means that memory ran out.

    Libraries raise many types of errors when memory runs out: MemoryError, OSError, RuntimeError (torch), and
    ImportError if a shared library cannot be loaded. Functions that read files often report such an error as a damaged
    file. The original error is then the cause.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM):
            return True
        from_library = isinstance(cause, RuntimeError | ImportError) or type(cause).__name__ == "SafetensorError"
        if from_library and any(phrase in str(cause) for phrase in _OUT_OF_MEMORY):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


_OUT_OF_MEMORY = (
    "can't allocate memory",  # torch on a CPU
    "out of memory",  # torch on a GPU
    "Cannot allocate memory",  # the system
    "bad_alloc",  # C++
    "failed to map segment",  # the dynamic linker
)


def address_space() -> float:
    """Return how many bytes of address space the system grants this process; infinity if there is no limit."""
    try:
        import resource
    except ImportError:  # on Windows
        return math.inf
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return math.inf if limit == resource.RLIM_INFINITY else float(limit)


@contextmanager
def peak_memory() -> Iterator[Callable[[], int | None]]:
    """Measure the peak resident memory of the process during the block.

    The kernel reports only the peak since the process started. If this peak rose during the block, it is also the
    peak of the block. Otherwise the block did not exceed an earlier peak, and the peak of the block is unknown.
    All memory of the process counts, including data and libraries, so the peak is the memory that a machine needs.

    Yields:
        A function that returns the block's peak so far, in bytes. It returns None if the peak is unknown or the system
        does not report it.
    """
    before = _high_water()

    def peak() -> int | None:
        now = _high_water()
        return now if before is not None and now is not None and now > before else None

    yield peak


def _high_water() -> int | None:
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return None
