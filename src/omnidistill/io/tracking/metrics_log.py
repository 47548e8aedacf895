"""The log of a run: JSON lines on disk, cut back to the checkpoint when a run is resumed.

It is the source of truth; whatever else shows a run's numbers (`tracking.views`) is told what it holds.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from omnidistill.core.errors import InputError, NotFiniteError

JSON = None | bool | int | float | str | Sequence[Any] | Mapping[str, Any]


@runtime_checkable
class Tracker(Protocol):
    """Where a run's numbers go, one record a call. Use it in a `with`, or close it."""

    def log(self, record: Mapping[str, JSON]) -> None:
        """Keep one record."""

    def position(self) -> int:
        """How many bytes are kept, for good: a checkpoint holds this, and resuming cuts the log back to it."""

    def close(self) -> None:
        """Log no more."""

    def __enter__(self) -> Tracker: ...

    def __exit__(self, *error: object) -> None: ...


class NullTracker:
    """Keeps nothing."""

    def log(self, record: Mapping[str, JSON]) -> None:
        """Drop the record."""

    def position(self) -> int:
        """Nothing is kept: 0."""
        return 0

    def close(self) -> None:
        """Nothing to release."""

    def __enter__(self) -> NullTracker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class JsonlTracker:
    """One JSON object a line in `path`, each handed to the system at once.

    `resume_at=None` starts the file anew; a number, which `position()` gave, keeps that many bytes and drops the rest.
    Raises InputError if the file cannot be written, is shorter than `resume_at`, or has no line ending there.
    """

    def __init__(self, path: Path, resume_at: int | None = None) -> None:
        self.path = path
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | (0 if resume_at else os.O_CREAT), 0o666)
            try:
                self._end = self._cut(resume_at or 0)
                _sync_folder(path.parent)
            except BaseException:
                os.close(self._handle)
                raise
        except OSError as error:
            raise InputError(f"{path}: the metrics log cannot be opened ({error.strerror})") from error

    def log(self, record: Mapping[str, JSON]) -> None:
        """Append a record, whole or not at all. Raises NotFiniteError for NaN or Inf, InputError for a full disk."""
        try:
            line = json.dumps(dict(record), allow_nan=False).encode() + b"\n"
        except ValueError as error:
            raise NotFiniteError(f"{self.path}: a number is NaN or Inf in the record {dict(record)}") from error
        try:
            if os.pwrite(self._handle, line, self._end) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._end += len(line)
        except BaseException as error:
            os.ftruncate(self._handle, self._end)
            if isinstance(error, OSError):
                raise InputError(
                    f"{self.path}: cannot be written ({error.strerror}); free space, then resume"
                ) from error
            raise

    def position(self) -> int:
        """Byte offset after the last record, all before it synced to disk. Raises InputError if the disk refuses."""
        try:
            os.fsync(self._handle)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror}); free space, then resume") from error
        return self._end

    def close(self) -> None:
        """Release the file; may be called twice."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> JsonlTracker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _cut(self, end: int) -> int:
        size = os.fstat(self._handle).st_size
        if end > size:
            raise InputError(f"{self.path}: holds {size} bytes, the checkpoint expects {end} or more: lines were lost")
        if end and os.pread(self._handle, 1, end - 1) != b"\n":
            raise InputError(f"{self.path}: no line ends at byte {end}, where the checkpoint was made: it was altered")
        os.ftruncate(self._handle, end)
        return end


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot sync a folder
            raise
    finally:
        os.close(handle)
