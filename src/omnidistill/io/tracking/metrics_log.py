"""The metrics log of a run: JSON lines on disk, or a list in memory.

The log is the source of truth. Trackers (`tracking.tracker`) show copies of it in other tools.

When a run resumes, it truncates the file to the length that its last checkpoint recorded.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Protocol, runtime_checkable

from omnidistill.core.errors import InputError, NotFiniteError
from omnidistill.io.tracking.metrics_record import MOST_METRIC, MetricsRecord, read_records


@runtime_checkable
class MetricsLog(Protocol):
    """Stores the metrics of a run. Each call of `log` adds one record. Use it as a context manager, or call `close`."""

    def log(self, record: MetricsRecord) -> None:
        """Store one record."""

    def records(self) -> list[MetricsRecord]:
        """Return all records, including the records of the interrupted run that this run resumes."""

    def position(self) -> int:
        """Return how many bytes are safely stored. Checkpoints record this number; resuming truncates the log to it."""

    def close(self) -> None:
        """Release the log. Nothing may be logged afterwards."""

    def __enter__(self) -> MetricsLog: ...

    def __exit__(self, *error: object) -> None: ...


class MemoryLog:
    """A metrics log in memory, for a run without an output folder."""

    def __init__(self) -> None:
        self._records: list[MetricsRecord] = []

    def log(self, record: MetricsRecord) -> None:
        """Append the record."""
        self._records.append(record)

    def records(self) -> list[MetricsRecord]:
        """Return the records."""
        return list(self._records)

    def position(self) -> int:
        """Return 0, because no bytes are stored."""
        return 0

    def close(self) -> None:
        """Do nothing."""

    def __enter__(self) -> MemoryLog:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class JsonlLog:
    """A file with one JSON object per line. Each line is handed to the operating system immediately.

    Args:
        path: the file.
        resume_at: number of bytes to retain, as returned by `position`; the rest is dropped. None starts an empty file.

    Raises:
        InputError: the file cannot be written or is shorter than `resume_at`; no line ends at `resume_at`; or one of
            the retained lines is not a record.
    """

    def __init__(self, path: Path, resume_at: int | None = None) -> None:
        self.path = path
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | (0 if resume_at else os.O_CREAT), 0o666)
            try:
                self._end = self._truncate(resume_at or 0)
                _sync_folder(path.parent)
            except BaseException:
                os.close(self._handle)
                raise
        except OSError as error:
            raise InputError(
                f"{path}: the metrics log cannot be opened ({error.strerror}); check the folder and its permissions"
            ) from error

    def log(self, record: MetricsRecord) -> None:
        """Append a record, completely or not at all.

        Raises:
            NotFiniteError: a number is NaN, Inf or larger than `MOST_METRIC`.
            InputError: the disk is full.
        """
        tree = record.to_json()
        if not all(abs(value) <= MOST_METRIC for value in record.values.values()):
            raise NotFiniteError(f"{self.path}: a number in the record {tree} is NaN, Inf or beyond {MOST_METRIC:g}")
        line = json.dumps(tree, allow_nan=False).encode() + b"\n"
        try:
            if os.pwrite(self._handle, line, self._end) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._end += len(line)
        except BaseException as error:
            os.ftruncate(self._handle, self._end)
            if isinstance(error, OSError):
                raise InputError(
                    f"{self.path}: cannot be written ({error.strerror}); free disk space, then resume the run"
                ) from error
            raise

    def records(self) -> list[MetricsRecord]:
        """Return the records in the file."""
        return read_records(self.path)

    def position(self) -> int:
        """Sync the file to disk, and return the byte offset after the last record.

        Raises:
            InputError: the file cannot be synced.
        """
        try:
            os.fsync(self._handle)
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be written ({error.strerror}); free disk space, then resume the run"
            ) from error
        return self._end

    def close(self) -> None:
        """Release the file. A second call does nothing."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> JsonlLog:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _truncate(self, end: int) -> int:
        size = os.fstat(self._handle).st_size
        if end > size:
            raise InputError(
                f"{self.path}: has {size} bytes, but the checkpoint expects at least {end}; lines were lost, so "
                "run the command again in another folder"
            )
        if end and os.pread(self._handle, 1, end - 1) != b"\n":
            raise InputError(
                f"{self.path}: the checkpoint expects that a line ends at byte {end}, but none does; the file was "
                "altered, so run the command again in another folder"
            )
        if end:  # otherwise, a damaged line would be found only after the training
            read_records(self.path, end)
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
