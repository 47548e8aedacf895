"""Signals that end the program: raised at once, deferred to the end of an iteration, or ending the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable

import pytest

from omnidistill.core.interrupts import (
    Interrupted,
    blocked_in_children,
    handlers_unchanged,
    interrupt_deferred,
    signals_end_process,
    signals_held,
    signals_raised,
)

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
each_signal = pytest.mark.parametrize("number", list(EXIT_CODES))


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in EXIT_CODES]


@pytest.fixture(autouse=True)
def _exits(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", leave)


def raise_twice(number: signal.Signals) -> None:
    with signals_raised():
        with pytest.raises(Interrupted) as raised:
            signal.raise_signal(number)
        assert raised.value.exit_code == EXIT_CODES[number]
        signal.raise_signal(number)  # for example while workers are stopped


@each_signal
def test_a_command_raises_the_signal_and_the_second_one_ends_the_process(number: signal.Signals) -> None:
    before = handlers()
    with pytest.raises(SystemExit) as ended:
        raise_twice(number)
    assert ended.value.code == EXIT_CODES[number]
    assert handlers() == before


def raise_twice_while_deferred(number: signal.Signals) -> None:
    with interrupt_deferred() as interrupted:
        assert interrupted.signal() is None
        signal.raise_signal(number)
        with pytest.raises(Interrupted):
            signal.raise_signal(number)
        stop = interrupted.signal()
        assert stop is not None
        assert stop.exit_code == EXIT_CODES[number]


@each_signal
@pytest.mark.parametrize("command", [False, True])
def test_a_deferred_signal_waits_and_the_second_one_does_not(number: signal.Signals, command: bool) -> None:
    """The block leaves the first signal to its end, where it is raised."""
    before = handlers()
    with signals_raised() if command else handlers_unchanged(), pytest.raises(Interrupted):
        raise_twice_while_deferred(number)
    assert handlers() == before


def raise_while_held(number: signal.Signals, finished: list[bool]) -> None:
    with signals_held():
        with signals_held():
            signal.raise_signal(number)
        finished.append(True)


@each_signal
@pytest.mark.parametrize("command", [False, True])
def test_a_held_signal_takes_effect_at_the_end_of_the_block(number: signal.Signals, command: bool) -> None:
    before, finished = handlers(), list[bool]()
    with signals_raised() if command else handlers_unchanged(), pytest.raises(Interrupted, match=number.name):
        raise_while_held(number, finished)
    assert finished
    assert handlers() == before


def test_a_signal_while_extension_modules_are_imported_ends_the_process() -> None:
    with signals_raised(), pytest.raises(SystemExit, match="143"), signals_end_process():
        signal.raise_signal(signal.SIGTERM)
    with signals_end_process():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # a library leaves signals to the program


def test_ignored_signals_and_other_handlers_stay() -> None:
    def own(*_: object) -> None:
        pass

    with handlers_unchanged():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as by nohup
        signal.signal(signal.SIGTERM, own)
        with signals_raised(), interrupt_deferred():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is own
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_handlers_stay_when_the_process_ends_with_the_command() -> None:
    with handlers_unchanged():
        with signals_raised(permanent=True):
            pass
        with pytest.raises(SystemExit, match="129"):
            signal.raise_signal(signal.SIGHUP)


def test_processes_start_with_ctrl_c_blocked_and_this_process_gets_it_afterwards() -> None:
    blocked: set[int] = set()

    def start() -> None:
        with blocked_in_children():
            signal.raise_signal(signal.SIGINT)
            blocked.update(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    with signals_raised(), pytest.raises(Interrupted):
        start()
    assert {signal.SIGINT, signal.SIGHUP} <= blocked  # as inherited by a new process
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGHUP}


class Closing:
    """An object whose finaliser, like that of an open archive, takes a while."""

    def __init__(self, at_the_end: Callable[[], object]) -> None:
        self.at_the_end = at_the_end

    def __del__(self) -> None:
        self.at_the_end()


def in_a_finaliser() -> None:
    Closing(lambda: signal.raise_signal(signal.SIGTERM))


def in_two_finalisers() -> None:
    """The signal is sent again while the second one runs, and dropped again."""
    in_a_finaliser()
    Closing(lambda: time.sleep(5))


def in_a_weak_callback() -> None:
    ended = Closing(lambda: None)
    reference = weakref.ref(ended, lambda _: signal.raise_signal(signal.SIGTERM))
    del ended
    assert reference() is None


def drop_and_wait(drop: Callable[[], None]) -> None:
    drop()
    threading.Event().wait(5)


@pytest.mark.parametrize("drop", [in_a_finaliser, in_two_finalisers, in_a_weak_callback])
def test_a_signal_that_python_drops_is_raised_soon_after(
    drop: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    hook = sys.unraisablehook
    with signals_raised():
        with pytest.raises(Interrupted, match="SIGTERM"):
            drop_and_wait(drop)
        with pytest.raises(SystemExit, match="143"):  # the next one is the second
            signal.raise_signal(signal.SIGTERM)
    assert sys.unraisablehook is hook
    assert "Exception ignored" not in capsys.readouterr().err


def test_a_signal_that_python_drops_at_the_end_is_not_sent_to_the_program() -> None:
    def no_signal(number: int, frame: object) -> None:
        pytest.fail(f"signal {number} after the command")

    with handlers_unchanged():
        with signals_raised():
            in_a_finaliser()
        signal.signal(signal.SIGTERM, no_signal)
        time.sleep(0.01)


PROGRAM = """
import os, signal, sys
kill = lambda number, kill=os.kill, process=os.getpid(): kill(process, number)
class Early:
    def find_spec(self, name, path, target=None):
        if name == "omnidistill.cli.main":
            kill(signal.SIGTERM)
class Late:
    def __del__(self, kill=kill, number=signal.SIGHUP):
        kill(number)
if sys.argv.pop() == "early":
    sys.meta_path.insert(0, Early())
else:
    sys.late = Late()
from omnidistill.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("when", "code", "err"),
    [("early", 143, "omnidistill: interrupted; ended immediately\n"), ("late", 0, "")],
)
def test_signals_are_handled_from_the_first_import_until_the_process_ends(when: str, code: int, err: str) -> None:
    command = [sys.executable, "-c", PROGRAM, "--version", when]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, err)
