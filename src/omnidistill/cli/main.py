"""The function `main`, which runs a command. Heavy packages are imported only when a command needs them.

The exit code is 0 for success; 1 if part of a comparison failed, memory ran out, or the installation is broken; 2 for
invalid input (one line says what is wrong, where, and what to do); 3 if a computation produced NaN or Inf. After an
interruption, it is 130 (Ctrl-C), 143 (SIGTERM) or 129 (SIGHUP), and the command can be resumed.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from omnidistill.cli.command_list import make_parser
from omnidistill.cli.output import printable_warnings
from omnidistill.cli.parser import LESS_MEMORY
from omnidistill.core.arguments import written_as_options
from omnidistill.core.errors import OmnidistillError
from omnidistill.core.interrupts import Interrupted, signals_end_process, signals_raised
from omnidistill.core.memory import address_space, out_of_memory
from omnidistill.core.printable import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        arguments: The words after the program's name, for example ["distill", "emoji", "-o", "RUN"]. None reads them
            from `sys.argv`. Use None only if the process ends after the call: the signal handlers then stay installed,
            and any later signal ends the process immediately.
    """
    options = argparse.Namespace()
    with signals_raised(permanent=arguments is None):
        try:
            return _exit_code(arguments, options)
        except KeyboardInterrupt as error:
            return _interrupted(error, options)


def _exit_code(arguments: Sequence[str] | None, options: argparse.Namespace) -> int:
    """Run a command and return its exit code; expected errors are printed, not raised.

    Raises:
        KeyboardInterrupt: the command was interrupted, or an error occurred because of an interruption.
        SystemExit: argparse ended the command, for example after `--help` or because of an unknown option.
        Exception: an unexpected error occurred.
    """
    try:
        try:
            with written_as_options(), printable_warnings():
                return _run(arguments, options)
        finally:  # also after --help and --version, which raise SystemExit
            _flush_stdout()
    except Exception as error:
        if (interruption := _interruption_behind(error)) is not None:
            if isinstance(error, OSError):
                _discard_stdout()
            raise interruption from None
        return _failed(error, options)


def _failed(error: Exception, options: argparse.Namespace) -> int:
    """Print an expected error in one line, and return the exit code. Re-raise any other error, because it is a bug.

    A BrokenPipeError is expected, but not printed: the program that reads the output has ended, for example `head`.
    """
    if out_of_memory(error):
        return _print_error(f"out of memory; {getattr(options, 'less_memory', LESS_MEMORY)}", 1)
    match error:
        case OmnidistillError():  # one line, even if a name has line breaks
            return _print_error(" ".join(str(error).split()), error.exit_code)
        case BrokenPipeError():
            _discard_stdout()
            return 1
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return _print_error(f"{where}{error.strerror or error}", 2)
    raise error


def _run(arguments: Sequence[str] | None, options: argparse.Namespace) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # some terminals cannot print every character
    _, extra = make_parser().parse_known_args(arguments, options)
    if extra:
        options.parser.reject(extra)
    if options.command is None:
        options.parser.print_help(sys.stderr)
        return 2
    if options.needs_torch:
        _import_torch()
    return int(options.command(options) or 0)


def _import_torch() -> None:
    if address_space() < _TORCH_BYTES:
        raise MemoryError  # the libraries of PyTorch would abort the process
    with signals_end_process():
        import torch  # noqa: F401


_TORCH_BYTES = 700 * 2**20  # address space that the import of PyTorch needs at least


def _flush_stdout() -> None:
    if sys.stdout is not None:  # stdout is None if the caller closed it
        sys.stdout.flush()


def _print_error(line: str, code: int) -> int:
    with suppress(OSError):
        print(printable(f"omnidistill: {line}"), file=sys.stderr)
    return code


def _interruption_behind(error: BaseException) -> KeyboardInterrupt | None:
    """Return the KeyboardInterrupt that caused an error, or None if no KeyboardInterrupt did.

    The function searches the error and its chain of causes (`__cause__`, or else `__context__`). For example, when a
    terminal is closed, SIGHUP interrupts the command. If the command then tries to print, this raises an OSError.
    """
    before: BaseException | None = error
    while before is not None and not isinstance(before, KeyboardInterrupt):
        before = before.__cause__ or before.__context__
    return before


def _interrupted(error: KeyboardInterrupt, options: argparse.Namespace) -> int:
    """Print that the command was interrupted, and return the exit code."""
    number, code = (error.signal, error.exit_code) if isinstance(error, Interrupted) else (signal.SIGINT, 130)
    what = "interrupted" if number == signal.SIGINT else f"interrupted by {number.name}"
    if getattr(options, "dry_run", False):
        return _print_error(f"{what}; a dry run saves nothing", code)
    output = getattr(options, "output", None)
    if hasattr(options, "resume") and output is not None and not output.exists():
        return _print_error(f"{what} before anything was saved: repeat the command", code)
    how = "with --resume" if hasattr(options, "resume") else "to continue"
    return _print_error(f"{what}; finished work is saved: repeat the command {how}", code)


def _discard_stdout() -> None:
    """Redirect stdout to the null device, because the final flush would fail on a closed pipe."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
