"""Signals that ask the program to end: SIGINT (Ctrl-C), SIGTERM and SIGHUP.

    first signal in `signals_raised`          raises `Interrupted`
    first signal in `interrupt_deferred`      the current iteration is finished and saved, then `Interrupted` is raised
    second signal in `interrupt_deferred`     raises `Interrupted` immediately
    first signal in `signals_held`            takes effect at the end of the block

A command runs in a `signals_raised` block. For commands, there are three more rules:

    signal after `Interrupted` was raised     ends the process immediately, with exit code 128 + number of the signal
    signal while the program is imported      ends the process immediately, with the same exit code
    signal while the interpreter shuts down   is ignored, so it does not change the exit code of the command

If a finaliser (`__del__`) or a callback of a weak reference raises an exception, Python only prints it. A signal that
arrives there would be lost. A command therefore sends the signal again until `Interrupted` is raised elsewhere.

A signal is handled only if its handler is the default one. A signal that is ignored (as by nohup) stays ignored, and a
handler that the program has installed stays in place.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import CodeType, FrameType
from typing import Any

_DEFAULTS = {
    getattr(signal, name): signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)  # Windows has no SIGHUP
}

_Handlers = dict[signal.Signals, Callable[[int, FrameType | None], Any] | int | None]


class Interrupted(KeyboardInterrupt):
    """A signal asked the program to end.

    Attributes:
        signal: the signal.
    """

    def __init__(self, number: int) -> None:
        self.signal: signal.Signals = signal.Signals(number)
        super().__init__(self.signal.name)

    @property
    def exit_code(self) -> int:
        """Exit code of a process that ends because of the signal: 130, 143 or 129."""
        return 128 + self.signal


class _Handler:
    """The handler of all signals. If `of_command` is True, a repeated signal ends the process."""

    def __init__(self, of_command: bool = False) -> None:
        self.of_command, self.ends_process, self.deferring = of_command, False, False
        self.held: list[int] | None = None  # signals of the current block of `signals_held`
        self._pending: Interrupted | None = None
        self._timer: threading.Timer | None = None
        self.hook_before = sys.unraisablehook

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.held is not None:
            self.held.append(number)
            return
        if _runs(_Handler.unraisable.__code__, frame):  # an exception would be lost there
            self._send_soon(number)
            return
        if self.ends_process:
            with suppress(OSError):
                os.write(2, b"omnidistill: interrupted; ended immediately\n")
            os._exit(128 + number)
        if self.deferring and self._pending is None:
            self._pending = Interrupted(number)
            return
        self.ends_process = self.of_command
        raise Interrupted(number)

    def pending(self) -> Interrupted | None:
        """Return the deferred signal, if there is one. The caller saves its state and raises the signal."""
        if self._pending is not None:
            self.ends_process = self.of_command
        return self._pending

    def drop(self) -> None:
        """Forget the deferred signal. The next one counts as the first."""
        self._pending = None

    def unraisable(self, dropped: sys.UnraisableHookArgs) -> None:
        """Handle an exception that Python cannot raise, for example in `__del__`.

        If it is an `Interrupted`, its signal is sent again. Other exceptions go to the previous `sys.unraisablehook`.
        """
        if isinstance(dropped.exc_value, Interrupted):
            self.ends_process = False  # the signal that is sent again counts as the first
            self._send_soon(dropped.exc_value.signal)
        else:
            self.hook_before(dropped)

    def _send_soon(self, number: int) -> None:
        """Send a signal to the main thread after a millisecond."""
        self._timer = threading.Timer(0.001, _send_to_main_thread, (number,))
        self._timer.daemon = True
        self._timer.start()

    def send_no_more(self) -> None:
        """Cancel the signal that is about to be sent again, if there is one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()


def signals_end_program() -> None:
    """Let any signal end the process immediately until `signals_raised` begins. The program calls this function first.

    When the program exits, signals are ignored as soon as all other `atexit` functions have run. Otherwise Python would
    restore the default handlers, and a signal could change the exit code of a command that has finished.
    """
    handler = _Handler(of_command=True)
    handler.ends_process = True
    atexit.register(_ignore_signals)
    _install(handler)


