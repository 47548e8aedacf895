"""Exclusive write access to folders by kernel advisory locks, which end with the process that holds them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from omnidistill.core.errors import InputError
from omnidistill.io.artifacts.files import cannot_write, clear_temps, making, reason


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Lock `folder` for writing by `folder/.lock`, creating it if necessary, for the duration of the block.

    Temporary files that killed writers left in it are deleted.

    Raises:
        InputError: another process, or this one, already holds the lock.
    """
    path = folder / ".lock"
    with making(folder):
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise cannot_write(path, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(handle, 32, 0).decode(errors="replace").strip()
            raise InputError(
                f"{folder}: in use by another process (pid {pid or 'unknown'}); wait for it, or choose another folder"
            ) from error
        except OSError as error:
            raise InputError(f"{path}: cannot be locked ({reason(error)}); choose a folder on another disk") from error
        with suppress(OSError):  # the pid is only used in the message above
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        clear_temps(folder)
        yield
    finally:
        os.close(handle)


@contextmanager
def saving(folder: Path) -> Iterator[None]:
    """Lock the artifact `folder` during a save. The lock is on the folder itself, so no lock file is left."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{folder}: being saved to by another process; wait for it, or choose another folder"
            ) from error
        except OSError:  # a file system that cannot lock folders, such as NFS; `exclusive` still protects runs there
            pass
        yield
    finally:
        os.close(handle)
