"""Exclusive write access to folders. The operating system releases a lock when the process that holds it ends.

The module does not import filelock until a lock is needed, because the import takes longer than many commands.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from omnidistill.core.errors import InputError
from omnidistill.io.artifacts.files import CANNOT_LOCK, SAVE_LOCK, cannot_write, clear_temps, making
from omnidistill.io.input_files import reason

_PROBE_SECONDS = 0.1
"""How long `exclusive` waits, so that `in_use`, which holds the lock for a moment, never disturbs a writer."""


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Create `folder` if necessary, and lock it for writing (`folder/.lock`) for the duration of the block.

    Temporary files that killed writers left in the folder are deleted.

    Raises:
        InputError: another process or this process already holds the lock, or the folder cannot be locked.
    """
    from filelock import FileLock, Timeout

    path = folder / ".lock"
    if path.is_symlink():
        raise InputError(f"{path}: this lock file is a symbolic link; delete the link")
    lock = FileLock(path, timeout=_PROBE_SECONDS)
    with making(folder):
        try:
            lock.acquire(poll_interval=_PROBE_SECONDS / 5)
        except Timeout:
            raise InputError(
                f"{folder}: this folder is in use by another process; wait until that process ends, or choose another "
                "folder"
            ) from None
        except (PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError) as error:
            raise cannot_write(path, error) from error
        except OSError as error:
            raise InputError(f"{path}: cannot be locked ({reason(error)}); choose a folder on another disk") from error
    try:
        clear_temps(folder)
        yield
    finally:
        lock.release()


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Lock a folder, as `exclusive` does, while the `with` block reads it. A read-only folder is not locked.

    Raises:
        InputError: another process or this process already holds the lock, or the folder cannot be locked.
    """
    with exclusive(folder) if os.access(folder, os.W_OK) else nullcontext():
        yield


def in_use(folder: Path) -> bool:
    """Return whether a process has locked a folder with `exclusive`. The folder is not changed."""
    import fcntl

    try:
        handle = os.open(folder / ".lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # no process has locked the folder
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


@contextmanager
def saving(folder: Path) -> Iterator[None]:
    """Lock an artifact's folder while the `with` block saves the artifact. The lock file is deleted at the end.

    On a file system without locks, the block runs without a lock.

    Raises:
        InputError: another process or this process is already saving to the folder, or the lock file cannot be created.
    """
    from filelock import FileLock, Timeout

    path = folder / SAVE_LOCK
    lock = FileLock(path, timeout=0)
    try:
        try:
            lock.acquire()
        except Timeout:
            raise InputError(
                f"{folder}: another process is saving to this folder; wait until it ends, or choose another folder"
            ) from None
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            raise cannot_write(folder, error) from error
        except CANNOT_LOCK:  # for example on NFS without support for locks
            pass
        yield
    finally:
        try:
            if lock.is_locked:
                with suppress(OSError):  # Windows refuses to delete the open file; the release deletes it there
                    path.unlink(missing_ok=True)
        finally:
            lock.release()