@contextmanager
def signals_raised(permanent: bool = False) -> Iterator[None]:
    """Raise `Interrupted` for the first signal within the block, and end the process at the next one.

    Args:
        permanent: False restores the previous handlers after the block. True keeps the new handlers, and any signal
            after the block ends the process immediately.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    current = _current()
    handler = current if current is not None and current.of_command else _Handler(of_command=True)
    installed = _install(handler)
    handler.hook_before, sys.unraisablehook = sys.unraisablehook, handler.unraisable
    handler.ends_process = False
    try:
        yield
    finally:
        handler.ends_process = True
        handler.send_no_more()
        sys.unraisablehook = handler.hook_before
        if not permanent:
            _restore(installed)


class Deferred:
    """The object that `interrupt_deferred` yields. It gives access to the deferred signal.

    Attributes:
        finished: False at first. Set it to True when the result is complete. A deferred signal is then ignored, so that
            the result is not lost.
    """

    def __init__(self, handler: _Handler | None) -> None:
        self._handler, self.finished = handler, False

    def signal(self) -> Interrupted | None:
        """Return the deferred signal, if there is one. The caller saves its state and raises the signal."""
        return None if self._handler is None else self._handler.pending()


@contextmanager
def interrupt_deferred() -> Iterator[Deferred]:
    """Defer the first signal within the block, so that the code in the block can first save its state.

    The code can check `Deferred.signal` and raise the signal itself. Otherwise the signal is raised at the end of the
    block, unless `Deferred.finished` is True. A second signal raises `Interrupted` immediately. Outside the main
    thread, nothing is deferred.
    """
    if threading.current_thread() is not threading.main_thread():
        yield Deferred(None)
        return
    handler = _current() or _Handler()
    installed = _install(handler)
    handler.deferring, deferred = True, Deferred(handler)
    try:
        yield deferred
    finally:
        handler.deferring = False
        _restore(installed)
    if deferred.finished:
        handler.drop()
    elif (stop := deferred.signal()) is not None:
        raise stop


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold signals back during a short call of an extension module; the first one takes effect at the end of the block.

    Some extension modules call Python code and raise an error of their own if this code raises `Interrupted`.
    """
    handler = _current() or _Handler()
    if threading.current_thread() is not threading.main_thread() or handler.held is not None:
        yield
        return
    installed, held = _install(handler), list[int]()
    handler.held = held
    try:
        yield
    finally:
        handler.held = None
        _restore(installed)
        for number in held[:1]:
            handler(number, None)


@contextmanager
def signals_end_process() -> Iterator[None]:
    """Within a command, let the first signal end the process immediately.

    Used while extension modules are imported: they may swallow `Interrupted`, or raise another error instead.
    """
    handler = _current()
    if handler is None:
        yield
        return
    before, handler.ends_process = handler.ends_process, handler.of_command
    try:
        yield
    finally:
        handler.ends_process = before


@contextmanager
def handlers_unchanged() -> Iterator[None]:
    """Restore the handlers of all signals after the block, in case a library replaces them."""
    before = {number: signal.getsignal(number) for number in _DEFAULTS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            _restore(before)


@contextmanager
def blocked_in_children() -> Iterator[None]:
    """Block the signals SIGINT and SIGHUP for all processes that are started in the `with` block.

    A terminal sends these signals to all processes of a command, and a child process that is importing packages would
    print a traceback. The calling process receives them when the block ends. On Windows, nothing is blocked.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # its start, which the first process would cause, unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _current() -> _Handler | None:
    return next((each for each in map(signal.getsignal, _DEFAULTS) if isinstance(each, _Handler)), None)


def _install(handler: _Handler) -> _Handlers:
    """Install the handler for all signals that have their default handler. Return {signal: previous handler}."""
    numbers = [number for number, default in _DEFAULTS.items() if signal.getsignal(number) is default]
    return {number: signal.signal(number, handler) for number in numbers}


def _restore(handlers: _Handlers) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _ignore_signals() -> None:
    for number in _DEFAULTS:
        if isinstance(signal.getsignal(number), _Handler):
            signal.signal(number, signal.SIG_IGN)


def _runs(code: CodeType, frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


def _send_to_main_thread(number: int) -> None:
    main_thread = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main_thread is not None:
        signal.pthread_kill(main_thread, number)  # also ends a wait of the main thread
    else:
        signal.raise_signal(number)  # Windows
