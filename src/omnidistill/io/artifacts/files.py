"""One file, replaced in one step: temp file beside it -> write -> flush -> fsync -> os.replace -> fsync of the folder.

A process killed at any point leaves the old bytes or the new, in full, and at worst a temp file. A writer holds a
kernel lock on its temp file, so `clear_temps` knows those of the dead from those of the living.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnidistill.core.errors import InputError

_TEMP = ".omnidistill-temp-"


@dataclass(frozen=True)
class FileRecord:
    """What a manifest says of a file beside it: plain name, size in bytes, sha256 as 64 hex digits."""

    name: str
    bytes: int
    sha256: str


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` by `data`; missing parent folders are made.

    Raises InputError if it cannot be written; a file already there is then untouched.
    """
    with making(path.parent):
        replace(path, (data,))


def read_json(path: Path) -> Any:
    """The JSON object in `path`, as a dict. Raises InputError for anything else: duplicate keys, NaN and Inf too."""
    regular_file(path, follow_links=True)
    try:
        value = json.loads(
            path.read_bytes().decode(),
            object_pairs_hook=_unique,
            parse_constant=_finite,
            parse_float=_finite,
        )
    except OSError as error:
        raise cannot_read(path, error) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({one_line(error)}): damaged, or a file of another format") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, found a {type(value).__name__}")
    return value


def replace(path: Path, pieces: Iterable[bytes | memoryview], named_by_content: bool = False) -> FileRecord:
    """Write `pieces` as `path`, or as `stem-<12 hex of sha256>.suffix` beside it; the folder exists.

    Raises InputError if it cannot be written. Whatever happens, no temp file is left.
    """
    temp = path.with_name(f"{_TEMP}{secrets.token_hex(8)}")
    digest = hashlib.sha256()
    target, moved = path, False
    try:
        with temp.open("xb") as file:
            _try_lock(file.fileno())
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
            file.flush()
            os.fsync(file.fileno())
            if named_by_content:
                target = path.with_name(f"{path.stem}-{digest.hexdigest()[:12]}{path.suffix}")
            os.replace(temp, target)
            moved = True
            sync_folder(path.parent)
            return FileRecord(target.name, file.tell(), digest.hexdigest())
    except OSError as error:
        if moved:
            raise InputError(
                f"{target}: written, but a power failure may undo it ({reason(error)}): check the disk"
            ) from error
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temp.unlink(missing_ok=True)


def clear_temps(folder: Path) -> None:
    """Delete the temp files that killed writers left in `folder` and below."""
    for temp in folder.rglob(f"{_TEMP}*"):
        with suppress(OSError), temp.open("rb") as file:
            if _try_lock(file.fileno()):
                temp.unlink()


@contextmanager
def making(folder: Path) -> Iterator[None]:
    """`folder` with its parents; those that had to be made go again if the body fails and they are empty."""
    missing = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    try:
        try:
            for place in reversed(missing):
                place.mkdir(exist_ok=True)
                sync_folder(place.parent)
        except OSError as error:
            raise InputError(f"{folder}: cannot be made ({reason(error)}); choose another folder") from error
        yield
    except BaseException:
        for place in missing:
            with suppress(OSError):
                place.rmdir()
        raise


def sync_folder(folder: Path) -> None:
    """Make renames and deletions in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot sync a folder
            raise
    finally:
        os.close(handle)


def check(path: Path, record: FileRecord, verify: bool) -> None:
    """Compare a file with its record: size, and sha256 if `verify`. Raises InputError where they differ."""
    size = regular_file(path).st_size
    if size != record.bytes:
        raise InputError(f"{path}: {size} bytes, expected {record.bytes}: truncated or altered; make it again")
    if not verify:
        return
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise cannot_read(path, error) from error
    if sha256 != record.sha256:
        raise InputError(
            f"{path}: sha256 is {sha256[:12]}..., expected {record.sha256[:12]}...: altered or damaged; make it again"
        )


def regular_file(path: Path, follow_links: bool = False) -> os.stat_result:
    """The file's stat; InputError if it is missing, no regular file, or a link that is not to be followed."""
    try:
        found = path.stat(follow_symlinks=follow_links)
    except (OSError, ValueError) as error:
        raise cannot_read(path, error) from error
    if stat.S_ISLNK(found.st_mode):
        raise InputError(f"{path}: is a symbolic link; the files of an artifact lie in its own folder")
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path}: is not a regular file")
    return found


def cannot_read(path: Path, error: OSError | ValueError) -> InputError:
    """The error for a file that the system does not give."""
    return InputError(f"{path}: cannot be read ({reason(error)})")


def cannot_write(path: Path, error: OSError) -> InputError:
    """The error for a file that the system does not take."""
    return InputError(
        f"{path}: cannot be written ({reason(error)}); what was there before is untouched: "
        "free space, or choose another folder"
    )


def reason(error: OSError | ValueError) -> str:
    """Why the system refused, without the path."""
    return getattr(error, "strerror", None) or one_line(error)


def one_line(error: Exception) -> str:
    """The text of an error from elsewhere, as one line."""
    return " ".join(str(error).split())


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or a file system without locks
        return False
    return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(named := dict(pairs)) < len(pairs):
        raise ValueError("a key occurs twice")
    return named


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not a finite number")
    return number
