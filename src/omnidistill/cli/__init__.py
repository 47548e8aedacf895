"""The command line. Nothing heavy is imported before a verb needs it, so help is instant.

Exit codes: 0 done; 1 a part of a comparison failed, out of memory, or a broken installation; 2 bad input (one line says
what, where, what to do); 3 a computation became NaN or Inf; 130 interrupted (resumable).
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

from omnidistill.cli.arguments import make_parser
from omnidistill.core.errors import OmnidistillError

__all__ = ["main", "make_parser"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code."""
    options = argparse.Namespace()
    try:
        try:
            return _run(arguments, options)
        finally:  # of help and --version too, which end by SystemExit
            _flush_stdout()
    except OmnidistillError as error:
        return _told(" ".join(str(error).split()), error.exit_code)  # one line, whatever a name holds
    except KeyboardInterrupt:
        return _told(_interrupted(options), 130)
    except BrokenPipeError:
        _drop_stdout()
        return 1
    except MemoryError:
        return _told(_NO_MEMORY, 1)
    except RuntimeError as error:
        if not any(words in str(error) for words in _TORCH_NO_MEMORY):
            raise
        return _told(_NO_MEMORY, 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _told(f"{where}{error.strerror or error}", 2)


_NO_MEMORY = "out of memory; use fewer experts, a smaller width or fewer seeds"
_TORCH_NO_MEMORY = ("can't allocate memory", "out of memory")  # on a CPU, on a GPU


def _run(arguments: Sequence[str] | None, options: argparse.Namespace) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter is no reason to fail
    _, extra = make_parser().parse_known_args(arguments, options)
    if extra:
        options.parser.refuse(extra)
    if options.verb is None:
        options.parser.print_help(sys.stderr)
        return 2
    if not options.light:
        _load_torch()
    return int(options.verb(options) or 0)


def _load_torch() -> None:
    """While extension modules load they swallow Ctrl-C, or make another error of it: until then it ends the process."""
    main = threading.current_thread() is threading.main_thread()
    ours = main and signal.getsignal(signal.SIGINT) is signal.default_int_handler and "torch" not in sys.modules
    if ours:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        import torch  # noqa: F401
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _flush_stdout() -> None:
    if sys.stdout is not None:  # as where it was closed
        sys.stdout.flush()


def _told(line: str, code: int) -> int:
    with suppress(OSError):
        print(f"omnidistill: {line}", file=sys.stderr)
    return code


def _interrupted(options: argparse.Namespace) -> str:
    if getattr(options, "dry_run", False):
        return "interrupted; a dry run keeps nothing"
    how = "with --resume" if hasattr(options, "resume") else "to go on"
    return f"interrupted; what was finished is kept, repeat the command {how}"


def _drop_stdout() -> None:
    """Whoever read it has gone; what is still to be written must not be missed when the process ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
