"""Deferred Ctrl-C: the program finishes the current iteration before it stops, so the saved state is consistent."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupt_deferred() -> Iterator[Callable[[], bool]]:
    """Defer Ctrl-C within the block, and yield a function that returns whether the user has pressed Ctrl-C.

    A second Ctrl-C raises KeyboardInterrupt immediately. Outside the main thread, or if the program has installed its
    own handler for Ctrl-C, nothing is deferred and the function always returns False.
    """
    pressed = False

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    previous_handler = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, previous_handler)
