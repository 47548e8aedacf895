"""The function `main`, which runs a command. Heavy packages are imported only when a command needs them.

Exit codes: 0 success; 1 part of a comparison failed, memory ran out, or the installation is broken; 2 invalid input
(one line says what is wrong, where, and what to do); 3 a computation produced NaN or Inf; 130 interrupted (the command
can be resumed).
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

from omnidistill.cli.command_list import make_parser
from omnidistill.cli.output import printable_warnings
from omnidistill.core.arguments import written_as_options
from omnidistill.core.errors import OmnidistillError
from omnidistill.core.printable import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        arguments: The words after the program's name on the command line (default: taken from `sys.argv`).
    """
    options = argparse.Namespace()
    try:
        try:
            with written_as_options(), printable_warnings():
                return _run(arguments, options)
        finally:  # also after --help and --version, which raise SystemExit
            _flush_stdout()
    except OmnidistillError as error:
        return _print_error(" ".join(str(error).split()), error.exit_code)  # one line, even if a name has line breaks
    except KeyboardInterrupt:
        return _print_error(_interrupted(options), 130)
    except BrokenPipeError:
        _discard_stdout()
        return 1
    except MemoryError:
        return _print_error(_OUT_OF_MEMORY, 1)
    except RuntimeError as error:
        if not any(phrase in str(error) for phrase in _OUT_OF_MEMORY_IN_TORCH):
            raise
        return _print_error(_OUT_OF_MEMORY, 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _print_error(f"{where}{error.strerror or error}", 2)


_OUT_OF_MEMORY = "out of memory; use fewer experts, a smaller width or fewer seeds"
_OUT_OF_MEMORY_IN_TORCH = ("can't allocate memory", "out of memory")  # torch's messages for a CPU and for a GPU


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
    """Import torch, and let Ctrl-C end the process during the import.

    Otherwise an extension module that is being imported may swallow KeyboardInterrupt or raise another error instead.
    """
    main = threading.current_thread() is threading.main_thread()
    replace = main and signal.getsignal(signal.SIGINT) is signal.default_int_handler and "torch" not in sys.modules
    if replace:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        import torch  # noqa: F401
    finally:
        if replace:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _flush_stdout() -> None:
    if sys.stdout is not None:  # stdout is None if the caller closed it
        sys.stdout.flush()


def _print_error(line: str, code: int) -> int:
    with suppress(OSError):
        print(printable(f"omnidistill: {line}"), file=sys.stderr)
    return code


def _interrupted(options: argparse.Namespace) -> str:
    if getattr(options, "dry_run", False):
        return "interrupted; a dry run saves nothing"
    how = "with --resume" if hasattr(options, "resume") else "to continue"
    return f"interrupted; finished work is saved: repeat the command {how}"


def _discard_stdout() -> None:
    """Redirect stdout to the null device, because the final flush would fail on a closed pipe."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
