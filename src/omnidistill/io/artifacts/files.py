"""Atomic replacement of one file: temporary file -> write -> flush -> fsync -> os.replace -> fsync of the folder.

A process that is killed at any point leaves either the complete old file or the complete new file, and at worst a
temporary file in the same folder. While a writer uses a temporary file TEMP, it holds the lock `TEMP.lock` in the same
folder. `clear_temps` therefore deletes only temporary files whose writers have died.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from omnidistill.core.errors import InputError
from omnidistill.io.input_files import cannot_read, reason, regular_file

_TEMP = ".omnidistill-temp-"
SAVE_LOCK = f"{_TEMP}save.lock"
"""File that is locked while an artifact is saved. It is in the artifact's folder."""
TENSORS = r"tensors-[0-9a-f]{12}\.safetensors"
"""Regular expression for the name of an artifact's tensor file."""
CANNOT_LOCK = (OSError, NotImplementedError)
"""Exceptions that filelock raises if a file cannot be locked; NotImplementedError if the file system has no locks."""


@dataclass(frozen=True)
class FileRecord:
    """Manifest entry for a file in the same folder: its name, its size in bytes and its sha256 as 64 hex digits."""

    name: str
    bytes: int
    sha256: str


def write_atomic(path: Path, data: bytes) -> None:
    """Replace the content of `path` with `data`, creating missing parent folders.

    Raises:
        InputError: the file cannot be written. An existing file is unchanged.
    """
    with making(path.parent):
        replace(path, (data,))


def replace(path: Path, pieces: Iterable[bytes | memoryview], named_by_content: bool = False) -> FileRecord:
    """Replace the content of `path` with the concatenated `pieces`. Return the name, size and sha256 of the file.

    The folder must exist. With `named_by_content`, the file has the name `stem-<12 hex digits of its sha256>.suffix`,
    where stem and suffix are those of `path`. The content is first written to a temporary file, which is removed if
    writing fails.

    Raises:
        InputError: the file cannot be written.
    """
    temp = path.with_name(f"{_TEMP}{secrets.token_hex(8)}")
    digest = hashlib.sha256()
    target, moved = path, False
    try:
        with _held(temp), temp.open("xb") as file:
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
            file.flush()
            os.fsync(file.fileno())
            if named_by_content:
                target = path.with_name(f"{path.stem}-{digest.hexdigest()[:12]}{path.suffix}")
            size = file.tell()
            file.close()  # Windows cannot rename an open file
            os.replace(temp, target)
            moved = True
            sync_folder(path.parent)
            return FileRecord(target.name, size, digest.hexdigest())
    except OSError as error:
        if moved:
            raise InputError(
                f"{target}: was written, but may be lost in a power failure, because the folder could not be synced "
                f"({reason(error)}); check the disk"
            ) from error
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temp.unlink(missing_ok=True)


def clear_temps(folder: Path, subfolders: bool = True) -> None:
    """Delete temporary files and folders of killed writers in `folder`, and below it if `subfolders` is True."""
    found = (folder.rglob if subfolders else folder.glob)(f"{_TEMP}*")
    for temp in {each.with_suffix("") for each in found}:
        with suppress(*CANNOT_LOCK), _lock(temp, timeout=0.0):  # filelock's Timeout is an OSError
            if temp.is_dir() and not temp.is_symlink():
                shutil.rmtree(temp)
            temp.unlink(missing_ok=True)
            _lock_path(temp).unlink(missing_ok=True)


def is_temp(path: Path) -> bool:
    """Return whether a path has the name of a temporary file or folder, or of its lock."""
    return path.name.startswith(_TEMP)


@contextmanager
def temp_folder(target: Path) -> Iterator[Path]:
    """Yield an unused path next to `target`, at which the caller can create a temporary folder.

    The folder is deleted at the end of the `with` block, unless the caller has moved it to another path. Temporary
    files and folders that killed processes left next to `target` are deleted before the block.
    """
    clear_temps(target.parent, subfolders=False)
    temp = target.with_name(f"{_TEMP}{secrets.token_hex(8)}")
    with _held(temp):
        try:
            yield temp
        finally:
            shutil.rmtree(temp, ignore_errors=True)


@contextmanager
def making(folder: Path) -> Iterator[None]:
    """Create `folder` and its parents before the `with` block. If the block fails, remove the empty new folders."""
    missing = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    try:
        try:
            for place in reversed(missing):
                place.mkdir(exist_ok=True)
                sync_folder(place.parent)
        except OSError as error:
            raise InputError(f"{folder}: cannot be created ({reason(error)}); choose another folder") from error
        yield
    except BaseException:
        for place in missing:
            with suppress(OSError):
                place.rmdir()
        raise


def sync_folder(folder: Path) -> None:
    """Make renames and deletions in `folder` durable. Do nothing on Windows, which cannot sync a folder."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot sync a folder
            raise
    finally:
        os.close(handle)


def check(path: Path, record: FileRecord, verify: bool) -> None:
    """Check that a file has the size in `record` and, if `verify` is True, also the sha256 in `record`.

    Raises:
        InputError: the size or the sha256 differs.
    """
    size = regular_file(path).st_size
    if size != record.bytes:
        raise InputError(
            f"{path}: has {size} bytes, expected {record.bytes}; the file was truncated or altered, so "
            f"{create_again(path.parent)}"
        )
    if not verify:
        return
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise cannot_read(path, error) from error
    if sha256 != record.sha256:
        raise InputError(
            f"{path}: sha256 is {sha256[:12]}..., expected {record.sha256[:12]}...; the file was altered or damaged, "
            f"so {create_again(path.parent)}"
        )


def create_again(folder: Path) -> str:
    """Return the last part of an error message about a damaged artifact: how the user can create it again."""
    return f"delete the folder {folder} and create it again"


def cannot_write(path: Path, error: OSError) -> InputError:
    """Return the error for a file that the system refuses to write."""
    return InputError(
        f"{path}: cannot be written ({reason(error)}); free disk space, or choose another folder "
        "(if the file existed before, it was not changed)"
    )


@contextmanager
def _held(temp: Path) -> Iterator[None]:
    """Hold the lock of a temporary file while the `with` block writes it, unless the file system has no locks."""
    with ExitStack() as stack:
        stack.callback(_delete, _lock_path(temp))
        with suppress(*CANNOT_LOCK):
            stack.enter_context(_lock(temp, timeout=10.0))  # `clear_temps` may hold it for a moment
            stack.callback(_delete, _lock_path(temp))
        yield


def _lock(temp: Path, timeout: float) -> AbstractContextManager[object]:
    from filelock import FileLock  # imported here, because this import takes longer than many commands

    return FileLock(_lock_path(temp), timeout=timeout)


def _lock_path(temp: Path) -> Path:
    return temp.with_name(f"{temp.name}.lock")


def _delete(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
