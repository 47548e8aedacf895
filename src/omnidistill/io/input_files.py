"""Input files: open the files that the program did not write itself, or check them before a library opens them.

Only regular files are opened: a FIFO would block the program, and reading a device may never end. The nesting of values
is limited, because parsers, validators and printers process nested values recursively.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any

from omnidistill.core.errors import InputError
from omnidistill.core.memory import out_of_memory

MOST_LEVELS = 64
"""Maximum number of nested levels of lists and objects in a file."""
MOST_EXPANSION, FREE_BYTES = 100, 2**28
"""A file may take at most FREE_BYTES in memory or MOST_EXPANSION times its size, whichever is larger."""
_MOST_DIGITS = 300  # every whole number with so many digits can be converted to a float


def open_input(path: Path) -> BufferedReader:
    """Open a regular file, or a symbolic link to one, for reading.

    Raises:
        InputError: the file is missing, is not a regular file, or cannot be opened.
    """
    regular_file(path, follow_links=True)
    try:
        return path.open("rb")
    except OSError as error:
        raise cannot_read(path, error) from error


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark.

    Raises:
        InputError: the file cannot be opened or is not UTF-8.
    """
    with open_input(path) as file:
        try:
            return file.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not UTF-8 ({one_line(error)}); save the file as UTF-8") from error
        except OSError as error:
            raise cannot_read(path, error) from error


def read_json(path: Path, remedy: str = "restore it, or pass a JSON file") -> Any:
    """Read the JSON object in `path`.

    Args:
        path: the file.
        remedy: what the user can do if the file is not JSON, for the error message.

    Raises:
        InputError: the file cannot be read, is not a JSON object, or contains duplicate keys, NaN, Inf, or values that
            are nested too deeply.
    """
    with open_input(path) as file:
        try:
            value = parse_json(file.read().decode())
        except OSError as error:
            raise cannot_read(path, error) from error
        except ValueError as error:
            raise InputError(
                f"{path}: not valid JSON ({one_line(error)}); the file is damaged or has another format; {remedy}"
            ) from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, found a {type(value).__name__}; pass another file")
    return value


def parse_json(text: str, finite: bool = True) -> Any:
    """Parse JSON text.

    Args:
        text: the text.
        finite: whether to reject NaN, Inf, floats that overflow to Inf, and whole numbers of more than 300 digits.

    Raises:
        ValueError: the text is not JSON, contains a duplicate key, is nested too deeply, or contains a number that
            `finite` rejects.
    """
    numbers: dict[str, Any] = {"parse_constant": _finite, "parse_float": _finite, "parse_int": _integer}
    try:
        value = json.loads(text, object_pairs_hook=_unique, **(numbers if finite else {}))
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    check_levels(value)
    return value


def check_levels(value: Any) -> None:
    """Raise ValueError if dicts and lists are nested more than `MOST_LEVELS` levels deep."""
    containers = [value] if isinstance(value, dict | list) else []
    for _ in range(MOST_LEVELS):
        containers = [
            inner
            for each in containers
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
        if not containers:
            return
    raise ValueError(_TOO_DEEP)


@contextmanager
def reading(where: str, remedy: str) -> Iterator[None]:
    """Context manager that turns errors from reading a damaged file into an InputError.

    Use it around code that interprets stored values, such as the metadata of an artifact. If values do not have the
    expected layout, such code raises a KeyError, TypeError or the like.

    Args:
        where: name of the file, for the error message.
        remedy: what the user can do, for the error message.

    Raises:
        InputError: the block raised such an error. The message starts with `where`.
    """
    try:
        yield
    except InputError as error:
        if str(error).startswith(where):
            raise
        raise InputError(f"{where}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if out_of_memory(error):
            raise
        raise InputError(
            f"{where}: is damaged, or was written by another version of omnidistill ({type(error).__name__}: "
            f"{one_line(error)}); {remedy}"
        ) from error


def check_expansion(path: Path, num_bytes: int, remedy: str) -> None:
    """Check that the content of a file does not take far more memory than the size of the file suggests.

    Without this check, a small compressed archive of zeros could fill the memory, for example.

    Args:
        path: the file.
        num_bytes: memory in bytes that the content would take.
        remedy: what the user can do if the content takes too much memory, for the error message.

    Raises:
        InputError: the content takes more than `FREE_BYTES` and more than `MOST_EXPANSION` times the size of the file.
    """
    check_memory(str(path), regular_file(path, follow_links=True).st_size, num_bytes, remedy)


def check_memory(where: str, size: int, num_bytes: int, remedy: str) -> None:
    """Check that the content of a file does not take far more memory than `size` suggests; see `check_expansion`.

    Args:
        where: name of the file, for the error message.
        size: size of the file in bytes; 0 if it is not known.
        num_bytes, remedy: see `check_expansion`.

    Raises:
        InputError: see `check_expansion`.
    """
    if num_bytes > most_memory(size):
        limit = f"{MOST_EXPANSION} times its size of {size:,} bytes"
        if not size:
            limit = f"{FREE_BYTES:,} bytes, the limit for files of unknown size"
        raise InputError(f"{where}: would take {num_bytes:,} bytes in memory, more than {limit}; {remedy}")


def most_memory(size: int) -> int:
    """Return the memory in bytes that the content of a file of this size may take."""
    return max(FREE_BYTES, MOST_EXPANSION * size)


def regular_file(path: Path, follow_links: bool = False) -> os.stat_result:
    """Return the `os.stat` result for a regular file.

    Raises:
        InputError: the file is missing or not a regular file, or it is a symbolic link and `follow_links` is False.
    """
    try:
        status = path.stat(follow_symlinks=follow_links)
    except (OSError, ValueError) as error:
        raise cannot_read(path, error) from error
    if stat.S_ISLNK(status.st_mode):
        raise InputError(f"{path}: is a symbolic link; replace the link with the file itself")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: is not a regular file; check the path")
    return status


def files_below(folder: Path) -> Iterator[PurePosixPath]:
    """Yield the sorted relative paths of all files in a folder and its subfolders, except hidden ones."""

    def fail(error: OSError) -> None:
        raise InputError(
            f"{error.filename}: cannot be read ({error.strerror}); check the path and its permissions"
        ) from error

    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield PurePosixPath(Path(place, name).relative_to(folder))


def cannot_read(path: Path, error: OSError | ValueError) -> InputError:
    """Return the error for a file that cannot be read. If the cause is lack of memory, raise MemoryError instead."""
    if out_of_memory(error):
        raise MemoryError(f"{path}: {reason(error)}") from error
    return InputError(f"{path}: cannot be read ({reason(error)}); check the path and its permissions")


def reason(error: OSError | ValueError) -> str:
    """Return the reason that the operating system gave for an error, without the path."""
    return getattr(error, "strerror", None) or one_line(error)


def one_line(error: BaseException) -> str:
    """Return an error's message as one line."""
    return " ".join(str(error).split())


_TOO_DEEP = f"values are nested more than {MOST_LEVELS} levels deep"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(named := dict(pairs)) < len(pairs):
        raise ValueError("a key occurs twice")
    return named


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not a finite number")
    return number


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(text)} digits")
    return int(text)
